"""Every event of the log once: its name, level, fields and words. Open it to add one, or to say one better.

A call makes the sentence: `events.API_ANSWERS(down_s=12.5)`. docs/events.md is made from this table.
"""

from __future__ import annotations

from string import Formatter
from typing import Any, NamedTuple, Self

INFO, WARNING, ERROR = "info", "warning", "error"
_IN_WORDS = "_words"
"""How the names of fields end that are words of the sentence alone: a JSON line has the values instead."""


class Sentence(str):
    """What happened, for people; with its event and the fields of that, for programs."""

    __slots__ = ("event", "fields")
    event: LogEvent
    fields: dict[str, Any]

    def __new__(cls, text: str, event: LogEvent, fields: dict[str, Any]) -> Self:
        """See the class."""
        sentence = super().__new__(cls, text)
        sentence.event, sentence.fields = event, fields
        return sentence

    @classmethod
    def of(cls, name: str, text: str, fields: dict[str, Any]) -> Self | None:
        """A sentence that another process made; None where it is of no event."""
        event = EVENTS.get(name)
        return None if event is None else cls(text, event, fields)

    def log(self) -> None:
        """Write it to the log."""
        import logging  # noqa: PLC0415 - commands that log nothing stay light

        logging.getLogger("crawler").log(getattr(logging, self.event.level.upper()), self)


class LogEvent(NamedTuple):
    """What happened, and what the program does about it, as format strings: both make the sentence.

    The names in braces are fields; `also` are fields that the sentence does not have. A run writes `most`
    lines of it, and counts further ones; 0: it writes all.
    """

    name: str
    level: str
    what: str
    does: str = ""
    also: tuple[str, ...] = ()
    most: int = 10

    def __call__(self, **fields: Any) -> Sentence:
        """The event, with all of its fields."""
        shown = {name: _shown(value) for name, value in fields.items()}
        return Sentence(self.template.format_map(shown), self, {name: fields[name] for name in self.typed})

    @property
    def template(self) -> str:
        """The whole sentence."""
        return f"{self.what}; {self.does}" if self.does else self.what

    @property
    def given(self) -> list[str]:
        """The names of the fields that a call gives."""
        names = [name for _, name, _, _ in Formatter().parse(self.template) if name]
        return [*dict.fromkeys((*names, *self.also))]

    @property
    def typed(self) -> list[str]:
        """The names of the fields that a JSON line has."""
        return [name for name in self.given if not name.endswith(_IN_WORDS)]


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{count} x {name}" for name, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


# --- the run

_FIGURES = ("run", "crawl_date", "exit_code", "sellers", "rows", "credits", "reason", "go_on")
RUN_STARTED = LogEvent(
    "run.started",
    INFO,
    "run {run}: {sellers} sellers for crawl date {crawl_date}, at most {qps:g} requests/s, {credits_words}",
    also=("budget", "monthly_budget"),
)
RUN_RESUMED = LogEvent("run.resumed", INFO, "crawl date {crawl_date} goes on with {list} under: {settings}")
RUN_PROGRESS = LogEvent(
    "run.progress",
    INFO,
    "sellers {ended}/{sellers}{failed_words}, pages {pages}, rows {rows}, credits {credits_words}, "
    "{qps:.2f} requests/s{left_words}{workers_words}",
    also=("failed", "credits", "budget", "left_s"),
    most=0,
)
NOTHING_TO_DO = LogEvent("run.nothing_to_do", INFO, "nothing left to do for crawl date {crawl_date}")
RUN_STOPPING = LogEvent(
    "run.stopping",
    INFO,
    "the crawl stops before its end: {verdict}",
    "no further request is sent, those on their way are waited for",
    also=("exit_code",),
)
RUN_COMPLETE = LogEvent("run.complete", INFO, "{summary_words}", also=_FIGURES)
RUN_INCOMPLETE = LogEvent("run.incomplete", ERROR, "exit code {exit_code}, {summary_words}", also=_FIGURES)
COMMAND_FAILED = LogEvent("command.failed", ERROR, "{reason}", also=("exit_code",))
LINES_LEFT_OUT = LogEvent(
    "log.shortened",
    WARNING,
    "the log leaves out further lines of the same kind: {lines}",
    "the report counts what they were about",
    most=0,
)
LIBRARY_WARNED = LogEvent(
    "library.warned", WARNING, "{library}: {text}", "a library says so, and nothing is done about it"
)
SETTING_UNKNOWN = LogEvent(
    "setting.unknown", WARNING, "environment {variable}: unknown setting", "it is not read"
)
WORKERS_LIMITED = LogEvent(
    "workers.limited",
    WARNING,
    "{workers} workers at most: this process may not open more files (ulimit -n)",
    "the run goes on with these",
)
LIST_ROUNDED = LogEvent(
    "list.rounded",
    WARNING,
    "{list}: {rounded_words}",
    "they are asked for as they are",
    also=("rounded", "ids"),
)
LIST_LINES_SKIPPED = LogEvent(
    "list.lines_skipped",
    WARNING,
    "{lines_words} of {list} skipped (--skip-bad-ids)",
    "the others are crawled",
    also=("lines",),
)
CLOCK_DOUBTED = LogEvent(
    "clock.doubted",
    WARNING,
    "the clock says {now}, {days} days {way_words} the last run ({last_run}): one of the two is wrong, or no "
    "run was made for long",
    "nothing is removed or compacted for its age now; the next run knows this clock",
)
CLOCK_DIFFERS = LogEvent(
    "clock.differs",
    WARNING,
    "this machine's clock says {now}, the API's Date says {api}",
    "this run removes no old journal and no report; set the clock, if it is this one that is wrong",
)

