"""What simulated months published, and whether it is whole and true; for `months.py`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from month_shops import Read, Served
from virtual_process import expect

from crawler.models.stretches import STRETCH_PAGES
from crawler.store.layout import Layout

Key = tuple[str, Any]


class Row(NamedTuple):
    """A row of `videos/`, by the columns that are compared."""

    views: int
    sales: int
    region: str
    page_num: int
    position: int
    crawled_at: int
    run_id: str
    carried_from: date | None


class Change(NamedTuple):
    """A row of `changes/`."""

    kind: str
    days: float | None
    gain: int | None
    since: int | None


@dataclass
class NightFiles:
    """A published night as it is on disk."""

    rows: dict[Key, Row]
    sellers: dict[str, dict[str, Any]]
    changes: dict[Key, Change]


def read_published(data: Path, day: date) -> NightFiles | None:
    """A night's files; None where it is not published."""
    tables = [_read(Layout(data).snapshot(kind, day)) for kind in ("videos", "sellers", "changes")]
    if any(table is None for table in tables[:2]):
        return None
    videos, sellers, changes = tables
    assert videos is not None
    assert sellers is not None
    found = {key: Row(*values) for key, values in _by_video(videos, _ROW)}
    expect(len(found) == len(videos), "a video is in the snapshot twice")
    moved = {} if changes is None else {key: Change(*values) for key, values in _by_video(changes, _CHANGE)}
    return NightFiles(found, {row["seller_id"]: row for row in sellers.to_pylist()}, moved)


_ROW = (
    "total_views_cnt",
    "total_video_sale_cnt",
    "region",
    "page_num",
    "position",
    "crawled_at",
    "run_id",
    "carried_from",
)
_CHANGE = ("kind", "days", "total_views_cnt_gain", "since")


def _by_video(table: pa.Table, columns: tuple[str, ...]) -> Any:
    columns_ = (table["seller_id"], table["video_id"], *(table[name] for name in columns))
    lists = [
        (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for column in columns_
    ]
    return (((seller, video), values) for seller, video, *values in zip(*lists, strict=True))


def _read(folder: Path) -> pa.Table | None:
    if not folder.is_dir():
        return None
    return pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(folder.rglob("*.parquet"))])


@dataclass
class Gains:
    """What each video is worth by its `changes/` since its first observation: None once it was gone."""

    values: dict[Key, int | None] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)
    cut_off: set[Key] = field(default_factory=set)

    def add(self, night: NightFiles, cut_off: set[str]) -> None:
        """Take over a night, and compare the videos that were received for it.

        A video that was seen in a night that cut its seller off is missing later, and may return, without
        that it was gone.
        """
        self.cut_off |= {key for key in night.rows if key[0] in cut_off}
        for key, change in night.changes.items():
            expect(change.days is None or change.days > 0, f"{key} moved within {change.days} days")
            expect(change.kind != "gone" or key not in self.gone, f"{key} is gone again")
            is_back = change.kind != "gone" and key in self.gone
            expect(key in self.cut_off or (change.kind == "returned") == is_back, f"{key} is {change.kind}")
            self.gone ^= {key} if change.kind in {"gone", "returned"} else set()
            if change.kind == "gone" or self.values.get(key, 0) is None:
                self.values[key] = None
            elif change.kind == "discovered":
                expect(key not in self.values, f"{key} is discovered again")
                self.values[key] = night.rows[key].views
            else:
                expect((change.kind == "published") == (key not in self.values), f"{key} is {change.kind}")
                self.values[key] = (self.values.get(key) or 0) + (change.gain or 0)
        for key, row in night.rows.items():
            if row.carried_from is None:
                value = self.values.get(key, -1)
                expect(value is None or value == row.views, f"{key} has {row.views}, by its changes {value}")


