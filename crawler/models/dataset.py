"""Every column of the published files once: type, meaning, unit, source, and when it is null.

The files' schemas and metadata, the tables of docs/data.md and docs/datacontract.yaml are made from it. Open
it to add a column: at the end of its dataset, nullable, with the next `SCHEMA_VERSION` as `since`. A field of
the API is in the journal's segments too: give `journal_sql.FORMAT` its next number then.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

SCHEMA_VERSION = 3
"""The version of the columns of all datasets together."""

Type = Literal["string", "JSON", "boolean", "int32", "int64", "float64", "date", "timestamp"]
"""What a column holds; a timestamp is in UTC, to the millisecond, and JSON is a string."""


class Column(NamedTuple):
    """A column; `unit` is empty where it has none, `nulls` where it is never null.

    `source` is the API's field, empty where the value is our own. `unknown` says what nobody knows of it.
    `since`: the schema version that has it first; in older files it is missing, which is to be read as null.
    """

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nulls: str = ""
    source: str = ""
    unknown: str = ""
    since: int = 1

    @property
    def is_required(self) -> bool:
        """Whether it is never null, in files of this version."""
        return not self.nulls


class Dataset(NamedTuple):
    """A folder of published files; `keys` make a row unique, together with the date of a `dated` one."""

    name: str
    meaning: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    dated: bool = True
    since: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """A column by its name."""
        return next(column for column in self.columns if column.name == name)


def gain_of(column: str) -> str:
    """The column of `changes/` that holds the gain of a counter."""
    return f"{column}_gain"


def _received(name: str, kind: Type, meaning: str, unit: str = "", unknown: str = "") -> Column:
    return Column(name, kind, meaning, unit, _NOT_RECEIVED, name, unknown)


_NOT_RECEIVED = "it is missing, or does not fit (then in `extra`)"
_AGE = "how old it is (perhaps a day, T+1), and whether it is corrected later"
_EXPIRY = "how long it can be fetched"
_ESTIMATE = f"by which method it is estimated; {_AGE}"
_GMV = f"its currency, which the API does not name, and {_ESTIMATE}"

VIDEOS = Dataset(
    "videos",
    "What the API said of each video of each listed seller on a crawl date.",
    ("seller_id", "video_id"),
    (
        Column("seller_id", "string", "the seller (shop) asked for"),
        Column("video_id", "string", "the video", source="video_id"),
        _received("user_id", "string", "the creator who published the video"),
        _received("nick_name", "string", "the creator's name when the page was received"),
        _received("video_desc", "string", "the video's text"),
        _received("avatar", "string", "address of the creator's picture", unknown=_EXPIRY),
        _received("reflow_cover", "string", "address of the video's cover", unknown=_EXPIRY),
        _received("create_time", "timestamp", "when the video was published; epoch seconds in the API"),
        _received("total_views_cnt", "int64", "views since publication", "views", _AGE),
        _received("total_digg_cnt", "int64", "likes since publication", "likes", _AGE),
        _received("total_comments_cnt", "int64", "comments since publication", "comments", _AGE),
        _received("total_shares_cnt", "int64", "shares since publication", "shares", _AGE),
        _received(
            "total_video_sale_cnt", "int64", "items sold through the video, estimated", "items", _ESTIMATE
        ),
        _received(
            "total_video_sale_gmv_amt",
            "float64",
            "value sold through the video (GMV), estimated",
            "money",
            _GMV,
        ),
        Column("page_num", "int32", "the page that it came on, from 1"),
        Column(
            "position",
            "int64",
            "its place in the seller's sorted list, from 1: (page_num - 1) * 10 + its place on the page, "
            "plus the rows above ten of earlier pages",
        ),
        Column("crawled_at", "timestamp", "when its page was received"),
        Column("run_id", "string", "our run that received it"),
        Column(
            "request_id",
            "string",
            "the API's ID of the answer; empty where it had none",
            nulls="never so far",
            source="requestId",
        ),
        Column(
            "carried_from",
            "date",
            "the crawl date of the snapshot that the row was taken from",
            nulls="it was crawled for this date",
        ),
        Column(
            "extra",
            "JSON",
            "an object of fields that have no column, and of values that do not fit theirs, by name",
            nulls="there are none",
        ),
        Column(
            "region", "string", "the video's region, as received", nulls="it is missing or empty"
        )._replace(source="region", since=2),
        Column("snapshot_date", "date", "the crawl date, for tools that read no partitions", since=2),
        Column("late", "boolean", "whether the row was received late for its crawl date", since=2),
    ),
)

_OWN_COUNTS = tuple(column for column in VIDEOS.columns if column.name.startswith("total_"))
_NOT_KNOWN = "no page of the seller is published"
_NOT_COMPARED = "no page of the seller was received for this date, or its rows were carried"
_NOT_CARRIED = "the seller was read to its end, or `--strategy freshest` had nothing of it to carry"

SELLERS = Dataset(
    "sellers",
    "How complete the videos of each listed seller are, what that cost, and what they add up to.",
    ("seller_id",),
    (
        Column("seller_id", "string", "the seller (shop)"),
        Column("status", "string", "how complete its videos are, see below"),
        Column(
            "stop_reason", "string", "why no further page was asked for", nulls="nothing ended the seller"
        ),
        Column(
            "pages", "int64", "pages received for the published rows; such as were read again count", "pages"
        ),
        Column("videos", "int64", "rows in `videos/`", "videos"),
        Column("credits", "int64", "all that was spent on the seller for this date", "credits"),
        Column("error", "string", "the last error", nulls="the seller did not fail"),
        Column("first_crawled_at", "timestamp", "when its first page came", nulls="it has no page"),
        Column("last_crawled_at", "timestamp", "when its last page came", nulls="it has no page"),
        Column("run_id", "string", "the last run that received a page of it", nulls="no run came to it"),
        Column(
            "carried",
            "int64",
            "rows taken from an earlier snapshot (`--carry-forward`); `stop_reason` is then `carried`",
            "videos",
            nulls=(_OLDER := "the file is of a version that did not have it"),
        ),
        Column(
            "overlap",
            "int64",
            "rows that came again on the next page, because the list changed while it was read",
            "videos",
            _OLDER,
        ),
        Column(
            "drift",
            "int64",
            "gaps left: pages that do not follow on the page before, so that rows may be missing between",
            "gaps",
            _OLDER,
        ),
        Column(
            "kept_status",
            "string",
            "how the earlier crawl of the date ended whose rows are published, where a later one (`--fresh`) "
            "failed: `status`, `stop_reason` and `error` are those of the later one",
            nulls="the rows are those of the last crawl",
        ),
        Column(
            "other_credits",
            "int64",
            "the part of `credits` that was spent on crawls of this date whose rows are not published",
            "credits",
            _OLDER,
        ),
        Column("views", "int64", "sum of `total_views_cnt`", "views", _NOT_KNOWN, unknown=_AGE),
        Column("sales", "int64", "sum of `total_video_sale_cnt`", "items", _NOT_KNOWN, unknown=_ESTIMATE),
        Column("gmv", "float64", "sum of `total_video_sale_gmv_amt`", "money", _NOT_KNOWN, unknown=_GMV),
        Column("views_gain", "int64", "sum of the gains in `changes/`", "views", _NOT_COMPARED),
        Column("sales_gain", "int64", "sum of the gains in `changes/`", "items", _NOT_COMPARED),
        Column("gmv_gain", "float64", "sum of the gains in `changes/`", "money", _NOT_COMPARED, unknown=_GMV),
        Column("published", "int64", "its rows of this kind in `changes/`", "videos", _NOT_COMPARED),
        Column("discovered", "int64", "its rows of this kind in `changes/`", "videos", _NOT_COMPARED),
        Column(
            "gone",
            "int64",
            "its rows of this kind in `changes/`",
            "videos",
            f"{_NOT_COMPARED}, and none of these left",
        ),
        Column(
            "changed",
            "int64",
            "its rows of the kinds `changed`, `corrected` and `returned` in `changes/`",
            "videos",
            _NOT_COMPARED,
        ),
        Column(
            "age",
            "int64",
            "days since the pages that were read longest ago were read; 0: all were read for this date",
            "days",
            _NOT_CARRIED,
            since=3,
        ),
        Column(
            "expected_drift",
            "float64",
            "by how much its videos are expected to have gained since they were last read, in what `--value` "
            "names",
            "views, items, money or videos",
            _NOT_CARRIED,
            since=3,
        ),
        Column(
            "stretches",
            "JSON",
            "a list of the crawl dates for which each stretch of 8 pages was last read, null for pages that "
            "never were",
            nulls=_NOT_CARRIED,
            since=3,
        ),
    ),
)

SELLER_SUMS = SELLERS.names[SELLERS.names.index("views") : SELLERS.names.index("changed") + 1]
"""The columns of `sellers/` that are summed over `videos/` and `changes/`."""

_GONE = "the video is gone, or its count was null"
_EITHER = "either of the two is null"

CHANGES = Dataset(
    "changes",
    "What moved since each video was last observed.",
    ("seller_id", "video_id"),
    (
        VIDEOS.column("seller_id"),
        VIDEOS.column("video_id"),
        VIDEOS.column("region")._replace(meaning="its region; if it is gone, as last observed", since=1),
        VIDEOS.column("create_time"),
        Column("kind", "string", "what has happened to the video; see below"),
        Column(
            "since",
            "timestamp",
            "when the video was last observed before",
            nulls="it was not, within the window",
        ),
        Column(
            "until",
            "timestamp",
            "when it was observed now; of a video that is gone, the end of its seller's reading, or of the "
            "night's where nothing of the seller was read",
        ),
        Column(
            "days",
            "float64",
            "from `since` to `until`; of a `published` video from its creation",
            "days",
            "it was `discovered`",
        ),
        *(c._replace(meaning=f"{c.meaning}, now", nulls=_GONE) for c in _OWN_COUNTS),
        *(
            Column(gain_of(c.name), c.type, f"`{c.name}` now less then", c.unit, _EITHER, unknown=c.unknown)
            for c in _OWN_COUNTS
        ),
    ),
)

_NOT_ASKED = "it was not set, nothing ran, or an earlier version crawled"
_NOT_JUDGED = "nothing ran, its runs were killed, or an earlier version crawled"
_NO_RUN = "nothing ran, or its run was killed"

NIGHTS = Dataset(
    "nights",
    "Every crawl date that was wanted, however it ended.",
    ("crawl_date",),
    (
        Column("crawl_date", "date", "the date; inside the file, as there is no partition", since=2),
        Column("outcome", "string", "how the date ended; see below"),
        Column("verdict", "string", "`plausible`, `odd` or `implausible`", nulls="nothing was judged"),
        Column("late", "boolean", "whether any page of the date came late", nulls=_NOT_JUDGED),
        Column(
            "closed_at",
            "timestamp",
            "since when only `--late` goes on with the date, by `crawler close` or by itself",
            nulls="any run does",
        ),
        Column("strategy", "string", "the option of its latest run", nulls=_NOT_ASKED),
        Column("sort", "string", "the option of its latest run", nulls=_NOT_ASKED),
        Column("order", "string", "the option of its latest run", nulls=_NOT_ASKED),
        Column("top", "int64", "the option of its latest run", "videos", _NOT_ASKED),
        Column("min_value", "float64", "the option of its latest run", nulls=_NOT_ASKED),
        Column("budget", "int64", "the option of its latest run", "credits", _NOT_ASKED),
        Column("credits", "int64", "what all its runs and checks cost", "credits"),
        Column("rows", "int64", "rows of the published snapshot", "videos", "there is none"),
        Column(
            "sellers", "int64", "the listed sellers, as its last run that ended left them", "sellers", _NO_RUN
        ),
        Column("complete", "int64", "of these the complete ones", "sellers", _NO_RUN),
        Column("partial", "int64", "of these those cut off", "sellers", _NO_RUN),
        Column("failed", "int64", "of these those that failed", "sellers", _NO_RUN),
        Column("pending", "int64", "of these those that were not come to", "sellers", _NO_RUN),
        Column(
            "certain_above",
            "float64",
            "`certain_above` of that run's report: every video worth more is in the snapshot",
            nulls="that is not known",
        ),
        Column("drift", "int64", "`drift.gaps` of that run's report", "gaps", _NO_RUN),
        Column("audited", "int64", "`carry_forward.audited` of that run's report", "sellers", _NO_RUN),
        Column("audit_wrong", "int64", "`carry_forward.wrong` of that run's report", "sellers", _NO_RUN),
        Column("runs", "int64", "how many runs it took", "runs"),
        Column("run_id", "string", "its latest run", nulls="nothing ran"),
        Column("exit_code", "int64", "the exit code of that run", nulls=_NO_RUN),
        Column("started_at", "timestamp", "when its first run began", nulls="nothing ran"),
        Column("finished_at", "timestamp", "when its latest run ended", nulls=_NO_RUN),
    ),
    dated=False,
    since=2,
)

RAW = Dataset(
    "raw",
    "The answers that the rows of `videos/` were read from, where `output.keep_raw` is set.",
    ("seller_id", "page_num", "crawled_at"),
    (
        VIDEOS.column("seller_id"),
        Column("page_num", "int32", "the page asked for, from 1"),
        VIDEOS.column("crawled_at")._replace(meaning="when it was received"),
        VIDEOS.column("run_id"),
        VIDEOS.column("request_id"),
        Column("checksum", "int64", "CRC-32 of `seller_id`, a NUL and `page_num`, followed by `answer`"),
        Column(
            "answer",
            "JSON",
            "the whole answer; one that is no strict JSON as it was cleaned of raw control characters and "
            "lone surrogates",
        ),
    ),
    since=2,
)

DATASETS = (VIDEOS, SELLERS, CHANGES, NIGHTS, RAW)
"""What is published, in the order of the docs."""
