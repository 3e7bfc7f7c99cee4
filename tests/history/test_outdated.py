"""Changes made anew, marks of those that are out of date, and `sellers/` files that gain columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from snapshot_files import DAY, FIRST_DATE, HOUR, START, Seller, Video, publish
from steps import REWRITE_STEPS

from crawler.history.outdated import (
    NewSnapshot,
    add_columns,
    are_current,
    mark_later,
    outdated_by,
    outdated_dates,
)
from crawler.history.reader import SnapshotFiles
from crawler.models.errors import DataLockedError, InputError
from crawler.nightly.rebuilding import Rebuilt, rebuild
from crawler.nightly.world import World
from crawler.options import RunSettings, Settings
from crawler.store import failpoints
from crawler.store.digests import (
    damage_of_published,
    digests_of,
    keep_digests,
    published_digests,
    read_digests,
    settle_digests,
)
from crawler.store.layout import CHANGES, SELLERS, Layout, StagedFolder, digests_file, partition_of
from crawler.store.lock import hold_lock
from crawler.store.rewriting import Rewriting
from crawler.store.schema import OUTDATED_BY, RUN, SORTING, SUMMED_SELLER_SCHEMA

Row = dict[str, Any]


class KilledError(BaseException):
    """The process ends at a step."""


class Folder:
    """A data folder with nights of one seller, whose videos are looked at once a night."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def night(self, number: int, *views: int, run_id: str = "", later: int = 0) -> date:
        """Publish a night as it was before there were changes; its video `n` has `views[n]`."""
        day, at = FIRST_DATE + timedelta(days=number), START + number * DAY + HOUR + later * DAY
        videos = [Video(f"v{n}", count, at) for n, count in enumerate(views)]
        run_id = run_id or f"run{number}"
        publish(self.data, day, [Seller("7", videos)], run_id)
        keep_digests(self.data, day, run_id, digests_of(self.data, day))
        return day

    def rebuild(self, day: date | None = None) -> Rebuilt:
        return rebuild(Settings(run=RunSettings(data=self.data)), World(), day)

    def rewriting(self) -> Rewriting:
        return Rewriting(self.data, StagedFolder(self.data, "rewritten"), lambda: None)

    def files(self, kind: str, day: date) -> SnapshotFiles:
        return SnapshotFiles.published(self.data, kind, day)

    def rows(self, kind: str, day: date) -> list[Row]:
        (path,) = self.files(kind, day).paths
        rows: list[Row] = pq.ParquetFile(path).read().to_pylist()
        return rows

    def gains(self, day: date) -> dict[str, int | None]:
        return {row["video_id"]: row["total_views_cnt_gain"] for row in self.rows(CHANGES, day)}

    def digests(self) -> dict[Path, str]:
        """Of all that is published."""
        paths = [
            path for kind in ("videos", SELLERS, CHANGES) for path in (self.data / kind).rglob("*.parquet")
        ]
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def require_listed(self, *days: date) -> None:
        """The kept digests are those of the files, each once, and nothing is half-built."""
        for day in days:
            assert damage_of_published(self.data, day) is None
            listed = published_digests(self.data, day)
            assert listed == digests_of(self.data, day)
        assert not list((self.data / "state" / "staging").glob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def killed(monkeypatch: pytest.MonkeyPatch, step: str, act: Callable[[], object]) -> None:
    """Do something in a process that ends at a step."""

    def die(reached: str) -> None:
        if reached == step:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "on_reach", die)
        with pytest.raises(KilledError):
            act()


def test_changes_are_made_for_snapshots_that_have_none(folder: Folder) -> None:
    first, second = folder.night(0, 10, 20), folder.night(1, 13, 20)
    done = folder.rebuild()
    assert list(done.dates) == [first, second]
    assert not done.notes
    assert not done.failed
    assert folder.gains(second) == {"v0": 3}
    assert [(row["views"], row["views_gain"], row["changed"]) for row in folder.rows(SELLERS, second)] == [
        (33, 3, 1)
    ]
    assert folder.files(CHANGES, second).metadata[RUN] == "run1"
    folder.require_listed(first, second)
    before = folder.digests()
    assert not folder.rebuild().dates
    assert folder.digests() == before


def test_one_date_is_made_anew_though_it_is_current(folder: Folder) -> None:
    folder.night(0, 10)
    second = folder.night(1, 11)
    folder.rebuild()
    assert list(folder.rebuild(second).dates) == [second]
    with pytest.raises(InputError, match="nothing is published for 2024-10-11"):
        folder.rebuild(second + timedelta(days=6))


