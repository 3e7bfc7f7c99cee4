"""Region folders given up: each night's files are made one, compared row by row, and exchanged together.

Open it to change what is read, written or compared. Nothing published is touched before all nights are ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa

from crawler.history.ordered_rows import rows_by_place
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.errors import InputError, OutputError
from crawler.store.digests import damage_of_published, digests_of, keep_digests
from crawler.store.failpoints import reached
from crawler.store.files import exchange, fsync_tree, output_errors, remove_replaced
from crawler.store.layout import VIDEOS, Layout, StagedFolder, dated_folders, parquet_files
from crawler.store.parts import PartRows
from crawler.store.video_file import VideoFile


@dataclass(frozen=True, slots=True)
class Upgraded:
    """How many nights were given one file each, and how many rows these have."""

    nights: int
    rows: int


@dataclass(frozen=True, slots=True)
class Upgrading:
    """Gives each night one file. Built in `staged`, put in place while `guard` raises nothing.

    `late_from` says from when on the rows of a date are late.
    """

    data: Path
    staged: StagedFolder
    guard: Callable[[], None]
    late_from: Callable[[date], datetime | None]

    def run(self) -> Upgraded:
        """Upgrade all nights that are published, or none.

        Raises `InputError` where the folder has what would be lost, `OutputError` where a file is damaged or
        cannot be written.
        """
        dates = sorted(dated_folders(self.data, VIDEOS))
        self._require_known(dates)
        with output_errors(f"the new videos/ under {self.data}"):
            rows = sum(self._stage(day) for day, _ in dates)
            reached("upgrade.built")
            fsync_tree(self.staged.folder)
            for day, _ in dates:
                (run_id,) = SnapshotFiles.published(self.staged.folder, VIDEOS, day).runs
                # Beside the list that the night has: which of the two is right, the files that are there say.
                digests = digests_of(self.staged.folder, day)
                keep_digests(self.data, day, f"{run_id}.upgraded", digests)
            reached("upgrade.digests")
            self.guard()
            live = Layout(self.data).kind(VIDEOS)
            staged = Layout(self.staged.folder).kind(VIDEOS)
            exchange(staged, live)
            reached("upgrade.exchanged")
            remove_replaced(self.staged.folder, staged)
        return Upgraded(len(dates), rows)

    def _require_known(self, dates: list[tuple[date, Path]]) -> None:
        """Raise where something would be lost with the old folder: it is exchanged as a whole."""
        videos = Layout(self.data).kind(VIDEOS)
        if videos.is_symlink():
            raise InputError(f"{videos} is a link: put the folder itself in its place, then upgrade")
        known = {
            path for _, folder in dates for path in parquet_files(folder) if path.parent.parent == folder
        }
        folders = {above for path in known for above in path.parents}
        for path in videos.rglob("*"):
            if path not in known and path not in folders:
                raise InputError(f"{path} is no file of a night: move it elsewhere, then upgrade")
        for day, _ in dates:
            runs = SnapshotFiles.published(self.data, VIDEOS, day).runs
            if len(runs) != 1:
                raise OutputError(f"videos/ of {day} is of {len(runs)} runs, not of one: nothing was changed")
            if (damage := damage_of_published(self.data, day, {VIDEOS})) is not None:
                raise OutputError(f"{damage}: nothing was changed; restore it from a backup, then upgrade")

    def _stage(self, day: date) -> int:
        """Write a night's file, and compare it with those that it was made of; returns its rows."""
        before = SnapshotFiles.published(self.data, VIDEOS, day)
        folder = self.staged.snapshot(VIDEOS, day)
        folder.mkdir(parents=True)
        try:
            (run_id,) = before.runs
            with VideoFile(folder, run_id, day, self.late_from(day)) as file:
                for (rows,) in rows_by_place(before):
                    file.add(PartRows(rows, pa.array(range(len(rows)), pa.int64())))
            after = SnapshotFiles.published(self.staged.folder, VIDEOS, day)
            pairs = rows_by_place(before, after)
            compared = [len(was) if was.equals(now) else -1 for was, now in pairs]
        except UnreadableError as error:
            raise OutputError(f"{error}: nothing was changed") from error
        if -1 in compared or {sum(compared), after.row_count} != {before.row_count}:
            raise OutputError(f"the new file of {day} has other rows than the old ones: nothing was changed")
        reached("upgrade.night")
        return before.row_count
