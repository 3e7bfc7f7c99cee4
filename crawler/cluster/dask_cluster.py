"""A Dask cluster of our own or a given one: where tasks go, and what became of them.

With `comms.py` and `task.py` the only modules that know Dask.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import dask
from distributed import Client, Future, LocalCluster
from distributed.security import Security

import crawler
from crawler.cluster.task import Job, read_shard
from crawler.models.errors import InputError
from crawler.options import DaskSettings, RunSettings
from crawler.report.log_lines import quiet_library

_LOCAL = {
    # A shard is begun again as often as workers are killed; the driver counts.
    "distributed.scheduler.allowed-failures": 1000,
    "distributed.scheduler.worker-ttl": "60 s",
    "distributed.scheduler.work-stealing": True,
    "distributed.worker.daemon": True,
    "distributed.comm.timeouts.connect": "10 s",
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": "65536",
    "distributed.admin.tick.limit": "60 s",
}
_TASK = "crawl-shard"

Task = Future[Any]
"""A shard's task."""


def security_of(settings: DaskSettings) -> Security:
    """How connections are encrypted: not at all without certificates."""
    files = settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file
    if not all(files):
        return Security()
    ca, cert, key = map(str, files)
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_client_cert=cert,
        tls_client_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
    )


class Cluster:
    """Workers that take tasks."""

    def __init__(self, client: Client, slots: int) -> None:
        self._client = client
        self.slots = slots
        """How many tasks run at once."""

    @property
    def is_there(self) -> bool:
        """Whether the scheduler is connected."""
        return bool(self._client.status == "running")

    def submit(self, job: Job, attempt: int) -> Task:
        """Begin a shard's task, which may run again by itself where its worker is lost."""
        key = f"{_TASK}-{job.shard:05}-try-{attempt}"
        return self._client.submit(read_shard, job, key=key, pure=False, priority=-job.shard)

    async def cancel(self, task: Task) -> None:
        """Give a task up: its result is not wanted any more."""
        await self._client.cancel([task], force=True)

    async def error_of(self, task: Task) -> BaseException | None:
        """Wait until a task has ended; what it raised, None where it returned."""
        try:
            await task
        except asyncio.CancelledError as error:
            # Of Dask's too, which mean that the task was given up, or that its scheduler is gone.
            if task.status not in {"cancelled", "lost"}:
                raise
            return error
        except Exception as error:  # noqa: BLE001 - whatever a worker met
            return error
        return None


@asynccontextmanager
async def cluster(run: RunSettings, settings: DaskSettings) -> AsyncIterator[Cluster]:
    """The workers of the executor. Raises `InputError` where there are none, or of another version."""
    quiet_library("distributed")
    opening = _processes(run, settings) if run.executor == "processes" else _given(run, settings)
    async with opening as client:
        await _require_version(client, settings)
        threads = await client.nthreads()
        yield Cluster(client, sum(threads.values()))


@asynccontextmanager
async def _processes(run: RunSettings, settings: DaskSettings) -> AsyncIterator[Client]:
    count = os.cpu_count() or 1 if run.processes == "auto" else run.processes
    with dask.config.set(_LOCAL), TemporaryDirectory(prefix="crawler-") as folder:
        options: dict[str, Any] = {
            "n_workers": count,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": settings.dashboard or "127.0.0.1:0",
            "local_directory": folder,
            "asynchronous": True,
            "silence_logs": "ERROR",
            "memory_limit": 0,
            "protocol": "tcp",
            "host": "127.0.0.1",
            "preload": ["crawler.cluster.worker_start"],
        }
        async with (
            LocalCluster(**options) as local,
            Client(local, asynchronous=True, set_as_default=False) as client,
        ):
            yield client


@asynccontextmanager
async def _given(run: RunSettings, settings: DaskSettings) -> AsyncIterator[Client]:
    address = run.scheduler
    try:
        client = Client(
            address,
            asynchronous=True,
            set_as_default=False,
            security=security_of(settings),
            timeout=settings.wait_s,
        )
        await client
    except (OSError, TimeoutError) as error:
        raise InputError(
            f"the Dask scheduler {address} does not answer ({error}): is it running? "
            "are the certificates of [dask] right? Nothing was sent"
        ) from None
    async with client:
        try:
            waiting: Any = client.wait_for_workers  # its types do not say that it waits
            await waiting(1, timeout=settings.wait_s)
        except TimeoutError:
            raise InputError(
                f"the Dask cluster of {address} has no workers: start some; nothing was sent"
            ) from None
        yield client


async def _require_version(client: Client, settings: DaskSettings) -> None:
    """Raise `InputError` where a worker has another version of this package, or none."""
    try:
        async with asyncio.timeout(settings.wait_s):
            found: dict[str, Any] = await client.run(_version, on_error="return")
    except TimeoutError:
        raise InputError("the workers of the Dask cluster do not answer; nothing was sent") from None
    wanted = crawler.__version__
    wrong = {name: version for name, version in found.items() if version != wanted}
    if wrong:
        name, version = next(iter(wrong.items()))
        has = f"has version {version}" if isinstance(version, str) else "does not have this package"
        raise InputError(
            f"{len(wrong)} of {len(found)} workers need shop-video-crawler {wanted}; {name} {has}: "
            f"pip install 'shop-video-crawler[dask]=={wanted}' there; nothing was sent"
        )


def _version() -> str:
    import crawler  # noqa: PLC0415 - in the worker

    return crawler.__version__
