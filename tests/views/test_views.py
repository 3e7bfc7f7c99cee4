"""Each view over a history of odd nights says what follows from what was observed, counted without SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pyarrow.dataset as ds
import pytest
import view_history

from crawler.models.api import COUNT_COLUMNS
from crawler.models.dataset import gain_of
from crawler.views.queries import statement

Row = dict[str, Any]
Key = tuple[Any, ...]
DAY = timedelta(days=1)
LAG = timedelta(hours=48)
VIEWS_CNT, SALES, GMV = "total_views_cnt", "total_video_sale_cnt", "total_video_sale_gmv_amt"
SHORT = {"views": VIEWS_CNT, "sales": SALES, "gmv": GMV}


@dataclass(frozen=True)
class Reading:
    """A seller's rows that were received for a night."""

    seller_id: str
    crawl_date: date
    began: datetime
    ended: datetime
    is_whole: bool


@dataclass
class Truth:
    """What was observed, as the files have it, and what follows from it."""

    rows: list[Row]
    sellers: list[Row]

    @cached_property
    def readings(self) -> list[Reading]:
        """In the order of time."""
        found = [
            Reading(
                s["seller_id"],
                s["crawl_date"],
                s["first_crawled_at"],
                s["last_crawled_at"],
                (s["kept_status"] or s["status"]) == "complete" and s["drift"] == 0 and not s["stretches"],
            )
            for s in self.sellers
            if (s["stretches"] or not s["carried"]) and s["first_crawled_at"] is not None
        ]
        return sorted(found, key=lambda reading: reading.began)

    @cached_property
    def last_known(self) -> dict[str, date]:
        """The crawl date of each seller's last reading after which all its videos are known."""
        complete = {
            (s["seller_id"], s["crawl_date"])
            for s in self.sellers
            if s["stretches"] and (s["kept_status"] or s["status"]) == "complete"
        }
        return {
            each.seller_id: each.crawl_date
            for each in self.readings
            if each.is_whole or (each.seller_id, each.crawl_date) in complete
        }

    @cached_property
    def last_whole(self) -> dict[str, date]:
        """The crawl date of each seller's last whole reading."""
        return {each.seller_id: each.crawl_date for each in self.readings if each.is_whole}

    def before(self, reading: Reading, *, whole: bool) -> Reading | None:
        """The seller's last reading before one, or its last whole one."""
        earlier = [
            each
            for each in self.readings
            if each.seller_id == reading.seller_id
            and (each.is_whole and each.ended < reading.began if whole else each.began < reading.began)
        ]
        return max(earlier, key=lambda each: each.began, default=None)

    @cached_property
    def series(self) -> dict[Key, list[Row]]:
        """The observations of each video in the order of time, each with its gains."""
        found = defaultdict[Key, list[Row]](list)
        for row in sorted(self.rows, key=lambda row: row["crawled_at"]):
            if row["carried_from"] is None:
                found[row["seller_id"], row["video_id"]].append(dict(row))
        readings = {(each.seller_id, each.crawl_date): each for each in self.readings}
        for observed in found.values():
            baseline = self.before(readings[observed[0]["seller_id"], observed[0]["crawl_date"]], whole=True)
            is_new = baseline is not None and observed[0]["create_time"] >= baseline.began - LAG
            for name in COUNT_COLUMNS:
                observed[0][gain_of(name)] = observed[0][name] if is_new else None
            observed[0]["is_new"], observed[0]["is_first"] = is_new, True
            for then, now in pairwise(observed):
                now["is_new"], now["is_first"], now["since"] = False, False, then["crawled_at"]
                for name in COUNT_COLUMNS:
                    now[gain_of(name)] = now[name] - then[name]
        return found

    @property
    def observed(self) -> Iterator[Row]:
        """All observations."""
        for rows in self.series.values():
            yield from rows

    @cached_property
    def carried(self) -> dict[Key, set[datetime]]:
        """By video when rows were received that stood on later nights, on which other pages were read."""
        read = (seller for seller in self.sellers if seller["stretches"] and seller["first_crawled_at"])
        stretches = {(seller["seller_id"], seller["crawl_date"]) for seller in read}
        found = defaultdict[Key, set[datetime]](set)
        for row in self.rows:
            if row["carried_from"] is not None and (row["seller_id"], row["crawl_date"]) in stretches:
                found[row["seller_id"], row["video_id"]].add(row["crawled_at"])
        return found

    def sums(self, keys: tuple[str, ...]) -> dict[Key, Row]:
        """Counters and gains of the observations, summed by keys."""
        found = defaultdict[Key, Row](lambda: defaultdict(float))
        for row in self.observed:
            total = found[tuple(row[key] for key in keys)]
            total["videos"] += 1
            for short, name in SHORT.items():
                total[short] += row[name]
                total[f"{short}_gain"] += row[gain_of(name)] or 0
        return found

    def gains(self, days: int) -> dict[Key, Row]:
        """By video that was observed in the last nights: its gains there, and since when."""
        began = dict[date, datetime]()
        for reading in self.readings:
            began[reading.crawl_date] = min(reading.began, began.get(reading.crawl_date, reading.began))
        counted = {day for day, time in began.items() if time > max(began.values()) - (days - 0.5) * DAY}
        found = dict[Key, Row]()
        for key, rows in self.series.items():
            there = [row for row in rows if row["crawl_date"] in counted]
            if not there:
                continue
            before = [row for row in rows if row["crawl_date"] not in counted]
            gained = {
                gain_of(name): there[-1][name] - (before[-1] if before else there[0])[name]
                if before or not there[0]["is_new"]
                else there[-1][name]
                for name in COUNT_COLUMNS
            }
            found[key] = {**gained, "row": there[-1], "first": there[0], "before": before}
        return found


