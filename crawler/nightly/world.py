"""The world of a run: clocks, chance, threads, network, and the disk's free space."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from crawler.api.columns import read_batch
from crawler.history.carried import PinnedRows
from crawler.history.outdated import add_columns
from crawler.history.staged import mark_outdated
from crawler.models.keys import ApiKey
from crawler.options import Settings
from crawler.ports import Api
from crawler.rules.sizing import MAX_WORKERS
from crawler.store.files import free_bytes
from crawler.store.journal import Journal
from crawler.store.layout import StagedFolder
from crawler.store.lock import Uptime, uptime
from crawler.store.publishing import publish
from crawler.store.rewriting import Rewriting
from crawler.store.segments import SegmentWriter
from crawler.store.snapshot import RowCounts, SnapshotPlan

if TYPE_CHECKING:
    from crawler.api.client import ApiClient


def _thread(name: str) -> Executor:
    return ThreadPoolExecutor(1, name)


def _utc_now() -> datetime:
    """What this machine's clock says."""
    return datetime.now(UTC)


def _api_client(now: Callable[[], datetime], settings: Settings, keys: Sequence[ApiKey]) -> ApiClient:
    """The client of the real API; pages are received at `now`."""
    from crawler.api.opening import open_client  # noqa: PLC0415 - a run with nothing to ask for needs none

    return open_client(settings, keys, now, MAX_WORKERS)


_REAL_API = partial(_api_client, _utc_now)


def _staging(journal: Journal, keeps_raw: bool) -> SegmentWriter:
    return SegmentWriter(journal, read_batch, executor=_thread("segments"), keeps_raw=keeps_raw)


def _publish(staging: SegmentWriter, plan: SnapshotPlan) -> RowCounts:
    staging.flush()
    journal = staging.journal
    rewriting = Rewriting(plan.data, StagedFolder(plan.data, f"{plan.run_id}-rewritten"), journal.guard)
    warnings = add_columns(rewriting)
    carried = PinnedRows(journal, plan.data, plan.crawl_date)
    mark = partial(mark_outdated, rewriting)
    counts = publish(journal, plan, carried, before_exchange=mark)
    counts.warnings += warnings
    return counts


@dataclass(frozen=True, slots=True)
class World:
    """What a run takes from outside, but for its files: a simulated night brings its own.

    `run` drives a coroutine to its end; `executor` gives one thread; `staging` gives what writes a journal's
    segments, and whether it keeps the raw pages; `publish` builds and exchanges a
    snapshot; `connections` is how many may be open at once; `uptime` says how long
    the machine has been up; `sleep` lets so many seconds pass where no event loop runs.
    """

    now: Callable[[], datetime] = _utc_now
    token: Callable[[], str] = lambda: secrets.token_hex(4)
    rng: Random = field(default_factory=Random)
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    executor: Callable[[str], Executor] = _thread
    api: Callable[[Settings, Sequence[ApiKey]], AbstractAsyncContextManager[Api]] = _REAL_API
    free_bytes: Callable[[Path], int] = free_bytes
    staging: Callable[[Journal, bool], SegmentWriter] = _staging
    publish: Callable[[SegmentWriter, SnapshotPlan], RowCounts] = _publish
    connections: int = MAX_WORKERS
    uptime: Callable[[], Uptime | None] = uptime
    sleep: Callable[[float], None] = time.sleep

    def run_id(self, began: datetime, suffix: str = "") -> str:
        """A new run's ID; `suffix` tells what else than a crawl it is."""
        return f"{began:%Y%m%dT%H%M%SZ}-{self.token()}{suffix}"


REAL_WORLD = World()


def world_behind(behind: timedelta) -> World:
    """The world as it is, with a clock that is so far behind."""

    def now() -> datetime:
        return _utc_now() - behind

    return World(now, api=partial(_api_client, now))
