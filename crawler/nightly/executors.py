"""What crawls: the engine of this process or workers of others, by the setting `run.executor`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

from crawler.engine.gates import RequestCounts
from crawler.engine.key_lane import KeyLane
from crawler.engine.stop import Stop
from crawler.nightly.choosing import Choice, Rules
from crawler.nightly.engine import engine_of
from crawler.nightly.opening import Opened
from crawler.ports import CrawlFigures
from crawler.report.series import Sampler
from crawler.rules.paging import ShortPageProbes


class Crawling(Protocol):
    """What crawls: the engine of this process, or workers.

    `clock`: see `ports.TellsTime`; `lanes` are the keys, where there are several.
    """

    figures: CrawlFigures
    counts: RequestCounts
    probes: ShortPageProbes
    sampler: Sampler
    lanes: Sequence[KeyLane]

    @property
    def clock(self) -> tuple[datetime, int] | None:
        """What the API's clock says now, and from how many answers that is known."""

    async def crawl(self, choice: Choice, rules: Rules) -> None:
        """Crawl what was chosen."""


@asynccontextmanager
async def opened_executor(
    opened: Opened, stop: Stop, writer: Executor, counter: Executor
) -> AsyncIterator[Crawling]:
    """Open it; at its end every record is durable, and unused credits are returned."""
    if opened.night.run.executor == "local":
        async with engine_of(opened, stop, writer, counter) as engine:
            yield engine
    else:
        from crawler.nightly.workers import workers_of  # noqa: PLC0415 - one process needs no Dask

        async with workers_of(opened, stop, writer, counter) as workers:
            yield workers
