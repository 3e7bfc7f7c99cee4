"""Nights of `--strategy freshest` beside all else that a night, or a command after it, may do."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from test_freshest_nights import BEGIN, Nights

from crawler.history.bases import IntactVideos, KnownSnapshot, bases
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.report.head import as_head
from crawler.store.layout import SELLERS, VIDEOS


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def lost_of_carried(nights: Nights, number: int) -> set[tuple[str, str]]:
    """Rows that a night lacks beside the one before, of sellers that were not read whole."""
    sellers = nights.sellers(number)
    whole = {
        seller_id
        for seller_id, row in sellers.items()
        if row["stretches"] is None and row["status"] == "complete"
    }
    lost = nights.videos(number - 1).keys() - nights.videos(number).keys()
    return {key for key in lost if key[0] not in whole}


def test_a_held_night_that_is_accepted_amid_its_recheck_has_the_rows_of_its_bases(nights: Nights) -> None:
    nights.run(0, sellers=40)
    nights.run(1, "--budget", "60", sellers=40)
    nights.run(2, "--budget", "60", sellers=40, outage="zeros", code=10)
    nights.run(2, "--budget", "61", sellers=40, code=10)
    done = nights.job.call("publish", "--crawl-date", nights.day(2), "--accept")
    assert done.returncode == 0, done.stderr
    assert not lost_of_carried(nights, 2)
    assert any(row["carried"] and row["pages"] for row in nights.sellers(2).values())


def test_rows_read_anew_keep_their_age(nights: Nights) -> None:
    settings = nights.folder / "config" / "crawler.toml"
    settings.parent.mkdir()
    settings.write_text("[output]\nkeep_raw = true\n")
    nights.run(0)
    nights.run(1, "--budget", "40", "--max-age", "6")
    before = nights.sellers(1)
    for path in (nights.job.data / "state" / "journal").glob(f"{nights.day(1)}*.sqlite*"):
        path.unlink()
    done = nights.job.call("rebuild", "--crawl-date", nights.day(1))
    assert done.returncode == 0, done.stderr
    after, known = nights.sellers(1), ("status", "videos", "carried", "age", "stretches")
    assert any(row["stretches"] for row in before.values())
    for seller_id, row in before.items():
        assert [after[seller_id][name] for name in known] == [row[name] for name in known]
        assert after[seller_id]["expected_drift"] == pytest.approx(row["expected_drift"])


def test_a_night_without_a_credit_says_so(nights: Nights) -> None:
    nights.run(0)
    report = nights.run(1, "--budget", "0", code=3)
    assert (report["charged"], report["published"]) == (0, False)
    nights.run(2, "--budget", "30")
    assert nights.run(2, "--budget", "30")["charged"] == 0


def test_rows_that_are_carried_hide_no_outage_of_a_column(nights: Nights) -> None:
    nights.run(0)
    nights.run(1, "--budget", "40")
    report = nights.run(2, "--budget", "40", outage="no-region", code=10)
    assert "1 field is missing in all" in " ".join(report["plausibility"]["reasons"])
    assert report["fields"]["missing"] == ["region"]


def test_repair_is_not_advised_where_it_repairs_nothing(nights: Nights) -> None:
    nights.run(0)
    report = nights.run(1, "--budget", "100", "--lookahead", "off", "--repair-drift", drift=4)
    assert (report["charged"], report["drift"]["gaps"]) == (100, 2)
    (note,) = [note for note in report["notes"] if "--repair-drift" in note]
    assert "the next reading of these pages shows such rows" in note
    nights.run(2, "--budget", "30")
    assert all(row["drift"] == 0 for row in nights.sellers(2).values())


def test_a_budget_spent_as_meant_is_no_message_and_carried_rows_are_told(nights: Nights) -> None:
    nights.run(0, sellers=30)
    for number in (1, 2):
        report = nights.run(number, "--budget", "60", "--max-age", "6", sellers=30)
        # On the second night a seller has a page more than was expected: it is cut off.
        assert (report["exit_code"], report["message"], report["charged"]) == (0, "", 60)
        carried, age = report["rows"]["carried"], report["freshness"]["oldest_days"]
        assert f", {carried:,} of them carried; age of the oldest page: {age} d" in as_head(report)


def unexpected(day: date, error: UnreadableError) -> None:
    raise AssertionError(f"{day}: {error}")


def test_in_another_sorting_no_row_counts_as_younger_than_it_is(nights: Nights) -> None:
    nights.run(0)
    nights.run(1, "--budget", "60", "--max-age", "6")
    day, data = BEGIN + timedelta(1), nights.job.data
    files, videos = (SnapshotFiles.published(data, kind, day) for kind in (SELLERS, VIDEOS))
    snapshot, listed = (
        KnownSnapshot(day, files, partial(IntactVideos, videos)),
        pa.array([*nights.sellers(1)], pa.string()),
    )
    views, sales = (
        dict(bases(iter([snapshot]), listed, day + timedelta(1), 6, sorting, unexpected).items())
        for sorting in ("views desc", "sales desc")
    )
    mixed = {name for name, base in views.items() if {BEGIN, day} <= {*base.last_read}}
    assert mixed
    assert all({*sales[name].last_read} <= {BEGIN, None} for name in mixed)
