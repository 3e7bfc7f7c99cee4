"""`crawler changes`: totals, movers, newcomers and losses of a night, as tables, JSON and CSV."""

from __future__ import annotations

import csv
import json
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from conftest import SMALL, Night, stand_in

from crawler.cli import cli
from crawler.history import movers
from crawler.history.movers import night_changes
from crawler.models.api import COUNT_COLUMNS, SortField
from crawler.models.dataset import gain_of
from crawler.models.errors import InputError, OutputError
from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import SimulatorOptions
from crawler.store.layout import CHANGES, SELLERS, Layout, parquet_file
from crawler.store.schema import CHANGES_SCHEMA, OUTDATED_BY, RESTS_ON, RUN, SUMMED_SELLER_SCHEMA

Row = dict[str, Any]
BEFORE, DAY = date(2026, 11, 22), date(2026, 11, 23)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KINDS = ("published", "discovered", "changed", "corrected", "gone", "returned")


def change(kind: str, seller: int, video: int, views: int | None, gain: int | None, **others: Any) -> Row:
    """A row of `changes/`: all its counters are `views`, and gained `gain`."""
    row = {
        "seller_id": f"749466209897595118{seller}",
        "video_id": f"71752688921936901{video:02}",
        "region": "MY",
        "create_time": NOON,
        "kind": kind,
        "since": None if kind in ("published", "discovered") else NOON,
        "until": NOON,
        "days": None if kind == "discovered" else 1.0,
    }
    return (
        row | dict.fromkeys(COUNT_COLUMNS, views) | dict.fromkeys(map(gain_of, COUNT_COLUMNS), gain) | others
    )


ROWS = [
    change("changed", 1, 0, 1000, 10),
    change("changed", 1, 1, 5000, 200),
    change("corrected", 1, 2, 90, -5, total_video_sale_cnt_gain=3),
    change("discovered", 1, 3, 7000, None),
    change("gone", 2, 4, None, None),
    change("changed", 2, 5, 400, 200),
    change("published", 2, 6, 900, 900),
    change("returned", 2, 7, 50, 0, total_video_sale_gmv_amt_gain=2.5),
    change("changed", 2, 8, None, None),
]


def write(
    data: Path,
    rows: list[Row],
    day: date = DAY,
    run: str = "run-b",
    rests_on: dict[str, str] | None = None,
    published: str | None = None,
) -> Path:
    """The changes of a run; what is published is that run's, or that of `published`."""
    changes = parquet_file(Layout(data).snapshot(CHANGES, day), run)
    sellers = parquet_file(Layout(data).snapshot(SELLERS, day), published or run)
    for path in (changes, sellers):
        path.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array([row[each.name] for row in rows], each.type) for each in CHANGES_SCHEMA]
    noted = {RUN: run, RESTS_ON: orjson.dumps(rests_on or {}).decode()}
    with pq.ParquetWriter(changes, CHANGES_SCHEMA) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=CHANGES_SCHEMA))
        writer.add_key_value_metadata(noted)
    pq.write_table(SUMMED_SELLER_SCHEMA.empty_table(), sellers)
    return changes


def shown(data: Path, *arguments: str, width: int = 80) -> Result:
    return CliRunner().invoke(
        cli, ["changes", "--data", str(data), *arguments], env={"COLUMNS": str(width)}, standalone_mode=False
    )


def printed(data: Path, *arguments: str, width: int = 80) -> str:
    result = shown(data, *arguments, width=width)
    assert (result.return_value, result.exception) == (0, None)
    return result.stdout


def videos(text: str, title: str) -> list[int]:
    """The numbers of the videos that are listed under a title, in their order."""
    lines = text.partition(title)[2].partition("\n\n")[0].partition("└")[0].splitlines()
    cells = [line.split("│")[2].strip() for line in lines if line.startswith("│")]
    return [int(cell.removeprefix("71752688921936901")) for cell in cells]


