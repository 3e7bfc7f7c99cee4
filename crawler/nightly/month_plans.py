"""What is to be compacted: months that are old, with their nights in `videos/` and in `archive/`.

Open it to change which months those are, or what is left out of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.night import month_of
from crawler.options import Settings
from crawler.rules.archiving import kept_nights, old_months
from crawler.store import months
from crawler.store.layout import SELLERS, VIDEOS, Layout, archived_months, dated_folders, published_file
from crawler.store.ledger import Ledger
from crawler.store.lock import holder_of
from crawler.store.progress_file import progress_of
from crawler.store.sqlite import state_errors


@dataclass(frozen=True, slots=True)
class Month:
    """What becomes of a month: nights that are taken out of `videos/`, those that thinning drops, all in all.

    `nights` are in `archive/` then. `bytes_after` is None where nothing was written.
    """

    month: str
    nights: list[date]
    taken: list[date]
    dropped: list[date]
    files_before: int
    bytes_before: int
    rows: int | None = None
    bytes_after: int | None = None

    def with_file(self, path: Path | None) -> Month:
        """The same with what the month's file is now."""
        if path is None:
            return replace(self, rows=0, bytes_after=0)
        rows = sum(night.rows for night in months.nights_in(path).values())
        return replace(self, rows=rows, bytes_after=path.stat().st_size)


@dataclass(frozen=True, slots=True)
class MonthPlan:
    """A month: nights to be `taken` out of `videos/`, those that are `archived`, and all that are `kept`."""

    data: Path
    month: str
    taken: list[date]
    archived: Mapping[date, months.ArchivedNight]
    kept: set[date]

    @property
    def dropped(self) -> list[date]:
        """The nights that thinning drops."""
        return sorted((self.archived.keys() | set(self.taken)) - self.kept)

    def has(self, day: date, digests: Mapping[str, str]) -> bool:
        """Whether the month's file has these files of a night already."""
        return day in self.archived and dict(self.archived[day].files) == dict(digests)

    def planned(self) -> Month:
        """What is to become of it. Raises `OSError`."""
        names = [name for day in self.taken for name in months.names_in(self.data, day)]
        paths = [published_file(self.data, name) for name in names]
        if (path := months.month_file(self.data, self.month)) is not None:
            paths.append(path)
        nights = sorted((self.archived.keys() | set(self.taken)) & self.kept)
        size = sum(path.stat().st_size for path in paths)
        return Month(self.month, nights, self.taken, self.dropped, len(paths), size)


class MonthPlans:
    """The months that have something to be done now; of `failed` ones, why nothing can be; and notes."""

    def __init__(self, settings: Settings, now: datetime, age: int, keep: int | None) -> None:
        self.failed: dict[str, str] = {}
        self.notes: list[str] = []
        self._data = settings.run.data
        self._today = now.astimezone(ZoneInfo(settings.run.timezone)).date()
        self._age = age
        self._keep = keep

    def each(self) -> Iterator[MonthPlan]:
        """These months, the earliest first."""
        in_videos = self._nights_in_videos()
        old = old_months(in_videos, self._today, self._age)
        archived = self.archived()
        every = in_videos.keys() | {day for nights in archived.values() for day in nights}
        whole = self._whole_nights()
        kept = every if self._keep is None else kept_nights(every, self._today, self._keep, whole)
        under_way = self._month_under_way()
        for month in sorted(old.keys() | archived.keys() - self.failed.keys()):
            taken, there = old.get(month, []), archived.get(month, {})
            # Of a month that is not old nothing is taken, and nothing that thinning drops either.
            plan = MonthPlan(self._data, month, taken, there, kept)
            if month in self.failed or not (taken or plan.dropped):
                continue
            if month == under_way:
                self.notes.append(f"{month} is left as it is: a run is on one of its nights")
                continue
            yield plan

    def _nights_in_videos(self) -> dict[date, date]:
        """The nights in `videos/`, each with the day on which it was last read."""
        found: dict[date, date] = {}
        for day, _ in dated_folders(self._data, VIDEOS):
            if not months.names_in(self._data, day):
                continue
            try:
                span = SnapshotFiles.published(self._data, SELLERS, day).read_span
            except UnreadableError as error:
                self.failed[month_of(day)] = str(error)
                span = None
            read = day if span is None else datetime.fromtimestamp(span[1] / 1000, UTC).date()
            found[day] = max(day, read)
        return found

    def archived(self) -> dict[str, Mapping[date, months.ArchivedNight]]:
        """The nights in each month's file that can be read."""
        found: dict[str, Mapping[date, months.ArchivedNight]] = {}
        for month in archived_months(self._data):
            path = months.month_file(self._data, month)
            try:
                found[month] = {} if path is None else months.nights_in(path)
            except months.FAULTS as error:
                self.failed[month] = f"{path}: {error}"
        return found

    def _whole_nights(self) -> set[date]:
        if not Layout(self._data).ledger.exists():
            return set()
        with state_errors(Layout(self._data).state), Ledger(self._data, only_read=True) as ledger:
            return {day.crawl_date for day in ledger.dates() if day.latest.exit_code == 0}

    def _month_under_way(self) -> str | None:
        progress = progress_of(self._data, holder_of(self._data))
        return None if progress is None else month_of(date.fromisoformat(str(progress["crawl_date"])))
