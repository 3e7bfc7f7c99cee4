"""Every option once: its name, type, range, default, flag, group and help. Open it to add or change one.

A field of a section is a setting of the TOML file (`run.qps`), an environment variable (`CRAWLER_RUN_QPS`)
and, where it has a group, a flag of `run` (`--qps`, and `CRAWLER_QPS`). Command line, settings and completion
work by this table; `make tables` writes it into config/crawler.toml and docs/options.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date
from enum import StrEnum
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal

from crawler.models.api import MAX_PAGE_NUM, SortField, SortOrder, Value
from crawler.models.keys import KeySettings
from crawler.models.seller import StopRule, Strategy

PREFIX = "CRAWLER_"
RESULT_PREFIX = f"{PREFIX}RESULT_"
"""What the variables of `notify.command` begin with: a run's results, no settings."""

GROUPS = (
    _CRAWLED := "What is crawled",
    _END := "Where a seller ends",
    _AGAIN := "What is read again, or not",
    _PACE := "Credits and pace",
    _PROCESSES := "Where it runs",
    WHERE := "Where from, where to",
    PRINTED := "What is printed",
)
"""The headings of `--help`, in their order."""


_NAMED_ENDS = 10**9
"""A range is said without its upper end where that is larger: nobody reaches it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    metavar: str = ""
    allowed: str = "true or false"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """The placeholder of the value in `--help`."""
        return "|".join(self.words)

    @property
    def allowed(self) -> str:
        """The words, as a list for people."""
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from `low` to `high`; `above` leaves `low` itself out, `unit` may follow the number.

    `is_whole` takes whole numbers only; `word` is one that may be given instead of a number.
    """

    low: float = -inf
    high: float = inf
    noun: str = "a number"
    above: bool = False
    unit: str = ""
    is_whole: bool = False
    word: str = ""
    metavar: str = "N"

    def holds(self, value: float) -> bool:
        """Whether a number lies within the range."""
        return isfinite(value) and self.low <= value <= self.high and not (self.above and value == self.low)

    @property
    def range(self) -> str:
        """The range for people, empty where there is none."""
        if self.above:
            return f"above {self.low:g}" + (f", at most {self.high:g}" if self.high <= _NAMED_ENDS else "")
        if self.high <= _NAMED_ENDS:
            return f"{self.low:.9g} to {self.high:.9g}"
        return "" if self.low == -inf else f"{self.low:g} or more"

    @property
    def allowed(self) -> str:
        """The kind of number and its range."""
        words = self.range.removesuffix(" or more")
        words = words if self.above or not words else f"from {words}"
        return " ".join(filter(None, (self.word and f"{self.word} or", self.noun, words)))


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a certain form."""

    form: Literal[
        "address",
        "bucket",
        "codes",
        "column",
        "date",
        "file",
        "folder",
        "hook",
        "tables",
        "key_tables",
        "keys",
        "template",
        "node",
        "host_port",
        "word",
        "words",
        "zone",
    ]
    allowed: str
    metavar: str = ""


Kind = Switch | Choice | Number | Text


@dataclass(frozen=True, slots=True)
class Option:
    """One setting; `group` is empty where it has no flag.

    `default_words` says the default where its value does not, `more` is what docs/options.md says besides.
    `is_repeated`: commands that are printed to go on with a run have it again; `is_resumed`: `--resume`
    restores it. `is_secret`: who knows the value can use it, so it is shown nowhere.
    """

    name: str
    default: Any
    kind: Kind
    help: str
    group: str = ""
    flag_name: str = ""
    default_words: str = ""
    example: str = ""
    more: str = ""
    is_repeated: bool = True
    is_resumed: bool = True
    is_secret: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it belongs to this machine, and neither to a run's work nor to one call."""
        return self.is_repeated and not self.is_resumed

    @property
    def section(self) -> str:
        """The section of the settings file that it is in."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """Its name there."""
        return self.name.partition(".")[2]

    @property
    def flag(self) -> str:
        """The flag, as `--max-pages`."""
        return f"--{self.flag_name or self.key.replace('_', '-')}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it."""
        by_name = f"{PREFIX}{self.name.replace('.', '_').upper()}"
        by_flag = f"{PREFIX}{self.flag[2:].replace('-', '_').upper()}"
        return (by_name, by_flag) if self.group else (by_name,)

    @property
    def sentence(self) -> str:
        """What it does, and its range."""
        text = self.kind.range if isinstance(self.kind, Number) else ""
        return f"{self.help}; {text}" if text else self.help

    @property
    def shown_default(self) -> str:
        """The default for people; empty where nothing is set, and for switches."""
        if self.default_words or self.default is None or self.default is False:
            return self.default_words
        if isinstance(self.default, tuple):
            return f"[{', '.join(map(str, self.default))}]"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def _setting(default: Any, kind: Kind, text: str, **more: Any) -> Any:
    """A field of a section; `more` are further fields of `Option`."""
    return field(default=default, metadata={"kind": kind, "help": text, **more})