# --- the nights before

RUN_DIED = LogEvent(
    "run.died",
    WARNING,
    "{runs_words}run {run} of crawl date {crawl_date}, begun at {begun_at}, died: it was killed, or this "
    "machine went down",
    "what it had paid for is kept{publish_words}",
    also=("dead_runs", "publish"),
)
NIGHTS_MISSED = LogEvent(
    "nights.missed",
    WARNING,
    "nothing ran on {dates} crawl {dates_words} before this one: {gaps} (a run is wanted {every_words}, by "
    "run.every)",
    "the API has today's figures alone, so they cannot be crawled any more",
    also=("every",),
)
DATES_UNFINISHED = LogEvent(
    "dates.unfinished",
    INFO,
    "{dates_words}crawl date {crawl_date} is unfinished ({left_words}){accept_words}; end it as it is by: "
    "{close}; go on with it by: {go_on}",
    also=("dates", "accept"),
)
DATE_LATE = LogEvent(
    "date.late",
    INFO,
    "crawl date {crawl_date} is late: {reason}",
    "rows that are received from now on are marked late",
)
CATCH_UP_STARTED = LogEvent(
    "catch_up.started", INFO, "crawl date {crawl_date} is unfinished and gone on with first (run.catch_up)"
)
CATCH_UP_ENDED = LogEvent(
    "catch_up.ended",
    INFO,
    "crawl date {crawl_date} was gone on with first (run.catch_up): exit code {exit_code}, {summary_words}; "
    "its report: {report}",
)
CATCH_UP_FAILED = LogEvent(
    "catch_up.failed",
    WARNING,
    "crawl date {crawl_date} could not be gone on with: {reason}",
    "tonight's is crawled all the same",
)
CREDITS_RECOUNTED = LogEvent(
    "credits.recounted",
    WARNING,
    "the ledger had lost {credits} credits that the journals of {crawl_dates} know",
    "they count again",
)

# --- the API

API_DOWN = LogEvent(
    "api.down",
    WARNING,
    "the API does not answer; the last error: {reason}",
    "only trials are sent until it does, and after {patience_s:g} s the run gives up",
    also=("seller", "page", "kind"),
)
API_ANSWERS = LogEvent("api.answers", INFO, "the API answers again after {down_s:.0f} s; the crawl goes on")
RATE_LOWERED = LogEvent(
    "rate.lowered",
    INFO,
    "the API answered 429: no request is sent for {wait_s:.1f} s, then at most {qps:.3g} requests/s for a "
    "while",
    also=("seller", "page", "status"),
)
KEY_SLOWED = LogEvent(
    "key.slowed",
    INFO,
    "the API answered 429 to the key {key}: no request is sent with it for {wait_s:.1f} s, then at most "
    "{qps:.3g} requests/s for a while",
    "the other keys go on",
    also=("seller", "page", "status"),
)
KEY_RETIRED = LogEvent(
    "key.retired",
    WARNING,
    "the key {key} {why_words}: {reason}",
    "this run does not use it any more; keys that are left: {left_words}",
    also=("why", "left"),
)
# No warning: a key that is meant to be used up by its budget is so every night.
KEY_SPENT = LogEvent(
    "key.spent",
    INFO,
    "{reason}",
    "this run does not use it any more; keys that are left: {left_words}",
    also=("key", "left"),
)
SELLER_FAILED = LogEvent(
    "seller.failed",
    WARNING,
    "a seller failed: {reason}",
    "what was read of it is kept, and {then_words} asks for it again",
    also=("seller", "page", "kind", "is_final"),
)
ADDRESS_DOUBTED = LogEvent("address.doubted", WARNING, "{reason}", "a later run asks for them again")

