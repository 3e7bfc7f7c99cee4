"""Every folder and file name below the data folder: open it to find, add or rename one.

| path | what | kept for |
|---|---|---|
| `videos/crawl_date=D/RUN.parquet` | the dataset: public | ever |
| `videos/crawl_date=D/RUN.2.parquet` | what of a night is beyond 512 MB | ever |
| `videos/crawl_date=D/region=R/RUN.parquet` | the dataset where it has region folders | ever |
| `sellers/crawl_date=D/RUN.parquet` | one row a seller: public | ever |
| `changes/crawl_date=D/RUN.parquet` | what moved since each video was last observed: public | ever |
| `raw/crawl_date=D/RUN.parquet` | the answers as received, if `output.keep_raw` is set: public | ever |
| `archive/month=M/RUN.parquet` | the nights of a month, once compacted: public | ever |
| `nights/RUN.parquet` | one row a crawl date that was wanted: public | ever |
| `runs/RUN/report.json`, `report.html`, `rejects.jsonl` | what a run did: public | `run.keep_days` |
| `runs/RUN/series.json` | how it went from second to second: public | as its report |
| `runs/index.html` | the nights, with links to their pages: public | ever |
| `state/` | all below it: private, for the owner alone | |
| `state/lock` | locked by the run under way | ever |
| `state/compact.lock` | locked while nights are compacted | ever |
| `state/compacting/` | a month being built, laid out as the data folder is | one command |
| `state/progress.json` | what the run under way has done so far | one run |
| `state/ledger.sqlite` | credits, runs and dates | ever |
| `state/journal/D.G.sqlite` | a date's pages, G being its generation | `run.keep_days`, once finished |
| `state/journal/D.G.segments/` | the pages as rows, and as received if those are kept | as the journal |
| `state/journal/D.G.attempts/N.log` | what a worker received that the journal lacks | as the journal |
| `state/journal/D.G.carried/crawl_date=E/` | pinned files of an earlier snapshot | as long as the journal |
| `state/journal/D.G.sqlite.list` | sellers to end before it replaces a snapshot | as the journal |
| `state/journal/D.G.sqlite.held.parquet` | sellers to recheck of a night that is held back | as the journal |
| `state/journal/D.G.sqlite.stdin.parquet` | a seller list that was piped in | as the journal |
| `state/published/crawl_date=D/RUN.sha256` | digests of published files | as long as the snapshot |
| `state/published/month=M/RUN.sha256` | digest of a file of `archive/` | as long as the file |
| `state/published/nights.sha256` | digests of `nights/` | ever |
| `state/copies.json` | what was copied elsewhere | ever |
| `state/staging/RUN/` | a snapshot being built, laid out as the data folder is | one run |
| `state/staging/NAME.request`, `NAME.copies/` | what a backup asks a run for, and gets | one backup |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from glob import escape
from itertools import chain
from pathlib import Path

from crawler.models.errors import InputError

VIDEOS, SELLERS = "videos", "sellers"
SNAPSHOT_KINDS = (VIDEOS, SELLERS)
"""The folders of published snapshots, in the order in which they are exchanged."""

CHANGES = "changes"
"""The folder of what moved from snapshot to snapshot."""

PUBLISHED_KINDS = (*SNAPSHOT_KINDS, CHANGES)
"""The folders that publishing a date exchanges. Changes are taken away first, and put in place last."""

RAW = "raw"
"""The folder of the answers that snapshots were read from, where they are kept: exchanged after these."""

DIGESTED_KINDS = (*PUBLISHED_KINDS, RAW)
"""The folders of whose files digests are kept."""

UNDATED_KINDS = ("nights",)
"""The published folders whose files are of no crawl date: they are written anew as a whole."""

PUBLISHED_PATTERNS = {
    "videos_and_archive": "[av][ri][cd][he][io][vs]*/**/*.parquet",
    "videos": "videos/**/*.parquet",
    "nights_of_videos": "videos/*/*.parquet",
    "sellers": "sellers/*/*.parquet",
    "changes": "changes/*/*.parquet",
    "nights": "nights/*.parquet",
}
"""Patterns of published files below the data folder, for readers that know no more of it.

