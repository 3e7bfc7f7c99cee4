"""Every metric once: name, type, label, meaning. Open it to add one; docs/monitoring.md is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `is_live`: it changes while a run goes on. `label`: its samples differ in that."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    label: str = ""
    is_live: bool = False


def _gauge(name: str, text: str, label: str = "") -> Metric:
    return Metric(f"crawler_{name}", "gauge", text, label)


def _live(name: str, text: str) -> Metric:
    return Metric(f"crawler_{name}", "gauge", text, is_live=True)


INFO = _gauge("info", "1; the label is the version that wrote the file", "version")
WRITTEN = _live("written_timestamp_seconds", "When the file was written; every 20 s while a run goes on")
RUNNING = _live("running", "1 while a run crawls, else 0; it stays 1 where a run was killed")
STARTED = _live("last_start_timestamp_seconds", "When the last crawl began")
ENDED = _gauge("last_end_timestamp_seconds", "When the last run ended")
SUCCEEDED_AT = _gauge(
    "last_success_timestamp_seconds", "When the last run ended whose exit code counts as success (notify.ok)"
)
SUCCESS_ROWS = _gauge("last_success_rows", "Rows that the last such run has written")
SUCCESS = _gauge("last_run_success", "1 where the last run's exit code counts as success, else 0")
EXIT_CODE = _gauge("last_exit_code", "Exit code of the last run")
PLAUSIBILITY = _gauge("plausibility", "1 for the verdict on the last night that was judged", "verdict")
ROWS = _gauge("rows", "Rows of the last report", "kind")
ROWS_RECEIVED = _live("rows_received", "Rows received by this run so far")
SELLERS = _gauge("sellers", "Listed sellers of the last report", "status")
SELLERS_LISTED = _live("sellers_listed", "Sellers in the list")
SELLERS_ENDED = _live("sellers_ended", "Listed sellers that have ended")
CREDITS_SPENT = _live("credits_spent", "Credits that this run has spent")
DATE_SPENT = _live("date_credits_spent", "Credits spent for the crawl date by all its runs")
DATE_BUDGET = _live("date_credits_budget", "Credits that the crawl date may cost; missing without a budget")
DATE_LEFT = _live("date_credits_left", "Credits left of that budget")
MONTH_SPENT = _gauge("month_credits_spent", "Credits spent in the billing month")
MONTH_BUDGET = _gauge("month_credits_budget", "Credits that the month may cost; missing without a budget")
MONTH_LEFT = _gauge("month_credits_left", "Credits left of that budget")
KEY_SPENT = _gauge(
    "key_credits_spent", "Credits that the last run has spent, by key; only with several", "key"
)
KEY_MONTH_SPENT = _gauge(
    "key_month_credits_spent", "Credits spent in the billing month, by key; only with several", "key"
)
KEY_RETIRED = _gauge(
    "key_retired",
    "1 where the last run retired the key as it was refused or used up, else 0; only with several keys",
    "key",
)
REQUESTS = Metric(
    "crawler_requests_total",
    "counter",
    "Requests of this run, by HTTP status or by what came in its place; each run begins with 0",
    "status",
    is_live=True,
)
SECONDS = Metric(
    "crawler_request_duration_seconds",
    "histogram",
    "Seconds from a request's departure to its answer, or to what came in its place, in this run",
    is_live=True,
)
WORKERS = _live("workers", "Workers that read a shard at the moment; only where several processes crawl")
SHARDS_DONE = _live("shards_done", "Shards that are done; only where several processes crawl")
RATE = _live("requests_per_second", "Requests a second of this run, over all of its crawl")
RATE_LIMIT = _live("requests_per_second_limit", "The ceiling: run.qps, or what several keys allow")

METRICS = (
    *(INFO, WRITTEN, RUNNING, STARTED, ENDED, SUCCEEDED_AT, SUCCESS_ROWS, SUCCESS, EXIT_CODE, PLAUSIBILITY),
    *(ROWS, ROWS_RECEIVED, SELLERS, SELLERS_LISTED, SELLERS_ENDED, CREDITS_SPENT, DATE_SPENT, DATE_BUDGET),
    *(DATE_LEFT, MONTH_SPENT, MONTH_BUDGET, MONTH_LEFT, KEY_SPENT, KEY_MONTH_SPENT, KEY_RETIRED, REQUESTS),
    *(SECONDS, RATE, RATE_LIMIT, WORKERS, SHARDS_DONE),
)
"""All metrics, in the order of the file."""