@dataclass
class Published:
    """The nights that were published and are there still, and what each seller's readings were.

    `rows` has every row that was ever received, by night; `newest` when each video that is still published
    was last received; `excused` the videos that may be missing as of that date. `cut_off` has the sellers
    that a night by another strategy read in part: it publishes no other rows of them.
    """

    nights: dict[date, NightFiles] = field(default_factory=dict)
    rows: dict[date, dict[Key, Row]] = field(default_factory=dict)
    newest: dict[Key, date] = field(default_factory=dict)
    excused: dict[Key, date] = field(default_factory=dict)
    whole: defaultdict[str, list[date]] = field(default_factory=lambda: defaultdict(list))
    gains: Gains | None = field(default_factory=Gains)
    remembered: tuple[Any, ...] = ()
    cut_off: dict[date, set[str]] = field(default_factory=dict)
    harmed: set[date] = field(default_factory=set)

    def add(
        self,
        day: date,
        night: NightFiles | None,
        served: Served,
        listed: set[str],
        *,
        is_torn: bool,
        is_other: bool,
    ) -> None:
        """Take over a night that is over, published or not."""
        for seller_id in listed:
            read = served.reads[day][seller_id]
            if read.is_whole:
                self.whole[seller_id].append(day)
        if is_torn:
            self.gains = None
            self.harmed.add(day)
        if night is None:
            return
        self.nights[day] = night
        self.cut_off[day] = {s for s, row in night.sellers.items() if is_other and _is_cut_off(row)}
        self.rows[day] = {key: row for key, row in night.rows.items() if row.carried_from is None}
        self._note(day, night)
        if day not in self.harmed:
            _check_gone(self, night, day, listed)
        if self.gains is not None:
            self.gains.add(night, self.cut_off[day])

    def own(self, day: date, seller_id: str) -> dict[Key, Row]:
        """The rows that a night has of a seller."""
        return {key: row for key, row in self.nights[day].rows.items() if key[0] == seller_id}

    def _note(self, day: date, night: NightFiles) -> None:
        for key, row in night.rows.items():
            if key[0] not in self.cut_off[day]:
                self.newest[key] = max(row.carried_from or day, self.newest.get(key, date.min))

    def damaged(self, day: date, kind: str) -> None:
        """Nothing of a night can be used any more, or no changes of it."""
        self.gains = None
        if kind != "changes":
            self.harmed.add(day)
            del self.nights[day]
            self._find_newest()

    def _find_newest(self) -> None:
        self.newest = {}
        for day, night in self.nights.items():
            self._note(day, night)

    def remember(self) -> None:
        """The data folder is backed up."""
        whole = {seller_id: [*days] for seller_id, days in self.whole.items()}
        self.remembered = (dict(self.nights), whole, dict(self.excused))

    def restore(self) -> None:
        """The data folder is as it was when it was backed up: nothing read since excuses what is missing."""
        self.gains = None
        nights, whole, excused = self.remembered
        self.nights, self.whole, self.excused = {**nights}, defaultdict(list, whole), {**excused}
        self._find_newest()


def _check_gone(published: Published, night: NightFiles, day: date, listed: set[str]) -> None:
    """Each video that the snapshot lost is gone in its changes, with its last sight, and no other one is.

    Lost is what a seller that was read whole does not have any more, and what has left one that stands on the
    night before.
    """
    gone = {key: change.since for key, change in night.changes.items() if change.kind == "gone"}
    expect({key[0] for key in gone} <= listed, "a video of a seller that is not listed is gone")
    for seller_id in listed & night.sellers.keys():
        known = [d for d, n in published.nights.items() if d < day and seller_id in n.sellers]
        base = max((d for d in known if seller_id not in published.cut_off[d]), default=date.min)
        if any(base <= d < day for d in published.harmed):
            continue
        before = {key: row for d in known if d >= base for key, row in published.own(d, seller_id).items()}
        for key, change in night.changes.items():
            expect(change.kind != "returned" or key not in before, f"{key} returned, and was there")
        if not _is_whole(night, seller_id):
            is_carried = night.sellers[seller_id]["stretches"] is not None and base in known
            before = published.own(base, seller_id) if is_carried else {}
        lost = {key: row.crawled_at for key, row in before.items() if key not in night.rows}
        told = {key: since for key, since in gone.items() if key[0] == seller_id}
        expect(lost == told, f"{seller_id} has lost {_beyond(lost, told)}, not gone {_beyond(told, lost)}")
        counted = night.sellers[seller_id]["gone"] or 0
        expect(counted == len(told), f"{seller_id} counts {counted} that are gone, of {len(told)}")


