"""Reading all that is published, page by page: what is damaged, missing or foreign. Nothing is changed.

Open it to find more. A date that is exchanged meanwhile is looked at twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow as pa

from crawler.history.whole_files import Finding, FindingKind, Verified, nights_of_month, read_whole
from crawler.store.digests import of_kinds, published_digests, read_list
from crawler.store.layout import (
    DIGESTED_KINDS,
    SELLERS,
    VIDEOS,
    Layout,
    archived_months,
    dates_of_files,
    digests_files,
    parquet_files,
    run_of,
    strays,
)
from crawler.store.months import has_file
from crawler.store.nights_table import read_nights

_PAUSE_S = 1.0
"""Seconds after which what was found of a date is looked at again: it may have been exchanged."""
_MOST_LOOKS = 5


def verify_published(data: Path, wait: Callable[[float], None] = time.sleep) -> Verified:
    """Read every published file to its end, and compare it with its digest and with the others."""
    return _Verifying(data, wait).run()


class _Verifying:
    def __init__(self, data: Path, wait: Callable[[float], None]) -> None:
        self._data = data
        self._wait = wait
        self.done = Verified()

    def run(self) -> Verified:
        days = dates_of_files(self._data)
        self.done.nights = len(days)
        for day in days:
            self._twice(partial(self._date, day))
        for month in archived_months(self._data):
            self._twice(partial(self._month, month))
        self._twice(self._nights)
        self._twice(self._strays)
        return self.done

    def _twice(self, look: Callable[[], Iterator[Finding]]) -> None:
        """Look, and again where something was found: what is being exchanged is found once, or otherwise."""
        before, seen = (self.done.files, self.done.bytes, self.done.rows), [*look()]
        for _ in range(_MOST_LOOKS):
            if not seen:
                return
            self._wait(_PAUSE_S)
            self.done.files, self.done.bytes, self.done.rows = before
            earlier, seen = seen, [*look()]
            if seen == earlier:
                break
        self.done.findings += seen

    def _date(self, day: date) -> Iterator[Finding]:
        layout = Layout(self._data)
        try:
            digests = published_digests(self._data, day)
        except (OSError, ValueError) as error:
            yield self._finding(FindingKind.DAMAGED, layout.digests, f"the digests of {day}: {error}")
            digests = {}
        runs: dict[str, set[str]] = {}
        for kind in DIGESTED_KINDS:
            listed = of_kinds({kind}, digests)
            paths = self._paths(layout.snapshot(kind, day))
            runs[kind] = {run_of(path) for name, path in paths.items() if name in (listed or paths)}
            for name in listed.keys() - paths.keys():
                if not has_file(self._data, day, name, listed[name]):
                    yield Finding(FindingKind.MISSING, name, "its digest was kept, and it is gone")
            for name, path in paths.items():
                if listed and name not in listed:
                    yield Finding(FindingKind.FOREIGN, name, "no run has published it: it has no digest")
                yield from read_whole(self.done, self._data, path, kind, listed.get(name))
        if runs[VIDEOS] and not runs[SELLERS] and not of_kinds({SELLERS}, digests):
            yield self._finding(FindingKind.MISSING, layout.snapshot(SELLERS, day), "videos/ has its date")
        elif runs[VIDEOS] and runs[SELLERS] and runs[VIDEOS] != runs[SELLERS]:
            reason = "it is of another run than sellers/, as an exchange was cut off: run its date again"
            yield self._finding(FindingKind.DAMAGED, layout.snapshot(VIDEOS, day), reason)

    def _month(self, month: str) -> Iterator[Finding]:
        layout = Layout(self._data)
        paths, listed = self._paths(layout.month(month)), dict[str, str]()
        for path in digests_files(layout.month_digests(month)):
            listed |= read_list(path)
        for name in listed.keys() - paths.keys():
            # A compact that was killed has left the digest of what it did not come to put in place.
            if not paths:
                yield Finding(FindingKind.MISSING, name, "its digest was kept, and it is gone")
        for name, path in paths.items():
            if listed and name not in listed:
                yield Finding(FindingKind.FOREIGN, name, "it has no digest")
            damages = [*read_whole(self.done, self._data, path, VIDEOS, listed.get(name))]
            yield from damages or nights_of_month(self._data, month, path)

    def _nights(self) -> Iterator[Finding]:
        layout = Layout(self._data)
        paths = self._paths(layout.nights)
        listed = read_list(layout.nights_digests) if layout.nights_digests.exists() else {}
        if listed and not paths:
            yield self._finding(FindingKind.MISSING, layout.nights, "the next run makes it anew")
        for name, path in paths.items():
            yield from read_whole(self.done, self._data, path, layout.nights.name, listed.get(name))
        yield from self._missing_dates()

    def _missing_dates(self) -> Iterator[Finding]:
        """The nights that were published, and of which nothing is there."""
        try:
            published = [row["crawl_date"] for row in read_nights(self._data) if row["rows"] is not None]
        except (pa.ArrowException, OSError, ValueError, LookupError):
            return
        for day in published:
            folder = Layout(self._data).snapshot(SELLERS, day)
            if not self._paths(folder) and not of_kinds({SELLERS}, self._digests(day)):
                yield self._finding(FindingKind.MISSING, folder, f"nights/ says that {day} was published")

    def _digests(self, day: date) -> Mapping[str, str]:
        try:
            return published_digests(self._data, day)
        except (OSError, ValueError):
            return {}

    def _strays(self) -> Iterator[Finding]:
        for path in strays(self._data):
            yield self._finding(
                FindingKind.FOREIGN, path, "no run has put it there, and readers may fail on it"
            )

    def _paths(self, folder: Path) -> dict[str, Path]:
        paths = (path for path in parquet_files(folder) if not path.name.startswith("."))
        return {path.relative_to(self._data).as_posix(): path for path in paths}

    def _finding(self, kind: FindingKind, path: Path, reason: str) -> Finding:
        return Finding(kind, path.relative_to(self._data).as_posix(), reason)