The first one matches `videos/` and `archive/`, whichever of them there is."""

REGION_KEY = "region="
LEDGER_NAME = "ledger.sqlite"
_DATE_KEY, _MONTH_KEY = "crawl_date=", "month="
_OBJECT_DIGITS = 8
_OBJECT = re.compile(rf"-[0-9a-f]{{{_OBJECT_DIGITS}}}\.parquet$")
_PUBLISHED = re.compile(
    r"(videos/crawl_date=[\d-]{10}(/region=[^/]+)?|(sellers|changes|raw)/crawl_date=[\d-]{10}"
    r"|archive/month=\d{4}-\d\d|nights)/[^./][^/]*\.parquet"
)
_REQUEST = ".request"
_PARQUET, _JOURNAL, _SEGMENTS, _CARRIED, _DIGESTS = ".parquet", ".sqlite", ".segments", ".carried", ".sha256"
_ATTEMPTS, _LOG = ".attempts", ".log"


class Layout:
    """The paths below a data folder, or below one that is laid out like it, as a staged snapshot is."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.state = data / "state"
        self.lock = self.state / "lock"
        self.progress = self.state / "progress.json"
        self.ledger = self.state / LEDGER_NAME
        self.journals = self.state / "journal"
        self.copies = self.state / "copies.json"
        self.staging = self.state / "staging"
        self.digests = self.state / "published"
        self.runs = data / "runs"
        self.index = self.runs / "index.html"
        self.nights = data / "nights"
        self.archive = data / "archive"
        self.compact_lock = self.state / "compact.lock"
        self.compacting = self.state / "compacting"
        self.nights_digests = self.digests / f"nights{_DIGESTS}"

    def journal(self, day: date, generation: int) -> Path:
        """The journal of a date's generation: 1, and one more for each that `--fresh` could not use."""
        return self.journals / f"{day.isoformat()}.{generation}{_JOURNAL}"

    def latest_generation(self, day: date) -> int:
        """The newest generation of a date's journal; 0 where it has none."""
        names = (path.name.split(".") for path in self.journals.glob(f"{day.isoformat()}.*{_JOURNAL}"))
        return max((int(name[1]) for name in names if len(name) == 3 and name[1].isdecimal()), default=0)

    def latest_journal(self, day: date) -> Path:
        """The newest journal of a date; a path at which nothing lies where it has none."""
        return self.journal(day, self.latest_generation(day))

    def month(self, month: str) -> Path:
        """The folder of a month, such as `2026-10`, of nights that were compacted."""
        return self.archive / f"{_MONTH_KEY}{month}"

    def month_digests(self, month: str) -> Path:
        """The folder of its digests."""
        return self.digests / f"{_MONTH_KEY}{month}"

    def kind(self, kind: str) -> Path:
        """The folder of all dates of one of `DIGESTED_KINDS`."""
        return self.data / kind

    def snapshot(self, kind: str, day: date) -> Path:
        """A date's folder of one of `DIGESTED_KINDS`."""
        return self.kind(kind) / partition_of(day)


def require_data_folder(data: Path) -> None:
    """Raise `InputError` where a folder holds nothing of this program's."""
    if not Layout(data).state.is_dir():
        what = "has no state/ in it, so no run wrote it" if data.is_dir() else "is no folder"
        raise InputError(f"no data folder: {data} {what}; name the one that a run writes with --data")


class RunFolder:
    """What a run leaves beside the dataset: its report, as a page too, its course, and the rejected rows."""

    def __init__(self, data: Path, run_id: str) -> None:
        self.folder = Layout(data).runs / run_id
        self.report = self.folder / "report.json"
        self.page = self.folder / "report.html"
        self.series = self.folder / "series.json"
        self.rejects = self.folder / "rejects.jsonl"


class StagedFolder:
    """Where a run builds what it is to publish; `name` is the run's ID.

    `aside` holds rows that wait to be written, `merged` segments that were merged, `announced` empty files
    for regions that are new, `withdrawn` the changes that were published, `withdrawn_raw` the answers.
    Below `read_anew` lies the journal that is made of kept answers.
    """

    def __init__(self, data: Path, name: str) -> None:
        self.folder = Layout(data).staging / name
        self.aside = self.folder / "aside"
        self.merged = self.aside / "merged"
        self.announced = self.folder / "announced"
        self.withdrawn = self.folder / "withdrawn"
        self.withdrawn_raw = self.folder / "withdrawn-raw"
        self.read_anew = Layout(self.folder)

    def snapshot(self, kind: str, day: date) -> Path:
        """The folder of one of `DIGESTED_KINDS` that is to be exchanged for the published ones."""
        return Layout(self.folder).snapshot(kind, day)


class CompactingFolder:
    """Where a month is built, laid out as the data folder is; `aside` holds nights that are taken away."""

    def __init__(self, data: Path) -> None:
        self.folder = Layout(data).compacting
        self.aside = self.folder / "aside"

    def month(self, month: str) -> Path:
        """The folder of a month that is to be exchanged for the published one."""
        return Layout(self.folder).month(month)


