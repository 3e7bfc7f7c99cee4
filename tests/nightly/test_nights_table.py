"""`nights/`: a row for each crawl date that was wanted, however it ended, for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import DATE, SMALL, Night
from launcher import LAUNCHER

from crawler.models.night import RunFacts
from crawler.nightly.nights import write_nights_of
from crawler.options import RunSettings
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import Outcome
from crawler.store.nights_table import write_nights
from crawler.store.schema import NIGHTS_FILE_SCHEMA as NIGHTS_SCHEMA

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
Rows = dict[date, dict[str, Any]]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PUBLISHED = RunFacts(
    strategy="depth-first", every=1, is_late=False, is_published=True, is_held=False, published_rows=100
)


def table(data: Path) -> Rows:
    """The rows of the one file, by date."""
    (path,) = (data / "nights").iterdir()
    assert path.suffix == ".parquet"
    found = pq.ParquetFile(path).read()
    assert found.schema.equals(NIGHTS_SCHEMA)
    rows = {row["crawl_date"]: row for row in found.to_pylist()}
    assert list(rows) == sorted(rows)
    assert len(rows) == found.num_rows
    return rows


def outcomes(data: Path) -> dict[int, str]:
    return {day.day: row["outcome"] for day, row in table(data).items()}


def begun(data: Path) -> Rows:
    return {day: row for day, row in table(data).items() if row["outcome"] != "missing"}


def add_run(
    ledger: Ledger, number: int, code: int | None = 0, facts: RunFacts | None = PUBLISHED, name: str = ""
) -> None:
    """A run of a day of November, begun at one in the morning; without a code it was killed."""
    day, began = date(2026, 11, number), datetime(2026, 11, number, 1, tzinfo=UTC)
    run_id = name or f"run-{day}"
    ledger.begin(run_id, day, began.isoformat(), facts and RunFacts(every=1))
    ledger.reserve(run_id, day, None, lambda _left: 30)
    if code is not None:
        failed = 1 if code == 4 else 0
        ledger.finish(
            run_id, (began + timedelta(minutes=4)).isoformat(), code, Outcome(100, 10, 9, failed, 0)
        )
        if facts is not None:
            ledger.note(run_id, facts)


def written(data: Path, *, run_id: str = "r", now: datetime = NOW, **settings: Any) -> Rows:
    with Ledger(data) as ledger:
        write_nights_of(RunSettings(data=data, **settings), ledger, run_id, now)
    return table(data)


def test_each_wanted_date_has_a_row_whatever_became_of_it(tmp_path: Path) -> None:
    nothing = replace(PUBLISHED, is_published=False, published_rows=None)
    with Ledger(tmp_path) as ledger:
        add_run(ledger, 10)
        add_run(ledger, 12, 9, nothing)
        add_run(ledger, 13, 10, replace(nothing, is_held=True, verdict="implausible"))
        add_run(ledger, 14, 3)
        add_run(ledger, 15, None)
        add_run(ledger, 20, 4, replace(PUBLISHED, verdict="odd", is_late=True))
        ledger.begin("20-check", date(2026, 11, 21), "2026-11-21T01:00:00Z")
        add_run(ledger, 22, 130, name="first")
        add_run(ledger, 22, None, name="second")
    rows = written(tmp_path)
    assert outcomes(tmp_path) == {
        10: "complete",
        11: "missing",
        12: "failed",
        13: "held",
        14: "closed",
        15: "failed",
        16: "missing",
        17: "missing",
        18: "missing",
        19: "missing",
        20: "closed",
        21: "missing",
        22: "unfinished",
    }
    names = ("verdict", "late", "rows", "credits", "sellers", "failed", "runs", "run_id", "exit_code")
    assert [rows[date(2026, 11, 20)][name] for name in names] == [
        *("odd", True, 100, 30, 10, 1, 1, "run-2026-11-20", 4)
    ]
    assert [rows[date(2026, 11, 22)][name] for name in names] == [
        *(None, False, 100, 60, 10, 0, 2, "second", None)
    ]
    missing = rows[date(2026, 11, 11)]
    assert {name for name, value in missing.items() if value is not None} == {
        *("crawl_date", "outcome", "credits", "runs")
    }
    assert rows[date(2026, 11, 14)]["closed_at"] == datetime(2026, 11, 15, 13, tzinfo=UTC)
    assert rows[date(2026, 11, 22)]["closed_at"] is None
    # every second night was wanted only later
    assert written(tmp_path, every=2) == rows


def test_whether_pages_came_late_is_told_only_where_a_run_knew(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        add_run(ledger, 10, facts=None)
        add_run(ledger, 11, None)
        add_run(ledger, 12, facts=None, name="earlier version")
        add_run(ledger, 12, name="this version")
        add_run(ledger, 13, facts=replace(PUBLISHED, is_late=True), name="late")
        add_run(ledger, 13, None, name="killed")
    lates = {day.day: row["late"] for day, row in written(tmp_path).items() if row["runs"]}
    assert lates == {10: None, 11: None, 12: False, 13: True}


def test_what_a_ledger_that_was_lost_knew_is_kept(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for number in (1, 3, 4, 6):
            add_run(ledger, number)
    before = written(tmp_path, now=datetime(2026, 11, 8, 12, tzinfo=UTC))
    (tmp_path / "state" / "ledger.sqlite").unlink()
    with Ledger(tmp_path) as ledger:
        # of the fourth what the journal knew, of the sixth a crawl since then
        add_run(ledger, 4, facts=None, name="x-recovered")
        add_run(ledger, 6, 3, name="anew")
    rows = written(tmp_path, run_id="later", now=datetime(2026, 11, 8, 12, tzinfo=UTC))
    assert outcomes(tmp_path) == {
        1: "complete",
        2: "missing",
        3: "complete",
        4: "complete",
        5: "missing",
        6: "closed",
        7: "missing",
    }
    for number in (1, 2, 3, 4):
        assert rows[date(2026, 11, number)] == before[date(2026, 11, number)]


@pytest.mark.parametrize("damage", ["flip", "gone", "rubbish", "digests"])
def test_a_damaged_table_is_made_anew(tmp_path: Path, damage: str) -> None:
    with Ledger(tmp_path) as ledger:
        add_run(ledger, 21)
        add_run(ledger, 22, 4)
    before = written(tmp_path)
    (path,) = (tmp_path / "nights").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "digests":
        (tmp_path / "state" / "published" / "nights.sha256").write_text("no\ndigests")
    elif damage == "gone":
        path.unlink()
    else:
        content[len(content) // 3] ^= 1
        path.write_bytes(content if damage == "flip" else b"rubbish")
    assert written(tmp_path, run_id="later") == before


def test_a_table_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Ledger(tmp_path) as ledger:
        add_run(ledger, 22)
        (tmp_path / "nights").write_text("in the way")
        (tmp_path / "state" / "published").mkdir()
        (tmp_path / "state" / "published" / "nights.sha256").mkdir()
        write_nights_of(RunSettings(data=tmp_path), ledger, "r", NOW)
    (record,) = caplog.records
    assert "cannot write nights/: " in record.getMessage()


def test_readers_see_the_old_table_or_the_new_one(tmp_path: Path) -> None:
    """One connection reads by a glob, as a person would, while the table is exchanged again and again."""
    seen, broken, stopped = set[int](), list[Any](), threading.Event()

    def read() -> None:
        connection = duckdb.connect()
        query = f"SELECT runs, count(*), sum(credits) FROM '{tmp_path}/nights/*.parquet' GROUP BY runs"
        while not stopped.is_set():
            try:
                found = connection.execute(query).fetchall()
            except duckdb.IOException:
                continue  # exchanged between listing and opening
            seen.add(found[0][0])
            if len(found) != 1 or found[0][1:] != (200, 200 * found[0][0]):
                broken.append(found)

    def rows(number: int) -> list[dict[str, Any]]:
        first = date(2026, 1, 1)
        same = {"outcome": "complete", "credits": number, "runs": number}
        return [{"crawl_date": first + timedelta(days=day), **same} for day in range(200)]

    write_nights(tmp_path, "0", rows(1))
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 120):
        write_nights(tmp_path, f"{number}", rows(number))
    stopped.set()
    reader.join()
    assert not broken
    assert len(seen) > 3


def test_nights_that_were_cut_off_failed_held_accepted_and_closed(night: Begin) -> None:
    """Whatever ended each night, its row is there once the run has ended; and so it stays without `runs/`."""
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(12)
    source = job.sellers(ids)
    job.run(source, "--strategy", "breadth-first", "--budget", "8", code=3)
    today, day = date.fromisoformat(DATE), timedelta(days=1)
    row = table(job.data)[today]
    names = ("outcome", "strategy", "sort", "order", "budget", "credits", "exit_code", "late", "closed_at")
    assert [row[name] for name in names] == [
        *("unfinished", "breadth-first", "views", "desc", 8, 8, 3, True, None)
    ]
    assert row["rows"] == len(job.ids())
    assert row["complete"] + row["partial"] + row["pending"] == row["sellers"] == 12
    report = job.run(source, "--top", "20")
    row = table(job.data)[today]
    assert (row["outcome"], row["top"], row["runs"], row["verdict"]) == ("complete", 20, 2, "plausible")
    assert row["certain_above"] == report["certain_above"] is not None

    ill, _ = night(SimulatorOptions(SMALL, faults=parse_faults("status=500:1")))
    ill.run(source, "--crawl-date", "2026-11-24", "--patience", "0.2", code=9)
    row = table(job.data)[today + day]
    assert (row["outcome"], row["rows"], row["exit_code"]) == ("failed", None, 9)
    job.run(source, "--crawl-date", "2026-11-26", "--budget", "5", code=3)
    assert job.call("close", "2026-11-26").returncode == 0
    rows = table(job.data)
    assert (rows[today + 2 * day]["outcome"], rows[today + 3 * day]["outcome"]) == ("missing", "closed")
    assert rows[today + 3 * day]["closed_at"] is not None
    as_read(job.data, rows)


def as_read(data: Path, rows: Rows) -> None:
    """All readers find these rows, and the dates as dates."""
    glob = str(data / "nights" / "*.parquet")
    found = duckdb.connect().execute(f"SELECT crawl_date, outcome FROM '{glob}'").fetchall()
    assert found == [(day, row["outcome"]) for day, row in rows.items()]
    assert pl.scan_parquet(data / "nights").collect()["crawl_date"].to_list() == list(rows)
    assert list(pd.read_parquet(data / "nights")["crawl_date"]) == list(rows)


def test_a_night_that_is_held_and_accepted_says_so(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(12))
    job.run(source, "--crawl-date", "2026-11-22")
    ill, _ = night(SimulatorOptions(SMALL, outage="empty"))
    ill.run(source, code=10)
    held = table(job.data)[date.fromisoformat(DATE)]
    assert (held["outcome"], held["verdict"], held["rows"]) == ("held", "implausible", None)
    assert job.call("publish", "--crawl-date", DATE, "--accept").returncode == 0
    accepted = table(job.data)[date.fromisoformat(DATE)]
    assert accepted["outcome"] != "held"
    assert (accepted["verdict"], accepted["runs"]) == ("implausible", 2)
    assert accepted["rows"] is not None


@pytest.mark.parametrize("step", ["nights.staged", "nights.digests", "nights.exchanged"])
def test_a_kill_while_the_table_is_exchanged_leaves_a_whole_one(night: Begin, step: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    job.run(source, "--crawl-date", "2026-11-21")
    words = ["run", str(source), "--crawl-date", "2026-11-22", "--qps", "1000"]
    LAUNCHER.start(words, job.environ(), job.folder, at=f"{step}:1").communicate()
    rows = begun(job.data)
    assert len(rows) == (2 if step == "nights.exchanged" else 1)
    digests = dict(
        line.split("  ")[::-1]
        for line in (job.data / "state/published/nights.sha256").read_text().splitlines()
    )
    (path,) = (job.data / "nights").iterdir()
    assert digests[f"nights/{path.name}"] == sha256(path.read_bytes()).hexdigest()
    job.run(source)
    later = begun(job.data)
    assert [row["outcome"] for row in later.values()] == ["complete"] * 3
    assert rows.items() <= later.items()
    assert not list((job.data / "state" / "staging").glob("*"))
    assert len((job.data / "state/published/nights.sha256").read_text().splitlines()) == 2


def test_the_ledger_keeps_what_damage_leaves_of_a_run_s_facts() -> None:
    facts = replace(PUBLISHED, min_value=2.5, top=3)
    assert RunFacts.from_json(facts.as_json()) == facts
    assert RunFacts.from_json(facts.as_json().replace("top", "tap")) == replace(facts, top=None)
    assert RunFacts.from_json(facts.as_json().replace('"top":3', '"top":true')) == replace(facts, top=None)
    broken: Mapping[str, object] = {"a": None, "b": b"{}", "c": "{", "d": "[1]", "e": 7}
    assert {RunFacts.from_json(text) for text in broken.values()} == {RunFacts()}
