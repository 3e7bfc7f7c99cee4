"""Wiring the engine: gates, pace, rules and pool, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.engine.credits import Credits
from crawler.engine.gates import Gates, RequestCounts
from crawler.engine.pace import Pace
from crawler.engine.pool import Crawl
from crawler.engine.seller import Policies
from crawler.engine.stop import Stop
from crawler.models.page import Page
from crawler.nightly.choosing import Choice, Rules
from crawler.nightly.opening import Opened
from crawler.ports import Api, CrawlFigures
from crawler.rules.outage import Breaker
from crawler.rules.paging import PagingRule, ShortPageProbes
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize
from crawler.store.group_commit import GroupCommit


@dataclass(frozen=True, slots=True)
class Engine:
    """A crawl that is ready to run, what it counts, and what is displayed of it."""

    crawl: Crawl
    counts: RequestCounts
    figures: CrawlFigures
    probes: ShortPageProbes


def wire(
    opened: Opened,
    choice: Choice,
    rules: Rules,
    api: Api,
    credit: Credits,
    journal: GroupCommit,
    stop: Stop,
    before: Engine | None = None,
) -> Engine:
    """Build the engine of one crawl; it goes on counting where one `before` it left off."""
    night, run = opened.night, opened.night.run
    breaker = Breaker(run.patience)
    pace = Pace(run.qps, night.settings.api.retry_after_cap, stop)
    pace.pause(opened.initial_pause_s if before is None else max(1.0, 1.0 / run.qps))
    retry = RetryRule(run.attempts, run.backoff)
    gates = Gates(api, credit, pace, breaker, retry, stop, run.patience, night.world.rng)
    if before is not None:
        gates.counts = before.counts
    budget, spent = opened.account.budget, opened.ledger.spent_for(night.crawl_date)
    figures = CrawlFigures(
        len(night.listed), choice.ended, budget, spent, gates.counts.by_status, lambda: gates.counts.sent
    )
    paging = PagingRule(run.stop, run.max_pages, run.min_value)
    probes = ShortPageProbes(run.probe, lambda: gates.counts.sent) if before is None else before.probes

    def on_page(page: Page) -> None:
        figures.count_page(page)
        rules.watch.read(page, stop, lambda: gates.counts.sent)

    crawl = Crawl(
        rules.frontier,
        gates,
        journal,
        PoolSize(run.qps, None if run.workers == "auto" else run.workers, night.world.connections),
        run.grace,
        Policies(paging, rules.lookahead, probes, rules.top, rules.match),
        to_repair=choice.to_repair,
        address=choice.address,
        on_page=on_page,
        on_end=figures.count_end,
    )
    return Engine(crawl, gates.counts, figures, probes)
