"""From what a night did to its report: figures first, then the notes that say what they mean."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from crawler import events
from crawler.exit_codes import SELLERS_FAILED
from crawler.models.errors import ApiDownError, BudgetSpentError, CrawlerError
from crawler.models.seller import Strategy
from crawler.nightly.crawling import CrawlOutcome
from crawler.nightly.keys import uses_of
from crawler.nightly.most_moved import top_movers_of
from crawler.nightly.opening import Opened
from crawler.nightly.publishing import Published
from crawler.nightly.run_facts import has_late_pages
from crawler.report.run_report import Errors, Requests, RunReport
from crawler.rules.dates import stamp
from crawler.store.layout import VIDEOS
from crawler.store.snapshot import RowCounts

_ROWS = ("received", "duplicate", "rejected", "written")


def draft(
    opened: Opened, outcome: CrawlOutcome, published: Published, stop_reason: CrawlerError | None
) -> RunReport:
    """The report of a night, but for its notes, its credits and the command that goes on with it."""
    night, crawled, counts, rows = opened.night, outcome.counts, published.counts, published.rows
    exit_code = SELLERS_FAILED.number if counts.sellers["failed"] else 0
    if stop_reason is not None and _is_as_meant(opened, published, stop_reason):
        stop_reason = None
    if stop_reason is not None:
        exit_code = stop_reason.exit_code
    return RunReport(
        run_id=opened.run_id,
        crawl_date=night.crawl_date.isoformat(),
        started_at=opened.started_at,
        plausibility={
            "verdict": None if rows is None else rows.verdict,
            "reasons": [] if rows is None else rows.reasons,
        },
        finished_at=stamp(night.world.now()),
        status=_status(exit_code, night.layout.snapshot(VIDEOS, night.crawl_date)),
        exit_code=exit_code,
        message="" if stop_reason is None else str(stop_reason),
        published=published.is_published,
        late=has_late_pages(opened.journal, opened.late_from),
        sellers=counts.sellers,
        requests=Requests(
            crawled.sent, crawled.ok, crawled.retried, dict(crawled.by_status), crawled.unaccounted
        ),
        errors=Errors(dict(crawled.errors.most_common()), crawled.last_error),
        rows=dict.fromkeys(_ROWS, 0) if rows is None else {n: getattr(rows, n) for n in (*_ROWS, "carried")},
        fields={} if rows is None else rows.fields,
        stops=counts.stops,
        qps={
            "limit": night.settings.qps,
            "achieved": round(crawled.sent / outcome.busy, 3) if outcome.busy else 0.0,
        },
        certain_above=counts.certain_above,
        certain_rows=0 if rows is None else rows.certain,
        probes={"sent": outcome.probes.sent, "rows_found": outcome.probes.rows_found},
        after_rejects={"pages": outcome.after_rejects.sent, "rows_found": outcome.after_rejects.rows_found},
        carry_forward={}
        if rows is None
        else {"carried": rows.carried_sellers, "credits_saved": rows.saved, **asdict(rows.audit)},
        freshness=_freshness(opened, rows),
        drift=counts.drift,
        top_movers=top_movers_of(opened, published),
        failures=counts.failures,
        keys=uses_of(opened, outcome.lanes),
    )


def _freshness(opened: Opened, rows: RowCounts | None) -> dict[str, Any]:
    """How fresh the snapshot is that `--strategy freshest` made; empty where nothing stands for a seller."""
    if rows is None or rows.oldest is None:
        return {}
    drift, target = round(rows.drift, 1), opened.night.run.target
    return {
        "oldest_days": rows.oldest,
        "stale": rows.stale,
        "expected_drift": drift,
        "value": opened.night.run.value,
    } | ({} if target is None else {"target": target})


def _is_as_meant(opened: Opened, published: Published, stop_reason: CrawlerError) -> bool:
    """Whether a budget is spent that `--strategy freshest` was to spend, and nothing is overdue."""
    is_spent = isinstance(stop_reason, BudgetSpentError) and opened.night.run.strategy is Strategy.FRESHEST
    return is_spent and published.rows is not None and not published.rows.stale


def _status(exit_code: int, live: Path) -> str:
    if exit_code == 0:
        return "complete"
    return "partial" if live.exists() else "failed"


def note_findings(
    opened: Opened, report: RunReport, address_doubt: str, stop_reason: CrawlerError | None
) -> None:
    """Note what a reader of the figures should know, and what can be done about it."""
    notes, probes, beyond, drift = opened.notes, report.probes, report.after_rejects, report.drift
    if probes["rows_found"]:
        notes.add(events.SHORT_PAGES_DOUBTED(pages=probes["sent"], rows=probes["rows_found"]))
    if beyond["pages"]:
        notes.add(events.REJECTS_FOLLOWED(pages=beyond["pages"], rows=beyond["rows_found"]))
    if drift["gaps"]:
        sellers, gaps = drift["sellers"], drift["gaps"]
        if opened.night.run.strategy is Strategy.FRESHEST and opened.account.left is not None:
            notes.add(events.LISTS_DRIFTED_IN_STRETCHES(sellers=sellers, gaps=gaps))
        else:
            notes.add(events.LISTS_DRIFTED(sellers=sellers, gaps=gaps))
    if address_doubt and not isinstance(stop_reason, ApiDownError):
        notes.add(events.ADDRESS_DOUBTED(reason=address_doubt))
    others, failed = report.sellers["not_listed"], report.sellers["kept"]
    if others:
        notes.add(events.SELLERS_NOT_LISTED(sellers=others, crawl_date=report.crawl_date))
    if failed:
        notes.add(events.SELLERS_KEPT(sellers=failed))
