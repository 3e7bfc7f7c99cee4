"""A shard as a Dask task: what a worker process runs. Only plain values and settings come with it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random

import pyarrow as pa
from distributed.security import Security

import crawler
from crawler.api.opening import open_client
from crawler.cluster.attempt import Attempt
from crawler.cluster.comms import CommLink
from crawler.cluster.lease import boot_time
from crawler.cluster.messages import Assignment, Begin, LostError, as_plain, reply_of
from crawler.cluster.surroundings import Surroundings
from crawler.models.keys import ApiKey
from crawler.options import Settings
from crawler.report.log_lines import collected_lines
from crawler.rules.sizing import MAX_WORKERS
from crawler.settings.key import read_keys
from crawler.store.attempt_log import AttemptLog
from crawler.store.record_frames import encode
from crawler.store.records import Record

_BEGIN_LEASES = 6
"""An attempt is waited for as long as so many leases take: one that was given up must end first."""

_USED = threading.local()


@dataclass(frozen=True, slots=True)
class Job:
    """What a task is given: where its driver is, and which shard it is.

    `probe` is a file in the driver's data folder that holds the token: who can read it shares that folder.
    """

    contact: str
    token: str
    shard: int
    settings: Settings
    security: Security
    probe: str


def read_shard(job: Job) -> str:
    """Read a shard's sellers; returns how that ended. Runs in a worker's thread.

    Raises `InputError` where this host has no key.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    return asyncio.run(_read(job))


async def _read(job: Job) -> str:
    keys = read_keys(job.settings, os.environ)
    way = job.contact, job.token, job.security
    link, pages = CommLink(*way), CommLink(*way)
    try:
        begin = Begin(
            shard=job.shard,
            worker=f"{os.uname().nodename}:{os.getpid()}:{threading.get_native_id()}",
            version=crawler.__version__,
            can_share=_can_share(job),
        )
        wait_s = _BEGIN_LEASES * job.settings.dask.lease_s
        assignment = reply_of(Assignment, await link.call(as_plain(begin), wait_s))
        if assignment.nothing:
            return assignment.nothing
        return await _attempt(job, keys, assignment, link, pages)
    except LostError:
        return "lost"
    finally:
        link.close()
        pages.close()


async def _attempt(
    job: Job, keys: Sequence[ApiKey], assignment: Assignment, link: CommLink, pages: CommLink
) -> str:
    now = partial(datetime.now, UTC)
    log = _Log(Path(assignment.log)) if assignment.log else None
    try:
        with collected_lines() as lines:
            async with open_client(job.settings, keys, now, MAX_WORKERS) as api:
                around = Surroundings(
                    settings=job.settings,
                    link=link,
                    pages=pages,
                    api=api,
                    log=log,
                    rng=Random(),  # noqa: S311 - it spreads retries
                    now=now,
                    clock=boot_time,
                    connections=MAX_WORKERS,
                    logs=lines,
                    places=_places_of(job.token),
                )
                outcome = await Attempt(assignment, around).run()
    finally:
        if log is not None:
            log.close()
    return "lost" if outcome is None else str(outcome)


def _can_share(job: Job) -> bool:
    if not job.probe:
        return False
    with suppress(OSError):
        path = Path(job.probe)
        return path.read_text() == job.token and os.access(path.parent, os.W_OK)
    return False


def _places_of(token: str) -> list[deque[float]]:
    """The places that this thread used last, for the same driver."""
    if getattr(_USED, "token", "") != token:
        _USED.token, _USED.places = token, []
    places: list[deque[float]] = _USED.places
    return places


class _Log:
    """The attempt's log, written by threads."""

    def __init__(self, path: Path) -> None:
        self._log = AttemptLog(path)

    async def append(self, records: list[Record]) -> int:
        """See `RecordLog`."""
        return await asyncio.to_thread(self._append, records)

    def _append(self, records: list[Record]) -> int:
        return self._log.append(encode(records))

    def close(self) -> None:
        """Write no more."""
        self._log.close()