def whole_truth(data: Path) -> Truth:
    """All that is published below a folder."""
    rows, sellers = (
        ds.dataset(data / kind, partitioning=ds.partitioning(flavor="hive")).to_table().to_pylist()
        for kind in ("videos", "sellers")
    )
    for row in (*rows, *sellers):
        row["crawl_date"] = date.fromisoformat(str(row["crawl_date"]))
    return Truth(rows, sellers)


@pytest.fixture(scope="module")
def data(played: view_history.History) -> Path:
    return played.folder


@pytest.fixture(scope="module")
def truth(data: Path) -> Truth:
    return whole_truth(data)


def query(data: Path, name: str, columns: str = "*") -> list[Row]:
    """The rows of a view. Times are asked for as milliseconds: DuckDB 1.4 needs pytz for anything else."""
    with duckdb.connect() as database:
        found = database.execute(f"SELECT {columns} FROM ({statement(name, data)})")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def by(rows: list[Row], *keys: str) -> dict[Key, Row]:
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert len(found) == len(rows)
    return found


def ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def approx(value: Any) -> Any:
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-6)


def test_the_history_has_every_kind_of_night(truth: Truth, played: view_history.History) -> None:
    nights = {s["crawl_date"] for s in truth.sellers}
    assert max(nights) - min(nights) == (len(nights) - 1) * DAY
    reasons = {s["stop_reason"] for s in truth.sellers}
    assert reasons >= {"short_page", "budget", "error", "top", "carried"}
    assert any(row["carried_from"] for row in truth.rows)
    kinds = {row["is_new"] for row in truth.observed if row["is_first"]}
    assert kinds == {True, False}
    assert len(played.ids) == view_history.SELLERS


def test_coverage(data: Path, truth: Truth) -> None:
    rows = by(
        query(
            data,
            "coverage",
            "* REPLACE (epoch_ms(began) AS began, epoch_ms(ended) AS ended, epoch_ms(since) AS since)",
        ),
        "seller_id",
        "crawl_date",
    )
    assert rows.keys() == {(s["seller_id"], s["crawl_date"]) for s in truth.sellers}
    received = {key for key, row in rows.items() if row["is_received"]}
    assert received == {(each.seller_id, each.crawl_date) for each in truth.readings}
    for each in truth.readings:
        row = rows[each.seller_id, each.crawl_date]
        baseline, last = truth.before(each, whole=True), truth.before(each, whole=False)
        assert (row["is_whole"], row["is_comparable"]) == (
            each.is_whole,
            each.is_whole and baseline is not None,
        )
        assert row["since_date"] == (baseline and baseline.crawl_date)
        assert row["days"] == (None if baseline is None else approx((each.began - baseline.began) / DAY))
        assert bool(row["follows_on"]) == (each.is_whole and baseline is not None and baseline == last)
        assert row["has_changes"]
    assert 0 < sum(row["is_comparable"] for row in rows.values()) < len(received)


