"""Making one month: its file is written, compared and put in place, then its nights go out of `videos/`.

Open it to change what is checked before that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from crawler.history.archiving import Source, write_month
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.errors import OutputError
from crawler.nightly.month_plans import Month, MonthPlan
from crawler.nightly.world import World
from crawler.store import archive, months
from crawler.store.digests import drop_digests
from crawler.store.files import remove, remove_replaced
from crawler.store.layout import VIDEOS, CompactingFolder, parquet_file
from crawler.store.lock import exchange_lock


class MonthMaking:
    """Makes months; `reserve` is how many bytes must stay free, `notes` gets what is left as it is."""

    def __init__(self, data: Path, reserve: int, world: World, notes: list[str]) -> None:
        self.notes = notes
        self._data = data
        self._reserve = reserve
        self._world = world
        self._building = CompactingFolder(data)

    def make(self, plan: MonthPlan) -> Month:
        """Write the month's file where it lacks nights or has too many, and take its nights out of `videos/`.

        Raises `UnreadableError` or one of `months.FAULTS` where damage hinders it, `OutputError` where it
        cannot be written.
        """
        data = self._data
        digests = {day: months.night_digests(data, day) for day in plan.taken}
        new = [day for day in plan.taken if day in plan.kept and not plan.has(day, digests[day])]
        stay = [day for day in sorted(plan.archived) if day in plan.kept and day not in new]
        done, path = plan.planned(), months.month_file(data, plan.month)
        if not new and not stay:
            archive.remove_month(data, plan.month, self._building.aside)
            remove_replaced(self._building.aside, self._building.aside)
        elif new or len(stay) < len(plan.archived):
            self._require_room(done)
            sources = [Source(SnapshotFiles.published(data, VIDEOS, day), [day]) for day in new]
            if stay and path is not None:
                months.require_intact(data, plan.month, path)
                sources.append(Source(SnapshotFiles((path,)), stay))
            files = {**{day: plan.archived[day].files for day in stay}, **{day: digests[day] for day in new}}
            self._write(plan.month, sources, {day: files[day] for day in sorted(files)})
        path = months.month_file(data, plan.month)
        there = {} if path is None else months.nights_in(path)
        if any(day not in there or dict(there[day].files) != digests[day] for day in new):
            raise UnreadableError(f"{path} does not have the nights that were written to it")
        changed = archive.remove_nights(data, digests, self._building.aside)
        if changed:
            names = ", ".join(map(str, changed))
            self.notes.append(f"{names}: published anew meanwhile, and still in videos/")
        return done.with_file(months.month_file(data, plan.month))

    def _write(self, month: str, sources: list[Source], digests: Mapping[date, Mapping[str, str]]) -> None:
        folder = self._building.month(month)
        remove(folder)
        folder.mkdir(parents=True)
        path = parquet_file(folder, self._world.run_id(self._world.now(), "-compact"))
        write_month(path, sources, digests)
        archive.put_month(self._data, month, folder)
        remove_replaced(folder, folder)

    def _require_room(self, month: Month) -> None:
        needed = month.bytes_before + self._reserve
        free = self._world.free_bytes(self._data.absolute())
        if free < needed:
            raise OutputError(
                f"only {free >> 20} MiB are free under {self._data}, and {needed >> 20} MiB are needed, as a "
                "month lies beside its nights for a while: make room, then compact again; nothing is lost"
            )

    def settle(self, archived: Iterable[Mapping[date, months.ArchivedNight]]) -> None:
        """Forget digests of files that a killed process has taken away. Raises `OSError` or `OutputError`."""
        for nights in archived:
            for day, night in nights.items():
                if not months.names_in(self._data, day) and months.has_digests(self._data, day):
                    with exchange_lock(self._data):
                        drop_digests(self._data, day, night.files)