class BackupRequest:
    """What asks the run under way for copies of its databases, and what the run answers.

    In the folder of the answer each copy lies where its database lies in the data folder.
    """

    def __init__(self, data: Path, name: str) -> None:
        self._data = data
        staging = Layout(data).staging
        self.request = staging / f"{name}{_REQUEST}"
        self.answer = staging / f"{name}.copies"
        self.half_answer = half_made(self.answer)
        self.refusal = staging / f"{name}.refused"

    def half_copy(self, database: Path) -> Path:
        """Where the copy of a database is made."""
        return self.half_answer / database.relative_to(self._data)

    def copies(self) -> Iterator[tuple[Path, Path]]:
        """Each database that was copied, with its copy; the ledger last."""
        for copy in sorted(self.answer.rglob(f"*{_JOURNAL}")):
            yield self._data / copy.relative_to(self.answer), copy


class JournalFiles:
    """A journal and what lies beside it."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.crawl_date = journal.name.partition(".")[0]
        self.segments = journal.with_suffix(_SEGMENTS)
        self.carried = journal.with_suffix(_CARRIED)
        self.attempts = journal.with_suffix(_ATTEMPTS)
        self.required_sellers = journal.with_name(f"{journal.name}.list")
        self.held_sellers = journal.with_name(f"{journal.name}.held.parquet")
        self.piped_list = journal.with_name(f"{journal.name}.stdin.parquet")

    def pin(self, day: date) -> Path:
        """The pinned files of one earlier snapshot."""
        return self.carried / partition_of(day)

    def attempt_log(self, fence: int) -> Path:
        """The pages of a worker's attempt."""
        return self.attempts / f"{fence:08}{_LOG}"

    @property
    def attempt_probe(self) -> Path:
        """The file by which workers find out whether they share the data folder."""
        return self.attempts / "probe"

    def attempt_logs(self) -> dict[int, Path]:
        """The log of each attempt that is not taken into the journal yet, by fence."""
        return {
            int(path.stem): path for path in sorted(self.attempts.glob(f"*{_LOG}")) if path.stem.isdigit()
        }

    def databases(self) -> list[Path]:
        """The journal with its log and the files whose names begin with its own."""
        return list(self.journal.parent.glob(f"{self.journal.name}*"))


def journals_below(folder: Path) -> list[Path]:
    """Every journal in the folder of journals."""
    return list(folder.glob(f"*{_JOURNAL}"))


def left_by_journals(folder: Path) -> Iterator[Path]:
    """The folders of segments, pins and attempts in the folder of journals whose journal is gone."""
    for ending in (_SEGMENTS, _CARRIED, _ATTEMPTS):
        for beside in folder.glob(f"*{ending}"):
            if not beside.with_suffix(_JOURNAL).exists():
                yield beside


def half_made_pins(folder: Path) -> Iterator[Path]:
    """The pins in the folder of journals that were not finished."""
    return folder.glob(f"*{_CARRIED}/.{_DATE_KEY}*")


def cut_off_files(state: Path) -> Iterator[Path]:
    """Files below `state/` that were being written when their process was killed."""
    return (path for path in state.rglob(".*.*") if is_passing(path) and path.is_file())


def is_passing(path: Path) -> bool:
    """Whether a file is of use to one process alone: half-written, or SQLite's index of a log."""
    return (path.name.startswith(".") and path.suffix[1:].isdecimal()) or path.name.endswith("-shm")


def dated_digests(data: Path) -> Iterator[tuple[date, Path]]:
    """The dates that have digests, each with the folder of them."""
    for path in Layout(data).digests.glob(f"{_DATE_KEY}*"):
        with suppress(ValueError):
            yield date.fromisoformat(path.name.removeprefix(_DATE_KEY)), path


def backup_requests(data: Path) -> list[BackupRequest]:
    """The requests that wait for an answer."""
    waiting = Layout(data).staging.glob(f"*{_REQUEST}")
    return [BackupRequest(data, path.name.removesuffix(_REQUEST)) for path in waiting]


def half_backup(target: Path, name: str) -> Path:
    """Where a backup is made before it gets its name."""
    return target.with_name(f".{target.name}.{name}")


def half_backups(target: Path) -> list[Path]:
    """What backups to a place have made so far, or had when they were killed."""
    return sorted(half_backup(target, "x").parent.glob(f".{escape(target.name)}.*-backup"))


def dated_folders(data: Path, kind: str) -> Iterator[tuple[date, Path]]:
    """The dates that have a folder of `VIDEOS` or `SELLERS`, each with that folder."""
    for path in Layout(data).kind(kind).glob(f"{_DATE_KEY}*"):
        with suppress(ValueError):
            yield date.fromisoformat(path.name.removeprefix(_DATE_KEY)), path


def has_files(data: Path, pattern: str) -> bool:
    """Whether a file below the data folder matches one of `PUBLISHED_PATTERNS`."""
    return next(data.glob(pattern), None) is not None


def archived_months(data: Path) -> list[str]:
    """The months that have a folder in `archive/`, the earliest first."""
    return sorted(path.name.removeprefix(_MONTH_KEY) for path in Layout(data).archive.glob(f"{_MONTH_KEY}*"))


