"""What one attempt works with: its settings, its ways to driver and API, its clocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

from crawler.cluster.link import Link
from crawler.options import Settings
from crawler.ports import Api
from crawler.store.records import Record


class RecordLog(Protocol):
    """The file of an attempt's records."""

    async def append(self, records: list[Record]) -> int:
        """Write records as a frame; returns how many bytes are durable. Raises `OutputError`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an attempt works with.

    `pages` carries them where there is no `log`; `logs` are drawn from. `places` are those that the worker
    used in its last attempt, over all keys and by key; they become those of this one.
    """

    settings: Settings
    link: Link
    pages: Link
    api: Api
    log: RecordLog | None
    rng: Random
    now: Callable[[], datetime]
    clock: Callable[[], float]
    connections: int
    logs: list[list[Any]]
    places: list[deque[float]]