# --- the journal of the date

JOURNAL_LOST = LogEvent(
    "journal.lost",
    WARNING,
    "the journal of {crawl_date} is lost",
    "the previous snapshot stays published for the sellers that it has, and those that it has in full are "
    "not paid for again",
)
JOURNAL_REPAIRED = LogEvent("journal.repaired", WARNING, "{path} was damaged", "{repairs}")
JOURNAL_CUT = LogEvent(
    "journal.cut",
    WARNING,
    "{path} was damaged: {commits} commits cannot be read",
    "what they held is asked for again",
)
JOURNAL_REPLACED = LogEvent(
    "journal.replaced",
    WARNING,
    "the journal of {crawl_date} cannot be used any further: {reason}",
    "a new one is begun",
)
EARLIER_UNPUBLISHED = LogEvent(
    "earlier_crawl.unpublished",
    WARNING,
    "what the crawl before had paid for last is not published: {reason}",
    "the date is crawled anew without it",
)
EARLIER_IMPLAUSIBLE = LogEvent(
    "earlier_crawl.implausible",
    WARNING,
    "what the crawl before had paid for last is implausible",
    "it is not published, and the date is crawled anew: {reason}",
)
ANSWERS_DISBELIEVED = LogEvent(
    "answers.disbelieved",
    WARNING,
    "the answers of {sellers} sellers could not be believed",
    "they are asked again",
)
ANSWERS_DOUBTED = LogEvent(
    "answers.doubted",
    WARNING,
    "{sellers} sellers that had videos before had none, or another's, and the run before ended too early to "
    "tell whether that can be believed",
    "they are asked again",
)

# --- earlier snapshots

SNAPSHOT_LEFT_OUT = LogEvent(
    "snapshot.left_out",
    WARNING,
    "{kind} of {crawl_date} cannot be read: {reason}",
    "that snapshot is left out",
)
BUDGET_TOO_SMALL = LogEvent(
    "budget.too_small",
    WARNING,
    "the budget cannot bear that every page is read every {days} days: {stretches} stretches of pages are "
    "overdue after tonight",
    "they stay as they were last read; {budget} credits a night would do",
)
TARGET_CHOSEN = LogEvent(
    "target.chosen",
    INFO,
    "to show {percent:g} % of the gains of crawl date {crawl_date}, {budget} credits are expected to do",
    "it costs no more, also where a run of it is resumed",
)
TARGET_UNKNOWN = LogEvent(
    "target.unknown",
    WARNING,
    "no snapshot has any of these sellers: it is not known which budget shows {percent:g} % of their gains",
    "this crawl date has no budget for it",
)
ROWS_GONE = LogEvent(
    "rows.gone",
    INFO,
    "{rows} videos of {sellers} sellers were last seen more than {days} days ago, though every page of these "
    "was read since",
    "they leave the snapshot",
)
HISTORY_UNUSED = LogEvent(
    "history.unused",
    WARNING,
    "earlier snapshots cannot be used: {reason}",
    "this run is ordered without them",
)
_FULL = (
    "sellers with rows in it are not carried but crawled in full; restore it from a copy, or wait: the next "
    "night carries from tonight's snapshot"
)
CARRY_UNREADABLE = LogEvent(
    "carry.unreadable",
    WARNING,
    "nothing is carried from {crawl_date}, its snapshot cannot be read ({reason})",
    _FULL,
)
CARRY_DAMAGED = LogEvent("carry.damaged", WARNING, "{damage}", _FULL)
CARRY_UNVERIFIABLE = LogEvent(
    "carry.unverifiable",
    WARNING,
    "no digests of the files of {crawl_dates} are kept under {folder} (they come from an earlier version, or "
    "from a copy without it), so that damage could not be noticed",
    "nothing is carried from them; the next snapshot has digests",
)
CARRY_UNVERIFIED = LogEvent(
    "carry.unverified",
    WARNING,
    "no digests of the files of {crawl_dates} are kept under {folder} (they come from an earlier version, or "
    "from a copy without it), so that damage need not be noticed",
    "their rows are carried as they are, since they would be lost otherwise; the next snapshot has digests",
)
CARRIED_ROWS_DAMAGED = LogEvent("carried_rows.damaged", WARNING, "{damage}", "no rows are carried from it")
CARRIED_ROWS_LOST = LogEvent(
    "carried_rows.lost",
    WARNING,
    "rows of {sellers} sellers were to be carried from there",
    "{then_words}{rest_words}",
    also=("not_listed",),
)
CARRIED_ROWS_KEPT = LogEvent(
    "carried_rows.kept",
    WARNING,
    "not all carried rows can be read",
    "{sellers} sellers keep the carried rows that {crawl_date} was published with",
)
AUDIT_DIFFERS = LogEvent(
    "audit.differs",
    WARNING,
    "of {audited} sellers that could have been carried but were crawled in full, {wrong} differ from their "
    "last snapshots: {missed} videos would have been missing, {gone} too many, {changed} with old counts",
    "these are published as they were crawled",
)
SNAPSHOT_NOT_COMPARED = LogEvent("snapshot.not_compared", WARNING, "{damage}", "no rows are compared with it")
RAW_DAMAGED = LogEvent(
    "raw.damaged", WARNING, "{damage}", "these answers are not kept; the rows are not affected"
)