def test_latest(data: Path, truth: Truth, played: view_history.History) -> None:
    rows = by(query(data, "latest", f"seller_id, video_id, crawl_date, {VIEWS_CNT}"), "seller_id", "video_id")
    wanted = {
        (seller, row["video_id"]): (night, row[VIEWS_CNT])
        for seller, night in truth.last_known.items()
        if night == truth.last_whole[seller]
        for row in played.catalogues[night].videos(seller)
    }
    in_stretches = {s for s, night in truth.last_known.items() if night != truth.last_whole[s]}
    wanted |= {
        (row["seller_id"], row["video_id"]): (row["crawl_date"], row[VIEWS_CNT])
        for row in truth.rows
        if row["seller_id"] in in_stretches and row["crawl_date"] == truth.last_known[row["seller_id"]]
    }
    assert {key: (row["crawl_date"], row[VIEWS_CNT]) for key, row in rows.items()} == wanted
    assert in_stretches
    assert len({night for night, _ in wanted.values()}) > 1


def test_videos_daily(data: Path, truth: Truth) -> None:
    rows = by(
        query(data, "videos_daily", "* EXCLUDE (create_time, crawled_at, since)"),
        "seller_id",
        "video_id",
        "crawl_date",
    )
    assert len(rows) == len(truth.rows)
    seen = 0
    for row in truth.observed:
        found = rows[row["seller_id"], row["video_id"], row["crawl_date"]]
        for name in COUNT_COLUMNS:
            assert (found[name], found[gain_of(name)]) == (row[name], approx(row[gain_of(name)])), row
        seen += 1
    carried = [row for row in rows.values() if row["is_carried"]]
    assert len(carried) == len(rows) - seen > 0
    assert all(row[gain_of(name)] is None for row in carried for name in COUNT_COLUMNS)


@pytest.mark.parametrize("days", [1, 7, 30])
def test_gains(data: Path, truth: Truth, days: int) -> None:
    columns = "* EXCLUDE (create_time) REPLACE (epoch_ms(since) AS since, epoch_ms(until) AS until)"
    rows, wanted = by(query(data, f"gains_{days}d", columns), "seller_id", "video_id"), truth.gains(days)
    assert rows.keys() == wanted.keys()
    in_stretches = 0
    for key, row in rows.items():
        expected = wanted[key]
        newest, first, before = expected["row"], expected["first"], expected["before"]
        assert {name: row[name] for name in COUNT_COLUMNS} == {name: newest[name] for name in COUNT_COLUMNS}
        for name in COUNT_COLUMNS:
            assert row[gain_of(name)] == approx(expected[gain_of(name)]), (name, row, expected)
        assert row["until"] == ms(newest["crawled_at"])
        if before:
            # From its last observation to its seller's last reading nothing moved, or it was not seen.
            assert ms(before[-1]["crawled_at"]) <= row["since"] < ms(first["crawled_at"])
            moved_first = any(first[gain_of(name)] for name in COUNT_COLUMNS)
            assert row["since"] == ms(before[-1]["crawled_at"]) or not moved_first
            if before[-1]["crawled_at"] in truth.carried[key]:
                in_stretches += 1
                assert row["since"] == ms(before[-1]["crawled_at"])
        else:
            assert row["since"] == ms(first["create_time"] if first["is_new"] else first["crawled_at"])
        assert row["days"] == approx((row["until"] - row["since"]) / 86_400_000)
        per_day = row["days"] >= 0.25 and row[gain_of(VIEWS_CNT)] is not None
        assert row["views_per_day"] == (approx(row[gain_of(VIEWS_CNT)] / row["days"]) if per_day else None)
    assert in_stretches or days > 1