def test_tables_show_totals_movers_newcomers_and_losses(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    text = printed(tmp_path)
    assert text.startswith("Changes of crawl date 2026-11-23, run run-b\n")
    totals = {
        cells[1]: cells[2:6]
        for line in text.partition("Movers")[0].splitlines()
        if len(cells := line.split("│")) == 7
    }
    assert {kind.strip(): [cell.strip() for cell in cells] for kind, cells in totals.items()} == {
        "published": ["1", "+900", "+900", "+900.00"],
        "discovered": ["1", "-", "-", "-"],
        "changed": ["4", "+410", "+410", "+410.00"],
        "corrected": ["1", "-5", "+3", "-5.00"],
        "gone": ["1", "-", "-", "-"],
        "returned": ["1", "+0", "+0", "+2.50"],
    }
    assert videos(text, "Movers") == [1, 5, 0]
    assert videos(text, "Newcomers") == [3, 6]
    assert videos(text, "Losses") == [4]


@pytest.mark.parametrize(
    ("by", "movers"), [("views", [1, 5, 0]), ("sales", [1, 5, 0, 2]), ("gmv", [1, 5, 0, 7])]
)
def test_movers_are_ordered_by_what_is_asked_for(tmp_path: Path, by: str, movers: list[int]) -> None:
    write(tmp_path, ROWS)
    assert videos(printed(tmp_path, "--by", by), "Movers") == movers
    assert videos(printed(tmp_path, "--by", by, "--top", "2"), "Movers") == movers[:2]


def test_lists_do_not_depend_on_how_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        change(KINDS[n % 6], n // 20, n % 20, n * 37 % 91, None if n % 6 in (1, 4) else n * 53 % 97 - 9)
        for n in range(100)
    ]
    write(tmp_path, rows)
    whole = night_changes(tmp_path, DAY, SortField.VIEWS, 7)
    monkeypatch.setattr(movers, "_BATCH_ROWS", 9)
    parts = night_changes(tmp_path, DAY, SortField.VIEWS, 7)
    assert parts == whole
    gains = sorted(
        (row["total_views_cnt_gain"] for row in rows if row["kind"] in KINDS[2:4] + KINDS[5:]), reverse=True
    )
    assert whole.movers["total_views_cnt_gain"].to_pylist() == gains[:7]
    assert whole.losses["kind"].to_pylist() == ["gone"] * 7


def test_the_newest_date_is_shown_unless_another_is_named(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    write(tmp_path, ROWS[:1], BEFORE, "run-a")
    (tmp_path / "changes" / "crawl_date=2026-11-30").mkdir()
    assert "2026-11-23" in printed(tmp_path)
    assert "run run-a" in printed(tmp_path, "--crawl-date", "2026-11-22")


def test_empty_lists_and_nulls(tmp_path: Path) -> None:
    write(tmp_path, [])
    text = printed(tmp_path)
    assert "Movers: the largest gains of views: none" in text
    assert "Newcomers by views: none" in text
    assert "Losses: none" in text
    write(tmp_path, [change("discovered", 1, 1, None, None, region=None, create_time=None, days=None)])
    assert videos(printed(tmp_path, width=140), "Newcomers") == [1]


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("by", ["views", "sales", "gmv"])
def test_no_figure_is_cut_off_however_narrow_the_terminal(tmp_path: Path, width: int, by: str) -> None:
    rows = [*ROWS, change("changed", 1, 9, 123_456_789, 23_456_789, region="a [red]ß\x1b\n" * 30)]
    write(tmp_path, rows)
    text = printed(tmp_path, "--by", by, width=width)
    assert max(map(len, text.splitlines())) <= max(width, 64)
    assert "…" not in text.replace(r"a [red]ß\x1b\na [red]ß\…", "")
    assert "+23,456,789" in text
    assert videos(text, "Movers")[0] == 9
    assert ("region" in text) == (width == 140)
    assert all(each.isprintable() for each in text.replace("\n", ""))


def test_json_is_one_document(tmp_path: Path) -> None:
    write(tmp_path, ROWS, rests_on={"2026-11-22": "run-a"})
    found = json.loads(printed(tmp_path, "--json", "--top", "2", "--by", "gmv"))
    assert list(found) == [
        *("crawl_date", "run_id", "rests_on", "outdated_by", "by", "top", "totals"),
        *("movers", "newcomers", "losses"),
    ]
    assert (found["crawl_date"], found["run_id"], found["by"], found["top"]) == (
        "2026-11-23",
        "run-b",
        "gmv",
        2,
    )
    assert found["rests_on"] == {"2026-11-22": "run-a"}
    assert found["outdated_by"] == []
    assert list(found["totals"]) == list(KINDS)
    assert found["totals"]["gone"] == {"videos": 1, "views_gain": None, "sales_gain": None, "gmv_gain": None}
    mover = found["movers"][0]
    assert list(mover) == CHANGES_SCHEMA.names
    assert (mover["since"], mover["days"], mover["total_views_cnt"]) == (
        "2026-11-23T12:00:00.000Z",
        1.0,
        5000,
    )
    assert found["losses"][0]["total_views_cnt"] is None


def test_csv_has_the_rows_of_the_lists(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    head, *rows = csv.reader(printed(tmp_path, "--csv").splitlines())
    assert head == ["list", *CHANGES_SCHEMA.names]
    assert [row[0] for row in rows] == ["mover"] * 3 + ["newcomer"] * 2 + ["loss"]
    first = dict(zip(head, rows[0], strict=True))
    assert (first["video_id"], first["total_views_cnt_gain"]) == ("7175268892193690101", "200")
    assert first["until"] == "2026-11-23T12:00:00.000Z"
    assert dict(zip(head, rows[-1], strict=True))["total_views_cnt"] == ""


HOSTILE = "\x1b[31mRED\r\n"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        (" @SUM(A1)", "' @SUM(A1)"),
        ("-2", "'-2"),
        ("+2", "'+2"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        (HOSTILE, r"\x1b[31mRED\r\n"),
        ("A-B=C", "A-B=C"),
        ('a,"b"', 'a,"b"'),
    ],
)
def test_texts_in_a_csv_are_no_formulas_and_no_control_characters(
    tmp_path: Path, text: str, cell: str
) -> None:
    write(tmp_path, [change("changed", 1, 0, 1000, 10, region=text, total_shares_cnt_gain=-3)])
    head, row = csv.reader(printed(tmp_path, "--csv").splitlines())
    found = dict(zip(head, row, strict=True))
    assert (found["region"], found["total_shares_cnt_gain"]) == (cell, "-3")


def test_texts_in_a_table_are_no_control_characters(tmp_path: Path) -> None:
    write(tmp_path, [change("changed", 1, 0, 1000, 10, region=HOSTILE, video_id=HOSTILE)])
    text = printed(tmp_path)
    assert "\x1b" not in text
    assert r"\x1b[31mRED\r\n" in text


def mark(data: Path, day: date, run: str, marks: dict[str, str]) -> None:
    """Note in a date's `sellers/` by which dates its changes are out of date."""
    with pq.ParquetWriter(
        parquet_file(Layout(data).snapshot(SELLERS, day), run), SUMMED_SELLER_SCHEMA
    ) as writer:
        writer.add_key_value_metadata({OUTDATED_BY: orjson.dumps(marks).decode()})


def test_changes_that_are_out_of_date_say_so(tmp_path: Path) -> None:
    write(tmp_path, [], BEFORE, "run-c")
    write(tmp_path, ROWS, rests_on={"2026-11-20": "run-0", "2026-11-22": "run-a"})
    warning = (
        "changes of 2026-11-23 are out of date since 2026-11-22 was published: crawler changes --rebuild"
    )
    for arguments in ((), ("--json",), ("--csv",)):
        assert warning in shown(tmp_path, *arguments).stderr
    assert json.loads(printed(tmp_path, "--json"))["outdated_by"] == ["2026-11-22"]
    write(tmp_path, ROWS, rests_on={"2026-11-22": "run-c"})
    assert shown(tmp_path).stderr == ""
    mark(tmp_path, DAY, "run-b", {"2026-11-19": "run-z"})
    assert json.loads(printed(tmp_path, "--json"))["outdated_by"] == ["2026-11-19"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "no changes of any date under .*; make them by: crawler changes --rebuild .*--data /"),
        (
            ("--crawl-date", "2026-11-22"),
            "no changes of 2026-11-22 .*; make them by: crawler changes --rebuild",
        ),
        (
            ("--crawl-date", "2026-11-23"),
            "no snapshot of 2026-11-23 is published .*: the newest is of 2026-11-22",
        ),
        (("--crawl-date", "yesterday"), "no crawl date"),
    ],
)
def test_no_changes_are_a_two(tmp_path: Path, arguments: tuple[str, ...], hint: str) -> None:
    write(tmp_path, [], BEFORE).unlink()
    error = shown(tmp_path, *arguments).exception
    assert isinstance(error, InputError)
    assert re.search(hint, str(error))


