"""Wiring the engine: gates, pace, rules and pool, as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime

from crawler.engine.gates import Gates
from crawler.engine.key_lane import KeyLane
from crawler.engine.pool import Crawl
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError
from crawler.models.page import Page
from crawler.nightly.choosing import Choice, Rules
from crawler.nightly.keys import RunKeys
from crawler.nightly.opening import Opened
from crawler.ports import Api, CrawlFigures, TellsTime
from crawler.report.series import Sampler
from crawler.rules.outage import Breaker
from crawler.rules.paging import PagingRule, ShortPageProbes
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize
from crawler.store.group_commit import GroupCommit, SegmentStore


class Engine:
    """What a run sends by: wired once, so that pace, breaker and counts go on from one crawl to the next."""

    def __init__(self, opened: Opened, api: Api, keys: RunKeys, journal: GroupCommit, stop: Stop) -> None:
        night, run = opened.night, opened.night.run
        credit, pace = keys.credits, keys.pace()
        breaker, retry = Breaker(run.patience), RetryRule(run.attempts, run.backoff)
        self._gates = Gates(api, credit, pace, breaker, retry, stop, run.patience, night.world.rng)
        self._night, self._api, self._journal, self._stop = night, api, journal, stop
        self.lanes: Sequence[KeyLane] = keys.lanes
        self.counts = self._gates.counts
        self.sampler = Sampler()
        self.probes = ShortPageProbes(run.probe, self._sent)
        budget, spent = opened.account.budget, opened.ledger.spent_for(night.crawl_date)
        counts, total = self.counts, len(night.listed)
        self.figures = CrawlFigures(total, 0, budget, spent, counts.by_status, counts.latencies, self._sent)

    @property
    def clock(self) -> tuple[datetime, int] | None:
        """See `ports.TellsTime`."""
        return self._api.clock if isinstance(self._api, TellsTime) else None

    async def crawl(self, choice: Choice, rules: Rules) -> None:
        """Crawl what was chosen."""
        await self._crawl_of(choice, rules).run()

    def _crawl_of(self, choice: Choice, rules: Rules) -> Crawl:
        run, figures = self._night.run, self.figures
        figures.ended = choice.ended

        def on_page(page: Page) -> None:
            figures.count_page(page)
            rules.watch.read(page, self._stop, self._sent)

        paging = PagingRule(run.stop, run.max_pages, run.min_value)
        return Crawl(
            rules.frontier,
            self._gates,
            self._journal,
            PoolSize(
                self._night.settings.qps,
                None if run.workers == "auto" else run.workers,
                self._night.world.connections,
            ),
            run.grace,
            replace(rules.policies, paging=paging, probes=self.probes),
            to_repair=choice.to_repair,
            address=choice.address,
            on_page=on_page,
            on_end=figures.count_end,
        )

    def _sent(self) -> int:
        return self.counts.sent


@asynccontextmanager
async def engine_of(opened: Opened, stop: Stop, writer: Executor, counter: Executor) -> AsyncIterator[Engine]:
    """The engine of this process; at its end every record is durable, and unused credits are returned.

    The journal is written by `writer`, the ledger by `counter`.
    """
    night, keys = opened.night, RunKeys(opened, counter, stop)
    store = SegmentStore(opened.store.segments, writer)
    journal = GroupCommit(store, opened.run_id, night.settings.journal.commit_ms / 1000)
    try:
        async with night.world.api(night.settings, night.keys) as api:
            yield Engine(opened, api, keys, journal, stop)
    except Exception:
        # A fault of the program: nobody sends any more, so that what was sent is known all the same.
        with suppress(CrawlerError):
            await keys.return_unused_credits()
        raise
    finally:
        await journal.close()
    await keys.return_unused_credits()