# --- the verdict, and what is published

VERDICT_ODD = LogEvent("verdict.odd", WARNING, "the night is odd", "it is published all the same: {reason}")
# No warning: the line with which the run ends says it, and a mail would have it twice.
VERDICT_IMPLAUSIBLE = LogEvent(
    "verdict.implausible",
    INFO,
    "the night is implausible",
    "it is not published unless a person accepts it: {reason}",
)
RECHECK_UNCHANGED = LogEvent(
    "recheck.unchanged",
    WARNING,
    "{same} of {canaries} canaries are answered as before",
    "nobody else is asked again, and the night stays held back",
)
RECHECK_CHANGED = LogEvent(
    "recheck.changed",
    WARNING,
    "{changed} of {canaries} canaries are answered otherwise than before",
    "{sellers} further sellers that made the night implausible are asked again",
)
REGION_FOLDERS_KEPT = LogEvent(
    "region_folders.kept",
    INFO,
    "the nights of this data folder have region folders, as earlier versions made them",
    "tonight has them too; one file a night is read several times as fast, and is made of all nights by: "
    "{upgrade}",
)
SNAPSHOT_KEPT = LogEvent(
    "snapshot.kept",
    WARNING,
    "not every seller of the new snapshot has ended",
    "the previous snapshot stays published until then; a run without --fresh goes on with it",
)
FRESH_KEPT = LogEvent(
    "fresh.kept",
    WARNING,
    "not all of the {sellers} sellers of a --fresh crawl have ended",
    "the previous snapshot stays published for them until they have{rest_words}",
    also=("not_listed",),
)
FRESH_UNFINISHED = LogEvent(
    "fresh.unfinished",
    WARNING,
    "the --fresh crawl is not published yet",
    "go on with it by: {go_on}",
)
SNAPSHOT_REBUILT = LogEvent(
    "snapshot.rebuilt",
    WARNING,
    "{damage}",
    "the snapshot of {crawl_date} is built again from its journal",
)
CHANGES_OUTDATED = LogEvent(
    "changes.outdated",
    WARNING,
    "an earlier night was published after {crawl_dates}",
    "the changes of these dates are out of date until they are made anew by: {rebuild}",
)
SHORT_PAGES_DOUBTED = LogEvent(
    "short_pages.doubted",
    WARNING,
    "{pages} pages after a short one held {rows} rows: the short-page rule loses such rows",
    "the rows that were found are kept; --stop empty finds all of them",
)
REJECTS_FOLLOWED = LogEvent(
    "rejects.followed",
    WARNING,
    "{pages} short pages held rows that could not be kept (rejects.jsonl has them)",
    "the page after each was asked for too; rows found there: {rows}",
)
# No warning: it is so every night, and cron would mail each of them.
LISTS_DRIFTED = LogEvent(
    "lists.drifted",
    INFO,
    "the lists of {sellers} sellers changed while they were read, at {gaps} pairs of pages: rows may have "
    "slipped through there",
    "what was read is published; --repair-drift reads such pages again",
)
LISTS_DRIFTED_IN_STRETCHES = LogEvent(
    "lists.drifted_stretches",
    INFO,
    LISTS_DRIFTED.what,
    "what was read is published; the next reading of these pages shows such rows: --repair-drift repairs "
    "nothing where freshest has a budget",
)
SELLERS_NOT_LISTED = LogEvent(
    "sellers.not_listed",
    INFO,
    "{sellers} sellers of {crawl_date} are not in the list: they stay as they are",
)
SELLERS_KEPT = LogEvent(
    "sellers.kept",
    WARNING,
    "{sellers} sellers failed that were crawled before",
    "they keep the rows of their crawl before (kept_status in sellers/)",
)

