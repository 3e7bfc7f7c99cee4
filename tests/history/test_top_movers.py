"""The movers that are proved to be among the K that gained most: in worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot_files import DAY, FIRST_DATE, START, Seller, Video, publish

from crawler.history import unread_videos
from crawler.history.reader import UnreadableError
from crawler.history.top_movers import TopMovers, top_movers
from crawler.models.api import COUNT_COLUMNS, SortField
from crawler.models.dataset import gain_of
from crawler.store.layout import CHANGES, SELLERS, VIDEOS, Layout, parquet_file
from crawler.store.schema import CHANGES_SCHEMA, OUTDATED_BY, RESTS_ON, RUN

WINDOW = timedelta(days=90)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TONIGHT = 3
SORTED = "views desc"
KINDS = (
    "whole",
    "cut",
    "pending",
    "carried",
    "stretch",
    "reject",
    "moved",
    "two runs",
    "drifted",
    "null",
    "carried in part",
)
"""What becomes of a seller tonight; of the nights before it only the first four do."""
Key = tuple[str, str]
Values = dict[str, int]
Listed = list[tuple[str, int]]


@dataclass(frozen=True)
class Course:
    """A seller: the values of its videos on each night, how it was read on each, and how far."""

    nights: Sequence[Values]
    kinds: Sequence[str]
    cuts: Sequence[int]


def at(night: int, minutes: int = 0) -> int:
    return START + night * DAY + minutes * 60_000


def day_of(night: int) -> date:
    return FIRST_DATE + timedelta(days=night)


def in_order(values: Values, sorting: str = SORTED) -> Listed:
    """As the API lists them: by their values, or by something that has nothing to do with these."""
    return sorted(values.items(), key=lambda video: (-video[1] * (sorting == SORTED), video[0]))


def videos(listed: Listed, night: int, first: int = 1, run_id: str = "a") -> list[Video]:
    return [
        Video(name, value, at(night), position=position, run_id=run_id)
        for position, (name, value) in enumerate(listed, first)
    ]


def read(course: Course, night: int, known: dict[str, Video], sorting: str) -> tuple[list[Video], str, int]:
    """The rows of a seller that a night has; its status; its gaps."""
    listed, kind = in_order(course.nights[night], sorting), course.kinds[night]
    rows, cut = videos(listed, night), min(course.cuts[night], len(listed))
    status, gaps = "complete", int(kind == "drifted")
    is_inside = 0 < cut < len(rows)
    carried = [replace(video, carried_from=video.carried_from or FIRST_DATE) for video in known.values()]
    if kind in ("cut", "pending"):
        rows, status = rows[: cut * (kind == "cut")], "partial" if kind == "cut" else "pending"
    elif kind in ("carried", "stretch"):
        fresh = rows[cut : cut + 3] if kind == "stretch" else []
        names = {video.video_id for video in fresh}
        rows = [*fresh, *(video for video in carried if video.video_id not in names)]
        status = "complete" if rows else "pending"
    elif kind == "carried in part":
        rows, status = carried[:cut], "partial"
    elif kind == "reject" and is_inside:
        del rows[cut - 1]
    elif kind == "moved" and is_inside:
        # The last video rises past the reader: what comes next has been read before.
        rows = [*rows[: cut - 1], *videos([listed[cut - 1], *listed[cut:-1]], night, cut + 1)]
    elif kind == "two runs" and is_inside:
        # Something that was read fell before the second run: a row slipped into what had been read.
        rows = [*rows[:cut], *videos(listed[cut + 1 :], night, cut + 1, "b")]
    elif kind == "drifted":
        rows = videos([video for n, video in enumerate(listed) if n % 3 != cut % 3], night)
    elif kind == "null":
        rows, status = (
            [replace(row, views=None) if n == cut else row for n, row in enumerate(rows)],
            "partial",
        )
        del rows[cut + 2 :]
    return rows, status, gaps


class World:
    """A data folder of some nights, and what is true of the last one.

    `gains` has the true gain of each video that was known before and is still there.
    """

    def __init__(self, data: Path, courses: Sequence[Course], sorting: str = SORTED) -> None:
        self.data = data
        self.gains: dict[Key, int] = {}
        self.read: set[Key] = set()
        changes: list[dict[str, Any]] = []
        known: list[dict[str, Video]] = [{} for _ in courses]
        for night in range(TONIGHT + 1):
            sellers = []
            for number, course in enumerate(courses):
                rows, status, drift = read(course, night, known[number], sorting)
                fresh = {video.video_id: video for video in rows if video.carried_from is None}
                carried = len(rows) - len(fresh)
                name = f"s{number}"
                has_page = bool(fresh) or (status == "complete" and not carried)
                moment, last_run = at(night) if has_page else None, "ab"[course.kinds[night] == "two runs"]
                sellers.append(Seller(name, rows, moment, status, drift, carried, run_id=last_run))
                if night == TONIGHT:
                    self._learn(name, course.nights[night], known[number], fresh)
                    changes += changed(name, known[number], fresh)
                elif course.kinds[night] == "whole":
                    known[number] = fresh
                else:
                    known[number] |= fresh
            publish(data, day_of(night), sellers, f"run{night}", sorting=sorting)
        write_changes(data, changes)

    def _learn(self, seller: str, now: Values, known: dict[str, Video], fresh: dict[str, Video]) -> None:
        for name, before in known.items():
            value = fresh[name].views if name in fresh else now.get(name)
            if value is not None and before.views is not None:
                self.gains[seller, name] = value - before.views
        self.read |= {(seller, name) for name in fresh}

    def found(self, top: int, by: SortField = SortField.VIEWS) -> TopMovers:
        return top_movers(self.data, day_of(TONIGHT), by, top, WINDOW)


def changed(seller: str, known: dict[str, Video], fresh: dict[str, Video]) -> list[dict[str, Any]]:
    """The rows of `changes/` of what was read: also of what has not moved, which does no harm."""
    rows = []
    for name, video in fresh.items():
        before = known.get(name)
        kind = "discovered" if before is None else "changed"
        then = None if before is None else before.views
        gain = None if then is None or video.views is None else video.views - then
        row = {"seller_id": seller, "video_id": name, "kind": kind, "until": video.at}
        row |= {"since": None if before is None else before.at}
        rows.append(
            row | dict.fromkeys(COUNT_COLUMNS, video.views) | dict.fromkeys(map(gain_of, COUNT_COLUMNS), gain)
        )
    return rows


def write_changes(data: Path, rows: list[dict[str, Any]], night: int = TONIGHT) -> None:
    path = parquet_file(Layout(data).snapshot(CHANGES, day_of(night)), f"run{night}")
    path.parent.mkdir(parents=True)
    columns = [pa.array([row.get(each.name) for row in rows], each.type) for each in CHANGES_SCHEMA]
    with pq.ParquetWriter(path, CHANGES_SCHEMA) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=CHANGES_SCHEMA))
        writer.add_key_value_metadata({RUN: f"run{night}", RESTS_ON: orjson.dumps({}).decode()})


@st.composite
def courses(draw: st.DrawFn) -> Course:
    names = [f"v{n}" for n in range(draw(st.integers(1, 6)))]
    start = {name: draw(st.integers(0, 60)) for name in names}
    nights = [start]
    for _ in range(TONIGHT):
        steps = {name: draw(st.integers(-25, 25)) for name in names}
        nights.append({name: max(0, nights[-1][name] + steps[name]) for name in names})
    # Some are gone on some nights, and not there yet on others.
    nights = [{name: value for name, value in each.items() if draw(st.integers(0, 7))} for each in nights]
    kinds = [draw(st.sampled_from(KINDS[:4])) for _ in range(TONIGHT)] + [draw(st.sampled_from(KINDS))]
    return Course(nights, kinds, [draw(st.integers(0, 5)) for _ in range(TONIGHT + 1)])


@settings(max_examples=60)
@given(
    st.lists(courses(), min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from([SORTED, SORTED, SORTED, "views asc", "sales desc", ""]),
)
def test_what_is_proved_is_among_those_that_truly_gained_most(
    sellers: list[Course], top: int, sorting: str
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), sellers, sorting)
        document = world.found(top).as_document()
    assert document["doubts"] == []
    rows, unread = document["rows"], document["unread"]
    for row in rows:
        key = row["seller_id"], row["video_id"]
        assert row["gain"] == world.gains[key] > 0
        ahead = sum(gain > row["gain"] for gain in world.gains.values())
        if row["certainty"] == "proved":
            assert ahead < row["worst_place"] <= top
    hidden = {key: gain for key, gain in world.gains.items() if key not in world.read}
    if unread["largest_gain"] is not None:
        assert unread["largest_gain"] >= max(hidden.values(), default=0)
    least = rows[-1]["gain"] if rows else 0
    assert unread["rivals"] >= sum(gain > least for gain in hidden.values())


def nights(data: Path, *nights: Sequence[Seller], sorting: str = SORTED) -> None:
    """Publish nights, the last one with the changes of what it read."""
    known: dict[str, dict[str, Video]] = {}
    changes: list[dict[str, Any]] = []
    for night, sellers in enumerate(nights, TONIGHT + 1 - len(nights)):
        publish(data, day_of(night), sellers, f"run{night}", sorting=sorting)
        for seller in sellers:
            fresh = {video.video_id: video for video in seller.videos if video.carried_from is None}
            if night == TONIGHT:
                changes += changed(seller.seller_id, known.get(seller.seller_id, {}), fresh)
            known[seller.seller_id] = known.get(seller.seller_id, {}) | fresh
    write_changes(data, changes)


def seller(name: str, night: int, listed: Values, status: str = "complete", **more: Any) -> Seller:
    return Seller(name, videos(in_order(listed), night), at(night), status, run_id="a", **more)


def pending(name: str) -> Seller:
    return Seller(name, status="pending")


def shown(data: Path, top: int = 3) -> tuple[dict[str, str], dict[str, Any]]:
    """The certainty of each mover, and what stands in the way."""
    document = top_movers(data, day_of(TONIGHT), SortField.VIEWS, top, WINDOW).as_document()
    return {row["video_id"]: row["certainty"] for row in document["rows"]}, document["unread"]


def mark_outdated(data: Path) -> None:
    path = parquet_file(Layout(data).snapshot(SELLERS, day_of(TONIGHT)), f"run{TONIGHT}")
    rows = pq.ParquetFile(path).read()
    marks = orjson.dumps({str(day_of(1)): "run1"}).decode()
    with pq.ParquetWriter(path, rows.schema) as writer:
        writer.add_key_value_metadata({OUTDATED_BY: marks})
        writer.write_table(rows)


def damage(data: Path) -> None:
    for path in Layout(data).snapshot(VIDEOS, day_of(2)).rglob("*.parquet"):
        path.write_bytes(b"PAR1")


BEFORE = {"a": 100, "b": 50, "c": 20}
NOTHING = {"unbounded_sellers": 0, "unbounded_videos": 0, "rivals": 0, "largest_gain": 0.0}


def test_of_sellers_that_were_read_whole_all_is_proved_and_what_they_lack_is_gone(tmp_path: Path) -> None:
    nights(tmp_path, [seller("s", 2, BEFORE)], [seller("s", 3, {"a": 130, "b": 60, "new": 500})])
    assert shown(tmp_path) == ({"a": "proved", "b": "proved"}, NOTHING)


def test_a_seller_that_was_cut_off_is_bounded_by_its_last_row(tmp_path: Path) -> None:
    """`c` had 20, and is worth 60 at most: it has gained less than 40 or as much, and `b` has gained 10."""
    nights(tmp_path, [seller("s", 2, BEFORE)], [seller("s", 3, {"a": 140, "b": 60}, "partial")])
    unread = {**NOTHING, "rivals": 1, "largest_gain": 40.0}
    assert shown(tmp_path, 2) == ({"a": "proved", "b": "likely"}, unread)
    assert shown(tmp_path, 3) == ({"a": "proved", "b": "proved"}, unread), "the third place is left for it"


def test_as_much_as_the_last_mover_is_no_more_than_it(tmp_path: Path) -> None:
    for then, certainty, rivals in ((50, "proved", 0), (49, "likely", 1)):
        data = tmp_path / str(then)
        cut = seller("s", 3, {"a": 140, "b": 60}, "partial")
        nights(data, [seller("s", 2, {"a": 100, "b": 50, "c": then})], [cut])
        found, unread = shown(data, 2)
        assert (found["b"], unread["rivals"]) == (certainty, rivals)


def test_a_place_that_is_missing_in_a_complete_list_hides_a_video(tmp_path: Path) -> None:
    """A row that was rejected, or that came again later: `b` may have been there."""
    rows = [each for each in videos(in_order({"a": 140, "b": 90, "c": 30}), 3) if each.video_id != "b"]
    nights(tmp_path, [seller("s", 2, BEFORE)], [Seller("s", rows, at(3), run_id="a")])
    assert shown(tmp_path)[1] == {**NOTHING, "rivals": 1, "largest_gain": 90.0}


def test_a_seller_that_two_runs_read_hides_what_may_have_slipped_between_them(tmp_path: Path) -> None:
    """The second run got an empty page: one that another run had read before had fallen out meanwhile."""
    complete = seller("s", 3, {"a": 140, "b": 60})
    for last_run, rivals in (("a", 0), ("b", 1)):
        data = tmp_path / last_run
        nights(data, [seller("s", 2, BEFORE)], [replace(complete, run_id=last_run)])
        assert shown(data)[1]["rivals"] == rivals


def test_a_seller_whose_bound_is_low_is_not_looked_up_in_earlier_snapshots(tmp_path: Path) -> None:
    """Its unread videos are worth 60 at most, so none has gained more, whatever it had."""
    nights(tmp_path, [seller("s", 2, BEFORE)], [seller("s", 3, {"a": 160, "b": 60}, "partial")])
    damage(tmp_path)
    unread = {**NOTHING, "largest_gain": 60.0}
    assert shown(tmp_path, 1) == ({"a": "proved"}, unread)


def test_a_failed_seller_is_bounded_by_what_came_before_the_page_that_is_missing(tmp_path: Path) -> None:
    rows = [each for each in videos(in_order({"a": 140, "x": 90, "c": 30}), 3) if each.video_id != "x"]
    known = {"a": 100, "x": 85, "b": 50, "c": 20}
    nights(tmp_path, [seller("s", 2, known)], [Seller("s", rows, at(3), "failed", run_id="a")])
    unread = {**NOTHING, "rivals": 2, "largest_gain": 90.0}
    assert shown(tmp_path, 2) == ({"a": "likely", "c": "likely"}, unread)


def test_sellers_that_nothing_bounds_are_counted_with_their_known_videos(tmp_path: Path) -> None:
    before = [seller(name, 2, BEFORE) for name in "pqrs"]
    tonight = [
        seller("p", 3, {"a": 120, "b": 80, "c": 70}),
        pending("q"),
        seller("r", 3, {"a": 120, "b": 75}, drift=1),
        pending("never seen before"),
        seller("s", 3, {"a": 120, "b": 75, "c": 70}, drift=1),
    ]
    nights(tmp_path, before, tonight)
    found, unread = shown(tmp_path, 20)
    assert unread == {"unbounded_sellers": 2, "unbounded_videos": 4, "rivals": 4, "largest_gain": None}
    assert set(found.values()) == {"proved"}, "there is room for all of them"
    assert set(shown(tmp_path, 5)[0].values()) == {"likely", "proved"}
    assert set(shown(tmp_path, 4)[0].values()) == {"likely"}


def test_a_night_that_is_sorted_otherwise_bounds_nothing_but_what_was_read_whole(tmp_path: Path) -> None:
    for number, sorting in enumerate(("views asc", "sales desc", "")):
        data = tmp_path / str(number)
        cut = seller("s", 3, {"a": 140, "b": 60}, "partial")
        nights(data, [seller("s", 2, BEFORE)], [cut], sorting=sorting)
        unread = {"unbounded_sellers": 1, "unbounded_videos": 1, "rivals": 1, "largest_gain": None}
        assert shown(data, 2) == ({"a": "proved", "b": "likely"}, unread)
        data /= "whole"
        nights(data, [seller("s", 2, BEFORE)], [seller("s", 3, {"a": 140, "b": 60})], sorting=sorting)
        assert shown(data, 2) == ({"a": "proved", "b": "proved"}, NOTHING)


def test_carried_rows_are_bounded_by_what_was_read_of_their_seller(tmp_path: Path) -> None:
    """`t` is all carried: nothing bounds it. Of `s` the first page is as it was, and 50 bounds the rest."""
    carried = [replace(each, carried_from=day_of(2)) for each in videos(in_order(BEFORE), 2)]
    of_s = [*videos([("a", 100), ("b", 50)], 3), carried[2]]
    nights(
        tmp_path,
        [seller(name, 2, BEFORE) for name in "rst"],
        [
            seller("r", 3, {"a": 140, "b": 70, "c": 25}),
            Seller("s", of_s, at(3), carried=1, run_id="a"),
            Seller("t", carried[1:], carried=2),
        ],
    )
    found, unread = shown(tmp_path)
    assert found == {"a": "proved", "b": "likely", "c": "likely"}
    assert unread == {"unbounded_sellers": 1, "unbounded_videos": 2, "rivals": 3, "largest_gain": None}


def test_of_a_seller_that_is_carried_in_part_earlier_snapshots_know_the_rest(tmp_path: Path) -> None:
    """`c` was known, and is not among the rows that are carried."""
    rest = replace(videos(in_order(BEFORE), 2)[1], carried_from=day_of(2))
    for status, rivals in (("complete", 1), ("partial", 2)):
        data = tmp_path / status
        rows = [*videos([("a", 140)], 3), rest]
        nights(data, [seller("s", 2, BEFORE)], [Seller("s", rows, at(3), status, carried=1, run_id="a")])
        assert shown(data)[1]["rivals"] == rivals
        drifted = Seller("s", rows, at(3), status, drift=1, carried=1, run_id="a")
        nights(data / "drifted", [seller("s", 2, BEFORE)], [drifted])
        unread = shown(data / "drifted")[1]
        assert (unread["unbounded_videos"], unread["unbounded_sellers"]) == (rivals, 1)


def test_what_was_observed_after_tonight_s_reading_is_no_earlier_observation(tmp_path: Path) -> None:
    """The night before was gone on with while this one ran: 20 counts, and not the 60 that came later."""
    late = [replace(each, at=at(3, 30)) for each in videos([("c", 60)], 2)]
    last = Seller("t", [Video("x", 1, at(3, 60), position=1, run_id="a")], run_id="a")
    nights(
        tmp_path,
        [seller("s", 1, BEFORE, "partial")],
        [Seller("s", late, status="partial", run_id="a"), seller("t", 2, {"x": 1})],
        [seller("s", 3, {"a": 140, "b": 90}, "partial"), last],
    )
    assert shown(tmp_path)[1] == {**NOTHING, "rivals": 1, "largest_gain": 70.0}


def test_a_video_counts_by_its_last_observation_in_any_snapshot_since_the_last_whole_reading(
    tmp_path: Path,
) -> None:
    """`gone` was not there when its seller was last read whole; `b` has fallen since, and `c` risen."""
    nights(
        tmp_path,
        [seller("s", 0, {**BEFORE, "gone": 5})],
        [seller("s", 1, BEFORE)],
        [seller("s", 2, {"a": 110, "c": 60, "b": 30}, "partial")],
        [seller("s", 3, {"a": 140}, "partial"), seller("t", 3, {"x": 1})],
    )
    found, unread = shown(tmp_path, 2)
    assert found == {"a": "likely"}
    assert unread == {**NOTHING, "rivals": 2, "largest_gain": 110.0}, "from 30, not from 50 or 5"


def test_a_video_that_was_seen_before_the_window_alone_is_not_known(tmp_path: Path) -> None:
    cut = seller("s", 3, {"a": 140}, "partial")
    nights(tmp_path, [seller("s", 1, BEFORE, "partial")], [seller("s", 2, {"a": 100}, "partial")], [cut])
    assert shown(tmp_path)[1]["rivals"] == 2
    narrow = top_movers(tmp_path, day_of(TONIGHT), SortField.VIEWS, 3, timedelta(days=1)).as_document()
    assert narrow["unread"] == {**NOTHING, "rivals": 0}


def test_a_video_without_a_value_then_has_no_gain(tmp_path: Path) -> None:
    then = [*videos([("a", 100), ("b", 50)], 2), Video("c", None, at(2), position=3, run_id="a")]
    cut = seller("s", 3, {"a": 140}, "partial")
    nights(tmp_path, [Seller("s", then, at(2), run_id="a")], [cut])
    assert shown(tmp_path)[1] == {**NOTHING, "rivals": 1, "largest_gain": 90.0}


def test_sellers_are_read_in_ranges_that_do_not_change_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{n:02}" for n in range(30)]
    before = [seller(name, 2, {"a": 100 + n, "b": 50, "c": n}) for n, name in enumerate(names)]
    tonight = [
        pending(name) if n % 7 == 0 else seller(name, 3, {"a": 110 + 3 * n, "b": 90}, "partial")
        for n, name in enumerate(names)
    ]
    nights(tmp_path, before, tonight)
    whole = shown(tmp_path, 40)
    assert whole[1]["unbounded_sellers"] == 5
    for rows in (1, 700, 2000):
        monkeypatch.setattr(unread_videos, "_PART_ROWS", rows)
        assert shown(tmp_path, 40) == whole


@pytest.mark.parametrize(
    ("spoil", "doubt"),
    [
        (mark_outdated, "changes are out of date since 2024-10-05 was published"),
        (damage, "the snapshot of 2024-10-06 cannot be read: "),
    ],
)
def test_where_something_casts_doubt_on_all_nothing_is_proved(tmp_path: Path, spoil: Any, doubt: str) -> None:
    nights(tmp_path, [seller("s", 2, BEFORE)], [seller("s", 3, {"a": 140}, "partial")])
    spoil(tmp_path)
    document = top_movers(tmp_path, day_of(TONIGHT), SortField.VIEWS, 3, WINDOW).as_document()
    assert [row["certainty"] for row in document["rows"]] == ["likely"]
    assert document["unread"] is None
    assert document["doubts"][0].startswith(doubt)


def test_rows_of_another_run_than_the_changes_are_not_read(tmp_path: Path) -> None:
    nights(tmp_path, [seller("s", 2, BEFORE)], [seller("s", 3, BEFORE)])
    for path in Layout(tmp_path).snapshot(VIDEOS, day_of(3)).rglob("*.parquet"):
        path.rename(path.with_name("run9.parquet"))
    with pytest.raises(UnreadableError, match="another run"):
        shown(tmp_path)


def test_what_was_compacted_is_not_read(tmp_path: Path) -> None:
    nights(tmp_path, [seller("s", 2, BEFORE)], [seller("s", 3, {"a": 120})])
    for path in Layout(tmp_path).snapshot(VIDEOS, day_of(3)).rglob("*.parquet"):
        path.unlink()
    month = tmp_path / "archive" / "month=2024-10" / "run.parquet"
    month.parent.mkdir(parents=True)
    month.write_bytes(b"")
    document = top_movers(tmp_path, day_of(TONIGHT), SortField.VIEWS, 3, WINDOW).as_document()
    assert document["doubts"] == ["its rows were compacted: they are in archive/month=2024-10/run.parquet"]