def test_a_folder_without_snapshots_is_a_two(tmp_path: Path) -> None:
    for data, hint in ((tmp_path, "no snapshot is published"), (tmp_path / "none", "is no folder")):
        error = shown(data).exception
        assert isinstance(error, InputError)
        assert hint in str(error)


def test_changes_of_another_snapshot_and_damaged_ones_are_an_eight(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS, published="run-c")
    for spoil in (lambda: None, lambda: path.write_bytes(b"PAR1")):
        spoil()
        error = shown(tmp_path).exception
        assert isinstance(error, OutputError)
        assert "the changes of 2026-11-23 cannot be used" in str(error)
        assert "make them anew by: crawler changes --rebuild" in str(error)


def views_on(day: date, ids: list[str]) -> dict[str, int]:
    catalogue = Catalogue(SMALL, day)
    return {row["video_id"]: row["total_views_cnt"] for seller in ids for row in catalogue.videos(seller)}


def test_two_nights_of_the_stand_in_show_what_it_moved(tmp_path: Path) -> None:
    """The second night's new videos were created the day before, so that they are published."""
    today = datetime.now(UTC).date()
    days, ids = (today - timedelta(days=1), today), Catalogue(SMALL).seller_ids(25)
    with stand_in(SimulatorOptions(SMALL, today)) as simulator:
        job = Night(tmp_path, simulator.url)
        for day in days:
            simulator.catalogue.day = day
            job.run(job.sellers(ids), "--crawl-date", day.isoformat())
    found = json.loads(job.call("changes", "--json", "--top", "100000").stdout)
    before, after = (views_on(day, ids) for day in days)
    gains = {video: views - before[video] for video, views in after.items() if video in before}
    assert {row["video_id"]: row["total_views_cnt_gain"] for row in found["movers"]} == {
        video: gain for video, gain in gains.items() if gain > 0
    }
    assert {row["video_id"]: row["kind"] for row in found["newcomers"]} == dict.fromkeys(
        after.keys() - before.keys(), "published"
    )
    assert {row["video_id"] for row in found["losses"]} == before.keys() - after.keys()
    fallen = [gain for gain in gains.values() if gain < 0]
    totals = {kind: found["totals"][kind]["views_gain"] for kind in ("changed", "corrected")}
    assert totals == {"changed": sum(gains.values()) - sum(fallen), "corrected": sum(fallen)}
    assert fallen
    assert min(len(found[name]) for name in ("movers", "newcomers", "losses")) > 2
    rebuilt_as_it_was(job, days[1], found)