def _beyond(some: dict[Key, Any], others: dict[Key, Any]) -> list[tuple[Key, Any]]:
    return [(key, value) for key, value in some.items() if others.get(key) != value][:3]


def pages_of(stretch: int) -> tuple[int, int]:
    """The first and the last page of a stretch."""
    return stretch * STRETCH_PAGES + 1, (stretch + 1) * STRETCH_PAGES


def overdue(night: NightFiles, day: date, max_age: int) -> list[str]:
    """Sellers that did not fail, and of which pages are older than they may be."""
    return [
        seller_id
        for seller_id, row in night.sellers.items()
        if row["status"] != "failed" and any(read <= day - timedelta(max_age) for read in _known(row))
    ]


def _known(row: dict[str, Any]) -> list[date]:
    texts = orjson.loads(row["stretches"]) if row["stretches"] is not None else []
    return [date.fromisoformat(text) for text in texts if text is not None]


def check_snapshot(
    published: Published,
    night: NightFiles,
    served: Served,
    day: date,
    listed: set[str],
    max_age: int,
    *,
    is_clean: bool,
) -> None:
    """The snapshot of a night has every row that it must have, as it was received; `sellers/` agrees."""
    expect(night.sellers.keys() == listed, f"sellers {night.sellers.keys() ^ listed} are listed or published")
    for key, row in night.rows.items():
        _check_row(published, served, day, key, row)
        must_leave = row.carried_from and _is_outlived(published, key[0], day, row.carried_from, max_age)
        expect(not must_leave, f"{key} of {row.carried_from} stays, each of its pages was read since")
    for key, last in published.newest.items():
        if key[0] in listed and key not in night.rows:
            _check_missing(published, served, day, key, last, max_age)
    if is_clean:
        for seller_id in listed:
            for video_id in served.reads[day][seller_id].found:
                row_ = night.rows.get((seller_id, video_id))
                expect(
                    row_ is not None and row_.carried_from is None,
                    f"{video_id} was received, and is not there",
                )
    own: defaultdict[str, list[Row]] = defaultdict(list)
    for key, row in night.rows.items():
        own[key[0]].append(row)
    for seller_id, seller in night.sellers.items():
        _check_seller(seller, own[seller_id], served, day, is_clean=is_clean)


def oldest_row(published: Published, night: NightFiles, day: date) -> date:
    """When the oldest row was received, but for sellers of which pages were never read before tonight.

    A video that its last page does not show any more may be there: its row stays until they were read.
    """
    unread = {seller_id for seller_id in night.sellers if None in _base(published, seller_id, day)}
    carried = (row.carried_from for key, row in night.rows.items() if key[0] not in unread)
    return min((each for each in carried if each is not None), default=day)


def _is_outlived(published: Published, seller_id: str, day: date, last: date, max_age: int) -> bool:
    """Whether a row that was last received on a date must leave: it is old, and all pages were read since.

    What is read tonight counts from tomorrow on: the base is chosen before.
    """
    known = _base(published, seller_id, day)
    is_read_again = bool(known) and all(each is not None and each > last for each in known)
    return is_read_again and last < day - timedelta(max_age)


def _base(published: Published, seller_id: str, day: date) -> list[date | None]:
    """When each stretch was read, by the last night that is there and did not cut the seller off."""
    nights, cut_off = published.nights, published.cut_off
    before = [d for d, n in nights.items() if d < day and seller_id in n.sellers.keys() - cut_off[d]]
    row = nights[max(before)].sellers[seller_id] if before else {"stretches": None}
    return [text and date.fromisoformat(text) for text in orjson.loads(row["stretches"] or "[]")]


def _check_row(published: Published, served: Served, day: date, key: Key, row: Row) -> None:
    if row.carried_from is None:
        views = served.views[day].get(key)
        expect(row.views == row.sales == views, f"{key} has {row.views}, the API gave {views}")
        expect(key[1] in served.reads[day][key[0]].found, f"{key} was not received")
        return
    last = published.newest.get(key)
    of_cut_off = key[0] in published.cut_off[row.carried_from]
    of_cut_off &= last is None or _is_cut_off_again(published, key[0], last)
    expect(
        row.carried_from == last or of_cut_off,
        f"{key} is carried from {row.carried_from}, its last row is of {last}",
    )
    then = published.rows[row.carried_from][key]
    expect(row == then._replace(carried_from=row.carried_from), f"{key} is carried as {row}, it was {then}")
    whole = [d for d, n in published.nights.items() if d > row.carried_from and _is_whole(n, key[0])]
    expect(not whole, f"{key} is carried from {row.carried_from}, its seller was read whole on {whole}")