def runs_with_report(data: Path) -> set[str]:
    """The runs whose `report.json` is there."""
    return {path.parent.name for path in Layout(data).runs.glob("*/report.json")}


def runs_with_page(data: Path) -> set[str]:
    """The runs whose `report.html` is there."""
    return {path.parent.name for path in Layout(data).runs.glob("*/report.html")}


def partition_of(day: date) -> str:
    """The folder name of a crawl date."""
    return f"{_DATE_KEY}{day.isoformat()}"


def files_of(database: Path) -> tuple[Path, ...]:
    """A database with its log, and the index of that."""
    return database, log_of(database), database.with_name(f"{database.name}-shm")


def log_of(database: Path) -> Path:
    """SQLite's write-ahead log of a database."""
    return database.with_name(f"{database.name}-wal")


def has_region_folders(data: Path) -> bool | None:
    """Whether the newest night that is published has region folders; None where none is."""
    for _, folder in sorted(dated_folders(data, VIDEOS), reverse=True):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.startswith(REGION_KEY):
                return True
            if path.name.endswith(_PARQUET):
                return False
    return None


def parquet_file(folder: Path, run_id: str, number: int = 1) -> Path:
    """The file that a run publishes in a folder, or its further one of a number."""
    return folder / (f"{run_id}{_PARQUET}" if number == 1 else f"{run_id}.{number}{_PARQUET}")


def run_of(file: Path) -> str:
    """The run that published a file."""
    return file.name.partition(".")[0]


def dates_of_files(data: Path) -> list[date]:
    """The dates of which there is any published file, or a digest, the earliest first."""
    folders = (dated_folders(data, kind) for kind in DIGESTED_KINDS)
    return sorted({day for day, _ in chain(dated_digests(data), *folders)})


def published_folders(data: Path) -> list[Path]:
    """The folders in which there are Parquet files and nothing else."""
    layout = Layout(data)
    return [*(layout.kind(kind) for kind in DIGESTED_KINDS), layout.archive, layout.nights]


def strays(data: Path) -> Iterator[Path]:
    """Whatever lies in the published folders and is no file that a run or `compact` puts there."""
    for folder in published_folders(data):
        for path in sorted(folder.rglob("*")):
            if (path.is_symlink() or not path.is_dir()) and not _PUBLISHED.fullmatch(
                path.relative_to(data).as_posix()
            ):
                yield path


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files anywhere below a folder, sorted by path."""
    # A folder by such a name is damage, for whoever reads it to find.
    names = (Path(above, name) for above, *inside in os.walk(folder) for name in chain(*inside))
    return sorted(path for path in names if path.name.endswith(_PARQUET))


def digests_file(folder: Path, run_id: str) -> Path:
    """The list of digests of the files that a run published, in the folder of its date."""
    return folder / f"{run_id}{_DIGESTS}"


def digests_files(folder: Path) -> list[Path]:
    """The lists of digests in the folder of a date, sorted by path."""
    return sorted(folder.glob(f"*{_DIGESTS}"))


def published_file(data: Path, name: str) -> Path:
    """A published file by its name in a list of digests, which is its path below the data folder."""
    return data / name


def object_name(name: str, sha256: str) -> str:
    """The object of a bucket that holds such a file: its name has the first digits of its digest.

    So no object is overwritten by another content: a file that is written anew has another name there.
    """
    return f"{name.removesuffix(_PARQUET)}-{sha256[:_OBJECT_DIGITS]}{_PARQUET}"


def is_object_name(name: str) -> bool:
    """Whether an object may be one that `object_name` has named: others are left alone."""
    return _OBJECT.search(name) is not None


def pinned_file(pin: Path, name: str) -> Path:
    """Such a file's place in a pin, which leaves out the partition."""
    kind, _, *rest = Path(name).parts
    return pin.joinpath(kind, *rest)


def pinned_digests(pin: Path) -> Path:
    """The digests of the files in a pin."""
    return pin / "digests.sha256"


def half_made(folder: Path) -> Path:
    """Where a folder is made before it gets its name."""
    return folder.with_name(f".{folder.name}")


def segment_rows(folder: Path, name: str) -> Path:
    """The rows of a segment."""
    return folder / f"{name}.arrow"


def segment_pages(folder: Path, name: str) -> Path:
    """The pages of a segment as they were received, where they are kept."""
    return folder / f"{name}{_PARQUET}"


def segment_rejects(folder: Path, name: str) -> Path:
    """The rows of a segment's pages that could not be kept."""
    return folder / f"{name}.jsonl"


def rows_aside(folder: Path, number: int) -> Path:
    """Rows of one region that wait to be written."""
    return folder / f"{number}.arrows"


def put_away(database: Path) -> Path:
    """The folder into which a damaged database is to be moved by hand."""
    return database.parent / "damaged"