# --- workers

WORKERS_STARTED = LogEvent(
    "workers.started",
    INFO,
    "{slots} workers of the executor {executor} read {sellers} sellers",
)
WORKERS_AWAITED = LogEvent(
    "workers.awaited",
    WARNING,
    "an earlier run of {crawl_date} ended while its workers may still have been sending",
    "nothing is sent for {wait_s:g} s: by then each of them has stopped",
)
WORKERS_RECOVERED = LogEvent(
    "workers.recovered",
    INFO,
    "{attempts} workers of an earlier run of {crawl_date} left {pages} pages",
    "they are in its journal now",
)
WORKER_LOST = LogEvent(
    "worker.lost",
    WARNING,
    "worker {worker} was not heard of for {lease_s:g} s while it read shard {shard}",
    "another one reads what is missing; {credits} credits that it held stay charged",
)
WORKER_UNANSWERED = LogEvent(
    "worker.unanswered",
    WARNING,
    "worker {worker} had no answer from the API, while others had: {reason}",
    "another one reads shard {shard}",
)
WORKERS_SHARED = LogEvent(
    "workers.shared",
    INFO,
    "pages came by files in the data folder from {by_files} attempts, over connections from {by_driver}",
)

# --- copies elsewhere

COPY_DONE = LogEvent("copy.done", INFO, "{place} has {parts} more of what is published here, {mib:.1f} MiB")
COPY_RETRIED = LogEvent(
    "copy.retried", WARNING, "the copy to {place} failed: {reason}", "it is tried again in {wait_s:g} s"
)
COPY_DAMAGED = LogEvent("copy.damaged", WARNING, "{damage}", "it is not copied to {place}")
COPY_LEFT = LogEvent(
    "copy.left",
    WARNING,
    "what was written with the report is not copied: {reason}",
    "the next run or `crawler upload` copies it",
)
COPY_STOPPED = LogEvent(
    "copy.stopped",
    WARNING,
    "a stop was asked for before all was copied to {place}: {left} of what is published here are left",
    "the next run or `crawler upload` copies them",
)

# --- reports, metrics, messages

REPORT_MISPLACED = LogEvent(
    "report.misplaced", ERROR, "{folder} is another folder now, or none", "no report is written"
)
REPORT_FAILED = LogEvent(
    "report.failed", ERROR, "cannot write the report: {reason}", "the exit code becomes 8"
)
SERIES_FAILED = LogEvent(
    "series.failed",
    WARNING,
    "cannot write series.json: {reason}",
    "report.html lacks the charts of this crawl",
)
PAGE_FAILED = LogEvent(
    "page.failed",
    WARNING,
    "cannot write report.html: {reason}",
    "report.json has all of it; make the page by: {remake}",
)
TOP_MOVERS_FAILED = LogEvent(
    "top_movers.failed",
    WARNING,
    "cannot find the top movers: {reason}",
    "the report names none; all else of the night is as it would be",
)
NIGHTS_FAILED = LogEvent(
    "nights.failed",
    WARNING,
    "cannot write nights/: {reason}",
    "it stays as it was before, and the next run writes it",
)
METRICS_FAILED = LogEvent("metrics.failed", WARNING, "{reason}", "nothing else of the run changes")
NOTIFY_FAILED = LogEvent("notify.failed", WARNING, "{reason}", "nothing else of the run changes")

EVENTS = {event.name: event for event in tuple(globals().values()) if isinstance(event, LogEvent)}
"""All of them, in this order."""