def _is_cut_off(row: dict[str, Any]) -> bool:
    return row["stretches"] is None and row["status"] != "complete"


def _is_whole(night: NightFiles, seller_id: str) -> bool:
    row = night.sellers.get(seller_id)
    return row is not None and row["status"] == "complete" and row["stretches"] is None and not row["carried"]


def _check_missing(
    published: Published, served: Served, day: date, key: Key, last: date, max_age: int
) -> None:
    seller_id, video_id = key
    if published.excused.get(key, date.min) >= last:
        return
    readings: list[Read] = [served.reads[d][seller_id] for d in published.whole[seller_id] if d > last]
    tonight = served.reads[day][seller_id]
    readings += [tonight] if tonight.is_whole else []
    if _is_cut_off_again(published, seller_id, last):
        published.excused[key] = last
        return
    # A page that was null or short may have ended its list.
    since = [read[seller_id] for d, read in served.reads.items() if d > last and seller_id in read]
    readings += [read for read in since if read.is_vague]
    is_gone = any(read.is_vague or video_id not in read.found for read in readings)
    is_old = _is_outlived(published, seller_id, day, last, max_age)
    expect(is_gone or is_old, f"{key} of {last} is lost")
    published.excused[key] = last


def _is_cut_off_again(published: Published, seller_id: str, last: date) -> bool:
    """Whether a later night cut a seller off too, and stands for it: it has as many videos, or more."""
    nights = published.nights
    then = nights[last].sellers.get(seller_id) if last in nights else None
    if then is None or not _is_cut_off(then):
        return False
    later = (d for d in nights if d > last and seller_id in published.cut_off[d])
    return any(nights[d].sellers[seller_id]["videos"] >= then["videos"] for d in later)


def _check_seller(
    seller: dict[str, Any], rows: list[Row], served: Served, day: date, *, is_clean: bool
) -> None:
    seller_id = seller["seller_id"]
    carried = sum(row.carried_from is not None for row in rows)
    read = served.reads[day][seller_id]
    expect(seller["videos"] == len(rows), f"{seller_id} has {len(rows)} rows, {seller['videos']} videos")
    expect(
        (seller["carried"] or 0) == carried,
        f"{seller_id}: {carried} rows are carried, not {seller['carried']}",
    )
    if seller["stretches"] is None:
        expect(
            seller["age"] is None and not carried, f"{seller_id} has rows that are carried, and no stretches"
        )
        is_read = seller["status"] == "complete"
        expect(not is_read or read.is_whole, f"{seller_id} is complete, and was not read whole")
        expect(
            is_read or read.is_vague or not read.is_whole or not is_clean or served.ends_empty,
            f"{seller_id} was read whole, and is {seller['status']}",
        )
        return
    days = [text and date.fromisoformat(text) for text in orjson.loads(seller["stretches"])]
    known = [each for each in days if each is not None]
    age = (day - min(known)).days if known else None
    expect(seller["age"] == age, f"{seller_id} has age {seller['age']}, by its stretches {age}")
    status = "partial" if None in days else "complete"
    told = seller["kept_status"] if seller["status"] == "failed" else seller["status"]
    expect(told == status, f"{seller_id} is {told}, by its stretches {status}")
    for number, each in enumerate(days):
        if each is not None:
            was_read = served.reads[each][seller_id]
            expect(
                was_read.is_vague or was_read.is_read(*pages_of(number)),
                f"{seller_id}: stretch {number} was not read on {each}",
            )
        is_tonight = read.is_read(*pages_of(number))
        expect(
            not is_tonight or each == day or read.is_vague or not is_clean,
            f"{seller_id}: stretch {number} was read tonight, and is of {each}",
        )