def _flag(group: str, default: Any, kind: Kind, text: str, **more: Any) -> Any:
    """The same with a flag, under a heading of `GROUPS`."""
    return _setting(default, kind, text, group=group, **more)


def _switch(group: str, text: str, **more: Any) -> Any:
    return _flag(group, False, Switch(), text, **more)


def _word(group: str, default: StrEnum, text: str, **more: Any) -> Any:
    return _flag(group, default, Choice(tuple(type(default))), text, **more)


def _whole(low: float, high: float = inf, noun: str = "a whole number", **more: Any) -> Number:
    return Number(low, high, noun, is_whole=True, **more)


def _count(of: str, low: float, high: float = inf, **more: Any) -> Number:
    return _whole(low, high, f"a whole number of {of}", **more)


_SHARE = Number(0, 1, "a share", metavar="SHARE")
_SECONDS = Number(0, noun="a number of seconds", metavar="S")
_SOME_SECONDS = Number(0, noun="a number of seconds", above=True, metavar="S")
# The upper end keeps sums within what the ledger's integers hold.
_CREDITS = _count("credits", 0, 10**15)
_ONCE: dict[str, Any] = {"is_repeated": False, "is_resumed": False}
_LOCAL: dict[str, Any] = {"is_resumed": False}
_SECRET: dict[str, Any] = {"is_resumed": False, "is_secret": True}

