"""Wiring the engine: gates, pace, rules and pool, as the settings say."""

from __future__ import annotations

from dataclasses import replace

from crawler.engine.gates import Gates
from crawler.engine.pool import Crawl
from crawler.engine.stop import Stop
from crawler.models.page import Page
from crawler.nightly.choosing import Choice, Rules
from crawler.nightly.keys import RunKeys
from crawler.nightly.opening import Opened
from crawler.ports import Api, CrawlFigures
from crawler.report.series import Sampler
from crawler.rules.outage import Breaker
from crawler.rules.paging import PagingRule, ShortPageProbes
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize
from crawler.store.group_commit import GroupCommit


class Engine:
    """What a run sends by: wired once, so that pace, breaker and counts go on from one crawl to the next."""

    def __init__(self, opened: Opened, api: Api, keys: RunKeys, journal: GroupCommit, stop: Stop) -> None:
        night, run = opened.night, opened.night.run
        credit, pace = keys.credits, keys.pace()
        breaker, retry = Breaker(run.patience), RetryRule(run.attempts, run.backoff)
        self._gates = Gates(api, credit, pace, breaker, retry, stop, run.patience, night.world.rng)
        self._night, self._journal, self._stop = night, journal, stop
        self.counts = self._gates.counts
        self.sampler = Sampler()
        self.probes = ShortPageProbes(run.probe, self._sent)
        budget, spent = opened.account.budget, opened.ledger.spent_for(night.crawl_date)
        counts, total = self.counts, len(night.listed)
        self.figures = CrawlFigures(total, 0, budget, spent, counts.by_status, counts.latencies, self._sent)

    def crawl_of(self, choice: Choice, rules: Rules) -> Crawl:
        """A crawl of what was chosen, ready to run."""
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
