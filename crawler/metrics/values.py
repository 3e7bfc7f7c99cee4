"""The metrics of a run as plain values: while it goes on, at its end, and at an end without a report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from crawler import __version__
from crawler.metrics import table
from crawler.metrics.table import Metric
from crawler.models.latency import BOUNDS, Latencies
from crawler.models.seller import SellerStatus
from crawler.ports import CrawlFigures
from crawler.report.run_report import RunReport
from crawler.rules.plausibility import Plausibility

SUM = "sum"
"""The sum of a histogram, among its classes."""
Values = Mapping[str, Mapping[str, float]]
"""The samples of each metric by the value of its label, which is empty without one. None: it has no value."""
Samples = dict[str, Mapping[str, float]]
_ROWS = ("received", "carried", "duplicate", "rejected", "written")


def while_running(figures: CrawlFigures, qps: float, began: float, now: float) -> Samples:
    """What is known of a run that crawls since `began`, which is in epoch seconds as `now` is."""
    spent = figures.spent_before + figures.sent
    budget, workers = figures.budget, figures.workers
    return _values(
        (table.RUNNING, 1),
        (table.STARTED, began),
        (table.WRITTEN, now),
        (table.ROWS_RECEIVED, figures.rows),
        (table.SELLERS_LISTED, figures.total),
        (table.SELLERS_ENDED, figures.ended),
        (table.CREDITS_SPENT, figures.sent),
        (table.DATE_SPENT, spent),
        (table.DATE_BUDGET, budget),
        (table.DATE_LEFT, None if budget is None else budget - spent),
        (table.RATE, figures.sent / max(now - began, 1e-3)),
        (table.RATE_LIMIT, qps),
        (table.WORKERS, None if workers is None else workers.working),
        (table.SHARDS_DONE, None if workers is None else workers.shards_done),
    ) | {
        table.REQUESTS.name: dict(figures.by_status),
        table.SECONDS.name: _histogram(figures.latencies),
    }


def at_the_end(report: RunReport, latencies: Latencies | None, *, is_ok: bool, now: float) -> Samples:
    """What the report of a run says."""
    credit, sellers, rows = report.credits, report.sellers, report.rows
    began, ended = _moment(report.started_at), _moment(report.finished_at)
    plain = _values(
        (table.STARTED, began),
        (table.ROWS_RECEIVED, rows.get("received", 0)),
        (table.SELLERS_LISTED, sellers.get("total", 0)),
        (table.SELLERS_ENDED, sellers.get("complete", 0) + sellers.get("failed", 0)),
        (table.CREDITS_SPENT, credit.spent),
        (table.DATE_SPENT, credit.spent_for_date),
        (table.DATE_BUDGET, credit.budget),
        (table.DATE_LEFT, _left(credit.budget, credit.spent_for_date)),
        (table.MONTH_SPENT, credit.spent_for_month),
        (table.MONTH_BUDGET, credit.monthly_budget),
        (table.MONTH_LEFT, _left(credit.monthly_budget, credit.spent_for_month)),
        (table.RATE, report.qps.get("achieved", 0)),
        (table.RATE_LIMIT, report.qps.get("limit")),
    )
    verdict = report.plausibility.get("verdict")
    labelled: Samples = {
        table.ROWS.name: {kind: rows[kind] for kind in _ROWS if kind in rows},
        table.SELLERS.name: {status: sellers.get(status, 0) for status in SellerStatus},
        table.KEY_SPENT.name: {use.name: float(use.sent) for use in report.keys},
        table.KEY_MONTH_SPENT.name: {use.name: float(use.spent_for_month) for use in report.keys},
        table.KEY_RETIRED.name: {use.name: float(use.is_lost) for use in report.keys},
        table.REQUESTS.name: dict(report.requests.by_status),
        table.SECONDS.name: {} if latencies is None else _histogram(latencies),
    }
    judged: Samples = {}
    if verdict:
        judged[table.PLAUSIBILITY.name] = {one: float(one == verdict) for one in Plausibility}
    success = _values((table.SUCCESS_ROWS, rows.get("written", 0))) if is_ok else {}
    ending = without_report(report.exit_code, is_ok=is_ok, ended=ended, now=now)
    return plain | labelled | judged | success | ending


def without_report(exit_code: int, *, is_ok: bool, ended: float, now: float) -> Samples:
    """What is known of a run that ended before it had a report: all else stays as the run before left it."""
    ending = _values(
        (table.RUNNING, 0),
        (table.WORKERS, None),
        (table.SHARDS_DONE, None),
        (table.WRITTEN, now),
        (table.ENDED, ended),
        (table.SUCCESS, float(is_ok)),
        (table.EXIT_CODE, exit_code),
    )
    success = _values((table.SUCCEEDED_AT, ended)) if is_ok else {}
    return ending | success | {table.INFO.name: {__version__: 1.0}}


def over(earlier: Values, newer: Values) -> Values:
    """The newer values, and the earlier ones of metrics that are not among them."""
    return {**earlier, **newer}


def _values(*pairs: tuple[Metric, float | None]) -> Samples:
    return {metric.name: {} if value is None else {"": float(value)} for metric, value in pairs}


def _histogram(latencies: Latencies) -> dict[str, float]:
    counts = latencies.up_to()
    classes = {str(bound): float(count) for bound, count in zip((*BOUNDS, "+Inf"), counts, strict=True)}
    return {**classes, SUM: latencies.seconds}


def _left(budget: int | None, spent: int) -> float | None:
    return None if budget is None else budget - spent


def _moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