def rebuilt_as_it_was(job: Night, day: date, found: Any) -> None:
    """Changes that are lost or damaged are made anew from the snapshots."""
    counts = {kind: total["videos"] for kind, total in found["totals"].items()}
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    (path,) = Layout(job.data).snapshot(CHANGES, day).iterdir()
    path.write_bytes(b"PAR1")
    assert job.call("changes").returncode == 8
    assert job.call("changes", "--rebuild").stdout == f"changes of {day} made anew: {kinds}\n"
    assert json.loads(job.call("changes", "--json", "--top", "100000").stdout) == found
    assert job.call("changes", "--rebuild").stdout == "no changes had to be made anew\n"
    shutil.rmtree(job.data / "changes")
    again = json.loads(job.call("changes", "--rebuild", "--crawl-date", str(day), "--json").stdout)
    assert again == {"rebuilt": {str(day): counts}, "failed": {}, "notes": []}
    assert json.loads(job.call("changes", "--json", "--top", "100000").stdout) == found


def test_faulty_options_are_usage_errors(tmp_path: Path) -> None:
    for arguments in (["--by", "likes"], ["--top", "0"], ["--rebuild", "--csv"], ["--json", "--csv"]):
        assert isinstance(shown(tmp_path, *arguments).exception, click.UsageError)
