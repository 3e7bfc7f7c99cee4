"""An attempt at a shard as its driver knows it, and what every attempt is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from crawler.cluster.messages import Figures, Reserved
from crawler.rules.shards import Shard


@dataclass(frozen=True, slots=True)
class Terms:
    """What every attempt is given: `log_of` names the file of an attempt's pages.

    `keys`: how many there are. `workers`: requests in flight of one attempt, None for what its pace needs.
    `must_share`: workers that do not share the data folder are refused.
    """

    version: str
    run_id: str
    lease_s: float
    keys: int
    log_of: Callable[[int], str]
    workers: int | None = None
    must_share: bool = False


@dataclass(slots=True)
class Attempt:
    """One try at a shard.

    `expires_at`: its lease, unless it is renewed. `leased` and `charged` are credits by key, as given and as
    gone with requests. `seen`: bursts of 429s that it knows of. `durable` bytes of its log are on disk,
    `absorbed` of them in the date's journal. `kept` is the number of the frame kept last, `reserved` has the
    credits given last, by key: number and reply. `trusts_others`: see `Assignment`.
    """

    fence: int
    shard: Shard
    worker: str
    expires_at: float
    has_log: bool
    leased: list[int]
    charged: list[int]
    seen: int
    figures: Figures = field(default_factory=Figures)
    durable: int = 0
    absorbed: int = 0
    kept: int = 0
    trusts_others: bool = False
    answered_at: float | None = None
    reserved: dict[int, tuple[int, Reserved]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    credit_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def host(self) -> str:
        """The host that it sends from."""
        return self.worker.partition(":")[0]