def test_movers(data: Path, truth: Truth) -> None:
    rows = by(query(data, "movers", "* EXCLUDE (create_time, since, until)"), "seller_id", "video_id")
    gains = by(query(data, "gains_1d", "* EXCLUDE (create_time, since, until)"), "seller_id", "video_id")
    moved = {
        key
        for key, found in truth.gains(1).items()
        if found["before"] and max(found[gain_of(name)] for name in SHORT.values()) > 0
    }
    assert rows.keys() == moved
    assert len(moved) > 50
    for rank, per_day in (
        ("views_rank", "views_per_day"),
        ("sales_rank", "sales_per_day"),
        ("gmv_rank", "gmv_per_day"),
    ):
        ranked = sorted(rows.values(), key=lambda row: row[rank])
        assert [row[per_day] for row in ranked] == sorted((gains[key][per_day] for key in rows), reverse=True)
        assert ranked[0][rank] == 1


def test_breakouts(data: Path) -> None:
    gains = query(
        data,
        "gains_1d",
        "* EXCLUDE (since) REPLACE (epoch_ms(create_time) AS create_time, epoch_ms(until) AS until)",
    )
    classes = defaultdict[int, list[float]](list)
    ages = dict[Key, int]()
    for row in [each for each in gains if each["views_per_day"] is not None]:
        age = (row["until"] - row["create_time"]) // 86_400_000
        ages[row["seller_id"], row["video_id"]] = age_class = age.bit_length()
        classes[age_class].append(row["views_per_day"])
    wanted = dict[Key, float]()
    for row in [each for each in gains if each["views_per_day"] is not None]:
        key = row["seller_id"], row["video_id"]
        peers = classes[ages[key]]
        times = row["views_per_day"] / max(1, median(peers))
        below = sum(each < row["views_per_day"] for each in peers) / len(peers)
        if len(peers) >= 20 and below >= 0.99 and times >= 5:
            wanted[key] = times
    rows = by(query(data, "breakouts", "seller_id, video_id, times_median"), "seller_id", "video_id")
    assert {key: row["times_median"] for key, row in rows.items()} == approx(wanted)
    assert wanted


def test_decay(data: Path, truth: Truth) -> None:
    nights = {(each.seller_id, each.crawl_date): each for each in truth.readings}
    wanted = defaultdict[int, Row](lambda: defaultdict(float))
    for observed in truth.series.values():
        for row in observed:
            reading = nights.get((row["seller_id"], row["crawl_date"]))
            if reading is None:
                continue
            baseline = truth.before(reading, whole=True)
            counts = (
                reading.is_whole and baseline is not None and baseline == truth.before(reading, whole=False)
            )
            if not counts or baseline is None or row["is_first"] or row["since"] < baseline.began:
                continue
            total = wanted[int((row["crawled_at"] - row["create_time"]) / DAY)]
            total["videos"] += 1
            total["video_days"] += (reading.began - baseline.began) / DAY
            total["moved"] += any(row[gain_of(name)] for name in COUNT_COLUMNS)
            for short, name in SHORT.items():
                total[f"{short}_gain"] += row[gain_of(name)]
    rows = by(query(data, "decay"), "age_days")
    assert {age for (age,) in rows} == wanted.keys()
    for (age,), row in rows.items():
        expected = wanted[age]
        for name in ("videos", "video_days", "moved", "views_gain", "sales_gain", "gmv_gain"):
            assert row[name] == approx(expected[name]), (age, name)
        assert row["views_per_day"] == approx(expected["views_gain"] / expected["video_days"])
        assert row["share_moved"] == approx(expected["moved"] / expected["videos"])


def test_sellers_daily(data: Path, truth: Truth, played: view_history.History) -> None:
    rows = by(query(data, "sellers_daily"), "seller_id", "crawl_date")
    sums = truth.sums(("seller_id", "crawl_date"))
    readings = {(each.seller_id, each.crawl_date): each for each in truth.readings}
    stretches = {(s["seller_id"], s["crawl_date"]): s["stretches"] for s in truth.sellers}
    assert rows.keys() == stretches.keys()
    for key, row in rows.items():
        total, reading = sums[key], readings.get(key)
        in_stretches = stretches[key] is not None
        for short in SHORT:
            assert row[f"{short}_gain"] == (None if reading is None else approx(total[f"{short}_gain"])), key
        if in_stretches:
            assert row["views_per_day"] is None
            wanted = sum(
                each[VIEWS_CNT] for each in truth.rows if (each["seller_id"], each["crawl_date"]) == key
            )
            assert row["views"] == (wanted if row["status"] == "complete" else None)
        elif reading is not None and not reading.is_whole:
            assert row["videos"] is row["views"] is row["sales"] is row["gmv"] is row["views_per_day"] is None
        elif reading is not None:
            assert [row[name] for name in ("videos", *SHORT)] == approx(
                [total[name] for name in ("videos", *SHORT)]
            )
    for seller, night in truth.last_whole.items():
        now = sum(video[VIEWS_CNT] for video in played.catalogues[night].videos(seller))
        assert rows[seller, night]["views"] == now