def test_nothing_is_made_anew_while_a_run_holds_the_folder(folder: Folder) -> None:
    day = folder.night(0, 10)
    with hold_lock(folder.data, "other"), pytest.raises(DataLockedError):
        folder.rebuild(day)


def test_an_empty_folder_is_left_as_it_is(tmp_path: Path) -> None:
    assert Folder(tmp_path).rebuild() == Rebuilt()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", REWRITE_STEPS)
def test_a_kill_while_changes_are_made_anew_leaves_what_belongs_together(
    folder: Folder, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.night(0, 10)
    second = folder.night(1, 13)
    folder.rebuild()
    before = folder.digests()
    killed(monkeypatch, step, lambda: folder.rebuild(second))
    changes, sellers = folder.files(CHANGES, second), folder.files(SELLERS, second)
    assert not changes.paths or changes.metadata[RUN] == sellers.paths[0].stem
    if changes.paths:
        assert damage_of_published(folder.data, second) is None
    folder.rebuild()
    assert folder.digests() == before
    folder.require_listed(second)


@pytest.mark.parametrize(
    "step", [s for s in REWRITE_STEPS if s not in {"rewrite.withdrawn", "rewrite.changes"}]
)
def test_older_sellers_files_get_their_columns_once_whatever_a_kill_leaves(
    folder: Folder, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [folder.night(number, 10 + number) for number in range(3)]
    rows = [folder.rows(SELLERS, day) for day in days]
    killed(monkeypatch, step, lambda: add_columns(folder.rewriting()))
    assert not any(damage_of_published(folder.data, day) for day in days)
    assert not add_columns(folder.rewriting())
    for day, old in zip(days, rows, strict=True):
        (path,) = folder.files(SELLERS, day).paths
        assert pq.read_schema(path).remove_metadata() == SUMMED_SELLER_SCHEMA
        added = dict.fromkeys(set(SUMMED_SELLER_SCHEMA.names) - set(old[0]))
        assert folder.rows(SELLERS, day) == [{**row, **added} for row in old]
    folder.require_listed(*days)
    before = folder.digests()
    assert not add_columns(folder.rewriting())
    assert folder.digests() == before


def test_a_damaged_sellers_file_is_named_and_left_as_it_is(folder: Folder) -> None:
    day = folder.night(0, 10)
    (path,) = folder.files(SELLERS, day).paths
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    (note,) = add_columns(folder.rewriting())
    assert "is damaged" in note
    assert path.read_bytes() == content
    assert damage_of_published(folder.data, day) is not None
    assert "is damaged" in folder.rebuild().failed[day]


def test_files_without_digests_get_none(folder: Folder) -> None:
    day = folder.night(0, 10)
    for path in (folder.data / "state").rglob("*.sha256"):
        path.unlink()
    folder.rebuild()
    assert folder.gains(day) == {"v0": None}
    assert not published_digests(folder.data, day)


def test_what_a_file_says_of_itself_is_kept_but_for_the_mark(folder: Folder) -> None:
    day = folder.night(0, 10)
    (path,) = folder.files(SELLERS, day).paths
    table = (
        pq.ParquetFile(path)
        .read()
        .replace_schema_metadata({SORTING: "views desc", "other": "kept", OUTDATED_BY: '{"2024-10-01":"x"}'})
    )
    pq.write_table(table, path)
    keep_digests(folder.data, day, "run0", digests_of(folder.data, day))
    folder.rebuild()
    assert folder.files(SELLERS, day).metadata == {SORTING: "views desc", "other": "kept"}


def replaced(folder: Folder, number: int, *views: int, later: int = 0, window: int = 90) -> date:
    """Publish a night, new or again, as a run does, but without changes of its own."""
    other = Folder(folder.data / "staged")
    day = other.night(number, *views, run_id="again", later=later)
    sellers = other.files(SELLERS, day)
    mark_later(folder.rewriting(), NewSnapshot(day, "again", sellers, timedelta(days=window)))
    return folder.night(number, *views, run_id="again", later=later)


def test_dates_that_rest_on_a_replaced_night_are_marked_and_made_anew(folder: Folder) -> None:
    first, second, third = (folder.night(number, 10 + number) for number in range(3))
    folder.rebuild()
    replaced(folder, 1, 15)
    assert outdated_dates(folder.data) == [third]
    assert outdated_by(folder.files(SELLERS, third)) == {second.isoformat(): "again"}
    folder.require_listed(first, third)
    (path,) = folder.files(SELLERS, third).paths
    marked = path.stat()
    replaced(folder, 1, 16)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (marked.st_ino, marked.st_mtime_ns)
    assert list(folder.rebuild().dates) == [second, third]
    assert (folder.gains(second), folder.gains(third)) == ({"v0": 6}, {"v0": -4})
    assert not outdated_dates(folder.data)


def test_sums_never_stand_beside_changes_that_they_are_not_of(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.night(0, 10)
    second = folder.night(1, 11)
    folder.rebuild()
    replaced(folder, 0, 9)
    add_columns(folder.rewriting())
    killed(monkeypatch, "rewrite.sellers", partial(folder.rebuild, second))
    assert folder.rows(SELLERS, second)[0]["views_gain"] == 2
    assert not folder.files(CHANGES, second).paths


def test_a_night_that_is_crawled_anew_after_later_ones_marks_those_that_rest_on_it(folder: Folder) -> None:
    _, _, third = (folder.night(number, 10 + number) for number in range(3))
    folder.rebuild()
    replaced(folder, 1, 15, later=3)
    assert outdated_dates(folder.data) == [third]
    folder.rebuild()
    assert folder.gains(third) == {"v0": 2}


def test_an_earlier_night_that_is_caught_up_marks_the_later_ones_within_the_window(folder: Folder) -> None:
    first, third, last = folder.night(0, 10), folder.night(2, 30), folder.night(9, 90)
    folder.rebuild()
    second = replaced(folder, 1, 20, window=5)
    assert outdated_dates(folder.data) == [third]
    assert list(folder.rebuild().dates) == [second, third]
    assert folder.gains(third) == {"v0": 10}
    assert are_current(folder.data, first)
    assert are_current(folder.data, last)


def test_a_night_that_is_read_late_marks_none_that_were_read_before_it(folder: Folder) -> None:
    folder.night(0, 10)
    folder.night(2, 30)
    folder.rebuild()
    replaced(folder, 1, 40, later=3)
    assert not outdated_dates(folder.data)


@pytest.mark.parametrize("step", ["rewrite.synced", "rewrite.digests", "rewrite.sellers"])
def test_a_kill_while_dates_are_marked_costs_no_file(
    folder: Folder, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [folder.night(number, 10 + number) for number in (0, 2, 3)]
    folder.rebuild()
    killed(monkeypatch, step, lambda: replaced(folder, 1, 11))
    assert not any(damage_of_published(folder.data, day) for day in days)
    replaced(folder, 1, 11)
    assert outdated_dates(folder.data) == days[1:]
    for day in days:
        settle_digests(folder.data, day)
    folder.require_listed(*days)


def test_damaged_changes_are_made_anew(folder: Folder) -> None:
    folder.night(0, 10)
    day = folder.night(1, 13)
    folder.rebuild()
    before = folder.digests()
    (path,) = folder.files(CHANGES, day).paths
    whole = path.read_bytes()
    flipped = whole[:20] + bytes([whole[20] ^ 1]) + whole[21:]
    for content in (b"", whole[:-9], b"x" * 99, flipped):
        path.write_bytes(content)
        assert list(folder.rebuild().dates) == [day]
        assert folder.digests() == before
    path.unlink()
    assert list(folder.rebuild().dates) == [day]


def test_a_snapshot_of_two_runs_gets_no_changes(folder: Folder) -> None:
    day = folder.night(0, 10)
    (path,) = folder.files(SELLERS, day).paths
    path.rename(path.with_name("other.parquet"))
    done = folder.rebuild()
    assert not done.dates
    assert "different runs" in done.failed[day]
    assert not folder.files(CHANGES, day).paths


def test_changes_that_rest_on_a_snapshot_that_was_removed_stand(folder: Folder) -> None:
    first, second = folder.night(0, 10), folder.night(1, 13)
    folder.rebuild()
    for path in Layout(folder.data).snapshot(SELLERS, first).iterdir():
        path.unlink()
    assert not folder.rebuild().dates
    assert folder.gains(second) == {"v0": 3}


def test_the_digests_that_a_killed_run_kept_are_left_as_they_are(folder: Folder) -> None:
    day = folder.night(0, 10)
    unpublished = {f"sellers/crawl_date={day}/later.parquet": "0" * 64}
    keep_digests(folder.data, day, "later", unpublished)
    assert list(folder.rebuild().dates) == [day]
    path = digests_file(Layout(folder.data).digests / partition_of(day), "later")
    assert read_digests(path, day) == unpublished