Lookahead = Literal["off", "history", "gallop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How the API is reached; times in seconds."""

    url: str = _flag(
        WHERE,
        "https://api.keyapi.ai",
        Text("address", "an address such as https://api.keyapi.ai", "URL"),
        "Base address of the API; https, or http to loopback",
        flag_name="api-url",
    )
    key_file: Path | None = _setting(
        None,
        Text("file", "the path of a file"),
        "File that holds the API key alone, on one line",
        example='"/etc/crawler/key"',
        **_LOCAL,
    )
    keys: tuple[KeySettings, ...] | None = _setting(
        None,
        Text("key_tables", "a list of tables, each with a name, a variable or a file, and limits,"),
        "Several keys in the place of one: tables [[api.keys]] of name, variable or file, qps, daily_budget, "
        "monthly_budget",
        example='[{ name = "first", variable = "KEYAPI_KEY_1", qps = 20 }]',
        more="see [how to use several keys](how-to.md#use-several-keys)",
        **_SECRET,
    )
    allow_http: bool = _switch("", "Let the key travel over plain http to other hosts too")
    timeout: float = _flag(
        _PACE, 30.0, _SOME_SECONDS, "Seconds that one request may take, from its departure to its last byte"
    )
    connect_timeout: float = _setting(10.0, _SOME_SECONDS, "Seconds that the way to a connection may take")
    retry_after_cap: float = _setting(
        60.0, _SOME_SECONDS, "Seconds that a Retry-After header is honoured at most"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run does; times in seconds, `late_after` in hours, `qps` in requests a second."""

    data: Path = _flag(
        WHERE,
        Path("data"),
        Text("folder", "the path of a folder", "DIR"),
        "Root of all that is written; its path must be UTF-8",
        **_LOCAL,
    )
    qps: float = _flag(
        _PACE,
        5.0,
        Number(0.1, 100_000),
        "Requests a second, a ceiling in every sliding second",
        more="of a fractional rate above 1 only the whole part fits in a second",
    )
    workers: int | Literal["auto"] = _flag(
        _PACE,
        "auto",
        _whole(1, 4096, word="auto", metavar="N|auto"),
        "Requests in flight at most; auto follows the measured latency",
    )
    patience: float = _flag(_PACE, 900.0, _SECONDS, "Seconds that an API that is down is waited for")
    stop: StopRule = _word(
        _END,
        StopRule.SHORT,
        "Which page ends a seller: one of fewer than ten rows, or (one credit more) only an empty one",
    )
    max_pages: int = _flag(_END, MAX_PAGE_NUM, _whole(1, MAX_PAGE_NUM), "Pages a seller at most")
    lookahead: Lookahead = _flag(
        _END,
        "history",
        Choice(("off", "history", "gallop")),
        "Ask for a deep seller's pages concurrently",
        more="history: as many as the seller had when it was last read (one request more at most); "
        "gallop: by leaps too where nothing is known",
    )
    lookahead_pages: int = _setting(
        10, _whole(2, MAX_PAGE_NUM), "No pages are asked for concurrently of sellers with fewer than this"
    )
    sort: SortField = _word(_CRAWLED, SortField.VIEWS, "What the API sorts by")
    order: SortOrder = _word(_CRAWLED, SortOrder.DESC, "Which way it sorts")
    strategy: Strategy = _word(
        _END,
        Strategy.DEPTH_FIRST,
        "Which page next when there is a choice; best-first: the one with the most to gain",
        more="freshest: what has gained most since it was last read, the rest is carried",
    )
    value: Value = _word(_END, Value.VIEWS, "What `--strategy freshest` counts gains in; rows: in new videos")
    target: float | None = _flag(
        _END,
        None,
        Number(0, 1, "a share", above=True, metavar="SHARE"),
        "Share of a night's gains that `--strategy freshest` is to show; it picks the budget",
        more="with `--budget` the smaller one counts",
        example="0.95",
    )
    top: int | None = _flag(
        _END,
        None,
        _whole(1, 1_000_000, metavar="K"),
        "End the run once the K best videos over all sellers are certain",
        example="1000",
    )
    min_value: float | None = _flag(
        _END,
        None,
        Number(metavar="X"),
        "End a seller once its rows are worth less than X, by what the API sorts by",
        example="500",
    )
    probe: float = _flag(
        _END,
        0.0,
        _SHARE,
        "Share of the credits that tries the page after a short one, to audit the short-page rule",
    )
    carry_forward: bool = _switch(
        _AGAIN,
        "Take a seller's other rows from the newest snapshot that has it, if its first page is unchanged",
    )
    max_age: int = _flag(
        _AGAIN,
        7,
        _count("days", 1, 365, metavar="DAYS"),
        "Carry no row that is older, in days",
        more="freshest reads every page at least so often, where the budget allows",
    )
    audit: float = _flag(
        _AGAIN,
        0.05,
        _SHARE,
        "Share of such sellers to crawl in full all the same, to measure how often carrying is wrong",
    )
    repair_drift: bool = _switch(_AGAIN, "Read pages again where a seller's list changed while it was read")
    executor: Literal["local", "processes", "dask"] = _flag(
        _PROCESSES,
        "local",
        Choice(("local", "processes", "dask")),
        "Where requests are sent from: this process, several of this machine, or a Dask cluster's workers",
        more="`processes` and `dask` need the extra `dask`, see [scale.md](scale.md)",
        **_LOCAL,
    )
    scheduler: str | None = _flag(
        _PROCESSES,
        None,
        Text("node", "an address such as tcp://10.0.0.5:8786", "ADDRESS"),
        "Address of the Dask scheduler for `--executor dask`",
        example='"tcp://10.0.0.5:8786"',
        **_LOCAL,
    )
    processes: int | Literal["auto"] = _flag(
        _PROCESSES,
        "auto",
        _whole(1, 1024, word="auto", metavar="N|auto"),
        "Processes of `--executor processes`; auto: one for each CPU",
        **_LOCAL,
    )
    crawl_date: date | None = _flag(
        _CRAWLED,
        None,
        Text("date", "a date such as 2026-11-23", "YYYY-MM-DD"),
        "The snapshot to write; not later than today anywhere on earth (UTC+14)",
        default_words="today in run.timezone, which is UTC",
        example="2026-11-23",
        **_ONCE,
    )
    timezone: str = _setting(
        "UTC",
        Text("zone", "a time zone name such as UTC or Asia/Singapore"),
        'Where "today" is: a name such as UTC or Asia/Singapore',
    )
    column: str | None = _flag(
        _CRAWLED,
        None,
        Text("column", "the name of a column", "NAME"),
        "The seller list's column",
        default_words="seller_id, or the only one",
        example='"seller_id"',
    )
    skip_bad_ids: bool = _switch(
        _CRAWLED, "Go on without the lines that hold no seller ID; the report counts them"
    )
    fresh: bool = _switch(
        _CRAWLED,
        "Crawl the listed sellers of the date anew; its other sellers stay as they are",
        more="the earlier snapshot is published until every listed seller has ended",
        **_ONCE,
    )
    late: bool = _switch(
        _CRAWLED,
        "Go on with a closed crawl date, or one whose first run began more than run.late_after (36 h) ago",
        more="`--fresh` needs it there too",
        **_ONCE,
    )
    late_after: float = _setting(
        36.0,
        Number(0, 876_000, "a number of hours", unit="h"),
        'Hours after its first run began a crawl date is closed by itself; "36 h" as well',
    )
    every: int = _setting(
        1,
        _whole(1, 366, "a whole number of days", unit="d"),
        'Days from one wanted night to the next, "7d" as well: `status` and the next report name the dates '
        "that were missed",
        **_LOCAL,
    )
    catch_up: Literal["none", "resume"] = _setting(
        "none",
        Choice(("none", "resume")),
        "What a run without --crawl-date does first about an unfinished earlier date; resume: go on with the "
        "newest that is not closed, under its own options and budget",
        **_LOCAL,
    )
    retry_failed: bool = _switch(
        _CRAWLED, "Ask again for sellers that failed by a 400, 404, 410, 422 or the like"
    )
    resume: bool = _switch(
        _CRAWLED,
        "Go on with the latest unfinished crawl date, under the options it had",
        more="with `--retry-failed` or `--late`, also with one that these apply to; "
        "what is given anew beats the options it had; the list may be left out",
        **_ONCE,
    )
    top_movers: int | None = _flag(
        PRINTED,
        None,
        _whole(1, 100_000, metavar="K"),
        "Name in the report the K videos that gained most since each was last observed, by what --sort says: "
        "proved or likely",
        example="100",
    )
    json: bool = _switch(PRINTED, "Print the run report on standard output", **_ONCE)
    attempts: int = _setting(6, _whole(5, 10), "Requests of one page at most before its seller fails")
    backoff: float = _setting(
        1.0, _SOME_SECONDS, "Seconds before the second attempt; doubles, with jitter, 30 at most"
    )
    grace: float = _setting(10.0, _SECONDS, "Seconds that requests in flight get after a stop signal")
    # The upper end keeps dates within what a calendar can count.
    keep_days: int = _setting(30, _count("days", 1, 36_500), "Days that runs/ and finished journals are kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditSettings:
    """What may be spent, in credits."""

    budget: int | None = _flag(
        _PACE,
        None,
        _CREDITS,
        "Credits the crawl date may cost, resumed runs included",
        default_words="no limit of ours",
        example="10000",
    )
    monthly_budget: int | None = _setting(
        None, _CREDITS, "Credits a billing month may cost, over all runs", example="300000"
    )
    # Each month has these days.
    month_begins: int = _setting(
        1, _whole(1, 28, "a day of the month"), "First day of the billing month, by UTC"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """How safely pages are kept: `commit_ms` in milliseconds, `reserve_mib` in MiB."""

    sync: Literal["power-loss", "process-kill"] = _setting(
        "power-loss", Choice(("power-loss", "process-kill")), "What a received page survives"
    )
    commit_ms: int = _setting(
        5, _count("milliseconds", 1, 1000), "Milliseconds of pages that share one durable write"
    )
    reserve_mib: int = _setting(
        64, _count("MiB", 0), "MiB of disk kept free; below it a run stops with exit code 8"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """The form of what is published, what is published besides, and where copies go; times in seconds."""

    partition_by: tuple[str, ...] = _setting(
        ("crawl_date",),
        Text("keys", '["crawl_date"] or ["crawl_date", "region"]'),
        "Folders of videos/ in a new data folder: one a night, region being a column, or further ones in it, "
        "one a region",
        example='["crawl_date", "region"]',
        more="A data folder keeps the form that it has; `crawler upgrade` gives up the region folders.",
        **_LOCAL,
    )

    keep_raw: bool = _switch("", "Keep the answers too, in raw/: a date's files can be made anew from them")
    url: str | None = _setting(
        None,
        Text("bucket", "an address such as s3://bucket/folder (or gs://, az://)"),
        "Bucket that gets a copy of what is published: s3://, gs:// or az://; credentials come from the "
        "environment, or from where the provider's own tools keep them",
        example='"s3://bucket/shop-videos"',
        **_LOCAL,
    )
    delta: str | None = _setting(
        None,
        Text("tables", "the path of a folder, or an address such as s3://bucket/folder (or gs://, az://)"),
        "Folder or bucket that gets what is published as Delta tables; needs the extra `delta`",
        example='"s3://bucket/shop-tables"',
        **_LOCAL,
    )
    endpoint: str | None = _setting(
        None,
        Text("address", "an address such as https://storage.example.org"),
        "Address of the storage, where it is not the provider's own",
        example='"https://storage.example.org"',
        **_LOCAL,
    )
    region: str | None = _setting(
        None,
        Text("word", "a word such as eu-central-1"),
        "Region of the bucket (s3://)",
        default_words="as the environment says",
        example='"eu-central-1"',
        **_LOCAL,
    )
    timeout: float = _setting(
        600.0,
        _SOME_SECONDS,
        "Seconds that the copy of one night may take, all its attempts included",
        **_LOCAL,
    )
    attempts: int = _setting(
        6, _whole(1, 100), "Attempts to copy; between them 1 s, 2 s, 4 s and so on pass, 30 at most", **_LOCAL
    )
    grace: float = _setting(
        900.0,
        _SECONDS,
        "Seconds that objects which were replaced stay for those who still read them",
        **_LOCAL,
    )

    @property
    def is_copied(self) -> bool:
        """Whether what is published goes anywhere else."""
        return self.url is not None or self.delta is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """What a snapshot is compared with: `window` in days, `data_lag` in hours."""

    window: int = _setting(90, _count("days", 1, 36_500), "Days for which a video's last observation counts")
    data_lag: int = _setting(
        48, _count("hours", 0, 8760), "Hours by which the API's data may lag behind: see docs/data.md"
    )


def _floor(default: float, what: str) -> Any:
    return _setting(default, _SHARE, f"{what}: at least so far beyond the usual share is odd")


def _ceiling(default: float, what: str) -> Any:
    return _setting(default, _SHARE, f"{what}: further beyond is implausible")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlausibilitySettings:
    """How far from the usual a night may be: shares of the room between the usual share and 1.

    Counts fall by sellers, not by sums: one large seller that closes its shop makes no outage.
    """

    emptied_floor: float = _floor(0.02, "Sellers that had videos and have none")
    emptied_ceiling: float = _ceiling(0.15, "Sellers that had videos and have none")
    empty_floor: float = _floor(0.5, "Sellers without videos")
    empty_ceiling: float = _ceiling(0.8, "Sellers without videos")
    fallen_floor: float = _floor(0.1, "Sellers whose rows or counts fell by more than a tenth")
    fallen_ceiling: float = _ceiling(0.3, "Sellers whose rows or counts fell by more than a tenth")
    risen_floor: float = _floor(0.05, "Sellers whose rows or counts rose more than tenfold")
    risen_ceiling: float = _ceiling(0.3, "Sellers whose rows or counts rose more than tenfold")
    lost_floor: float = _floor(0.1, "Sellers that lost one of two videos picked by chance")
    lost_ceiling: float = _ceiling(0.3, "Sellers that lost one of two videos picked by chance")
    still_floor: float = _floor(0.25, "Sellers with the same figures as on the night before")
    still_ceiling: float = _ceiling(0.9, "Sellers with the same figures as on the night before")
    shared_floor: float = _floor(0.02, "Sellers with another seller's page")
    shared_ceiling: float = _ceiling(0.1, "Sellers with another seller's page")
    rejected_floor: float = _floor(0.02, "Rows that were rejected")
    rejected_ceiling: float = _ceiling(0.2, "Rows that were rejected")
    nulls_floor: float = _floor(0.05, "Rows in which a column is null")
    nulls_ceiling: float = _ceiling(0.3, "Rows in which a column is null")
    short_first_pages_floor: float = _floor(0.05, "First pages that are short, and followed by others")
    short_first_pages_ceiling: float = _ceiling(0.3, "First pages that are short, and followed by others")
    repeated_floor: float = _floor(0.05, "Sellers that ended by a repeated page")
    repeated_ceiling: float = _ceiling(0.3, "Sellers that ended by a repeated page")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is printed."""

    format: Literal["text", "json"] = _flag(
        PRINTED,
        "text",
        Choice(("text", "json")),
        "How log lines are written, on standard error",
        flag_name="log-format",
        **_LOCAL,
    )
    quiet: bool = _switch(PRINTED, "Print warnings and errors only", **_LOCAL)
    no_progress: bool = _switch(PRINTED, "Show no progress display, even on a terminal", **_LOCAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told how a run went; `timeout` in seconds."""

    ping_url: str | None = _setting(
        None,
        Text("hook", "an address such as https://hc-ping.com/UUID"),
        "Dead man's switch: gets a POST at the start of a run (with /start), after a success, and after a "
        "failure (with /EXIT_CODE)",
        example='"https://hc-ping.com/UUID"',
        **_SECRET,
    )
    webhook_url: str | None = _setting(
        None,
        Text("hook", "an address such as https://example.org/hook"),
        "Address that gets report.json at the end of a run",
        example='"https://example.org/hook"',
        **_SECRET,
    )
    webhook_on: Literal["always", "attention"] = _setting(
        "always",
        Choice(("always", "attention")),
        "Which runs the webhook is told of: all; or those that failed, and successes whose report warns of "
        "something, such as an odd night or a missed one",
        **_LOCAL,
    )
    template: str | None = _setting(
        None,
        Text("template", "JSON, or the path of a file of JSON"),
        "What the webhook gets in the place of report.json: JSON, or the path of a file of it, with fields "
        "of the report in braces",
        example="""'{"text": "{head}"}'""",
        **_LOCAL,
    )
    command: tuple[str, ...] | None = _setting(
        None,
        Text("words", 'a list of words such as ["mail", "-s", "crawl", "root"]'),
        "Program and arguments that get report.json on standard input at the end of a run",
        example='["mail", "-s", "crawl", "root"]',
        **_SECRET,
    )
    ok: tuple[int, ...] = _setting(
        (0, 3),
        Text("codes", "a list of exit codes from 0 to 255, such as [0, 3]"),
        "Exit codes that count as success",
        **_LOCAL,
    )
    timeout: float = _setting(
        10.0,
        _SOME_SECONDS,
        "Seconds that each message may take, all its attempts included; one attempt gets half of it",
        **_LOCAL,
    )
    attempts: int = _setting(3, _whole(1, 10), "Attempts to deliver a message", **_LOCAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Figures for monitors."""

    textfile: Path | None = _setting(
        None,
        Text("file", "the path of a file"),
        "File of metrics for node_exporter's textfile collector, which wants a name that ends with .prom",
        example='"/var/lib/prometheus/node-exporter/crawler.prom"',
        **_LOCAL,
    )


def _tls(text: str) -> Any:
    kind = Text("file", "the path of a file")
    return _setting(None, kind, text, example='"/etc/crawler/tls.pem"', **_LOCAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSettings:
    """How a crawl by several processes works; `lease_s` in seconds."""

    tls_ca_file: Path | None = _tls("Certificates of whom to trust; with all three files connections use TLS")
    tls_cert_file: Path | None = _tls("This side's certificate")
    tls_key_file: Path | None = _tls("The private key of this side's certificate")
    listen: str | None = _setting(
        None,
        Text("node", "an address such as tcp://10.0.0.5:8787"),
        "Address on which workers reach this process",
        default_words="a free port: on loopback for `processes`, on all interfaces for `dask`",
        example='"tcp://10.0.0.5:8787"',
        **_LOCAL,
    )
    pages: Literal["auto", "files", "driver"] = _setting(
        "auto",
        Choice(("auto", "files", "driver")),
        "How pages come back: by files in the data folder, or over the workers' connections; auto: by files "
        "where a worker shares that folder",
        **_LOCAL,
    )
    lease_s: float = _setting(
        10.0,
        Number(2, 600, "a number of seconds"),
        "Seconds after which a worker that is not heard of is given up",
        **_LOCAL,
    )
    wait_s: float = _setting(
        60.0,
        Number(1, 3600, "a number of seconds"),
        "Seconds that the scheduler, and then the first worker, is waited for",
        **_LOCAL,
    )
    dashboard: str | None = _setting(
        None,
        Text("host_port", "an address such as 127.0.0.1:8787"),
        "Address of Dask's dashboard for `processes`; it needs the package bokeh",
        default_words="none",
        example='"127.0.0.1:8787"',
        **_LOCAL,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The value of every option, by section."""

    api: ApiSettings = ApiSettings()
    run: RunSettings = RunSettings()
    credits: CreditSettings = CreditSettings()
    journal: JournalSettings = JournalSettings()
    output: OutputSettings = OutputSettings()
    history: HistorySettings = HistorySettings()
    plausibility: PlausibilitySettings = PlausibilitySettings()
    log: LogSettings = LogSettings()
    notify: NotifySettings = NotifySettings()
    metrics: MetricsSettings = MetricsSettings()
    dask: DaskSettings = DaskSettings()

    @property
    def qps(self) -> float:
        """Requests a second at most: as `run.qps` allows and, where there are several keys, as they do."""
        keys = self.api.keys
        return min(self.run.qps, round(sum(key.qps for key in keys), 6)) if keys else self.run.qps


SECTIONS: dict[str, type[Any]] = {section.name: type(section.default) for section in fields(Settings)}
"""The sections of the settings, in the file's order."""

OPTIONS: dict[str, Option] = {
    f"{section}.{one.name}": Option(f"{section}.{one.name}", one.default, **one.metadata)
    for section, kind in SECTIONS.items()
    for one in fields(kind)
}
"""Every option by section.name, in the file's order."""

FLAGS: dict[str, str] = {
    name: option.flag
    for name, option in sorted(OPTIONS.items(), key=lambda item: item[1].section)
    if option.group
}
"""The flag of each option that has one, in the order in which printed commands have them."""


def value_of(settings: Settings, name: str) -> Any:
    """The value of section.name."""
    return getattr(getattr(settings, OPTIONS[name].section), OPTIONS[name].key)