def test_creators_daily(data: Path, truth: Truth) -> None:
    rows = by(query(data, "creators_daily"), "user_id", "crawl_date")
    of_night = defaultdict[Key, Row](lambda: defaultdict(float))
    for row in truth.rows:
        total = of_night[row["user_id"], row["crawl_date"]]
        total["videos"] += 1
        for short, name in SHORT.items():
            total[short] += row[name]
    gains, seen = truth.sums(("user_id", "crawl_date")), defaultdict[Key, set[date]](set)
    for row in truth.rows:
        seen[row["user_id"], row["seller_id"]].add(row["crawl_date"])
    read = {
        (s["seller_id"], s["crawl_date"])
        for s in truth.sellers
        if s["carried"] or (s["stretches"] and s["status"] == "complete")
    }
    read |= {(each.seller_id, each.crawl_date) for each in truth.readings if each.is_whole}
    lacking = {
        (user, night)
        for (user, seller), nights in seen.items()
        for night in {s["crawl_date"] for s in truth.sellers}
        if min(nights) <= night <= max(nights) and (seller, night) not in read
    }
    assert {key for key, row in rows.items() if row["videos"]} == of_night.keys()
    for key, row in rows.items():
        if key in of_night:
            assert [row[name] for name in ("videos", *SHORT)] == approx(
                [of_night[key][name] for name in ("videos", *SHORT)]
            )
            assert row["is_whole"] == (key not in lacking)
        for short in SHORT:
            assert (row[f"{short}_gain"] or 0) == approx(gains[key][f"{short}_gain"] if key in gains else 0)
    of_two = {user for user, _ in seen if len({seller for each, seller in seen if each == user}) > 1}
    assert of_two, "a creator of several sellers"
    assert any(row["is_whole"] for row in rows.values())
    assert not all(row["is_whole"] for row in rows.values())


def test_concentration(data: Path, truth: Truth, played: view_history.History) -> None:
    rows = by(query(data, "concentration"), "seller_id")
    for seller, night in truth.last_whole.items():
        if night != truth.last_known[seller]:
            continue
        videos = played.catalogues[night].videos(seller)
        if not videos:
            assert (seller,) not in rows
            continue
        row = rows[(seller,)]
        for short, name in (("views", VIEWS_CNT), ("gmv", GMV)):
            counts = sorted((video[name] for video in videos), reverse=True)
            shares = [count / (sum(counts) or 1) for count in counts]
            assert row["videos"] == len(videos)
            if not sum(counts):
                assert row[f"top_1_{short}"] is None
                continue
            assert row[f"top_1_{short}"] == approx(shares[0])
            assert row[f"top_10_{short}"] == approx(sum(shares[:10]))
            assert row[f"hhi_{short}"] == approx(sum(share * share for share in shares))
            enough = next(n for n in range(1, len(shares) + 1) if sum(shares[:n]) >= 0.8 - 1e-12)
            assert row[f"videos_for_80_{short}"] == enough


def test_restatements(data: Path, truth: Truth) -> None:
    rows = by(
        query(data, "restatements", "* EXCLUDE (create_time, since, until)"),
        "seller_id",
        "video_id",
        "crawl_date",
    )
    fallen = {
        (row["seller_id"], row["video_id"], row["crawl_date"]): row[gain_of(VIEWS_CNT)]
        for row in truth.observed
        if not row["is_first"] and min(row[gain_of(name)] for name in COUNT_COLUMNS) < 0
    }
    assert {key: row[gain_of(VIEWS_CNT)] for key, row in rows.items()} == fallen
    assert fallen
