from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import DATE, SMALL, Night

from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
OLD_DATES = {"finished": "2026-01-01", "held": "2026-01-02", "killed": "2026-01-03"}
CODES = {"finished": 0, "held": 10, "killed": None}


def aged(path: Path) -> Path:
    for one in (*path.rglob("*"), path) if path.is_dir() else (path,):
        os.utime(one, (0, 0))
    return path


@pytest.fixture
def upkeep(night: Begin) -> Night:
    """A data folder with last night's run, three old dates, and what killed runs left."""
    job, _ = night(SimulatorOptions(SMALL))
    state = job.data / "state"
    with Ledger(job.data) as ledger:
        for name, day in OLD_DATES.items():
            ledger.begin(name, date.fromisoformat(day), "2026-01-01T00:00:00.000Z")
            if (code := CODES[name]) is not None:
                ledger.finish(name, "2026-01-01T00:00:01.000Z", code)
    job.run(job.sellers(Catalogue(SMALL).seller_ids(3)))
    for day in OLD_DATES.values():
        journal = state / "journal" / f"{day}.1.sqlite"
        shutil.copy(state / "journal" / f"{DATE}.1.sqlite", journal)
        journal.with_suffix(".segments").mkdir()
        (journal.with_suffix(".segments") / "1.arrow").write_bytes(bytes(1000))
        aged(journal)
    for path in ("journal/2025-01-01.1.carried/crawl_date=2024-12-31/x", "staging/killed/x"):
        (state / path).parent.mkdir(parents=True, exist_ok=True)
        (state / path).write_bytes(bytes(2000))
    (state / "journal" / f"{DATE}.1.carried" / ".crawl_date=2024-12-31").mkdir(parents=True)
    (state / "published" / "crawl_date=2020-01-01").mkdir()
    (state / "published" / "crawl_date=2020-01-01" / "r.sha256").touch()
    (state / "published" / f"crawl_date={DATE}" / ".r.sha256.4711").touch()
    for name in ("ancient", *OLD_DATES):
        (job.data / "runs" / name).mkdir()
        (job.data / "runs" / name / "report.json").write_bytes(bytes(500))
        (job.data / "runs" / name / "report.html").touch()
        aged(job.data / "runs" / name)
    return job


def listing(data: Path) -> set[str]:
    return {path.relative_to(data).as_posix() for path in data.rglob("*")}


def gc(job: Night, *words: str, code: int = 0) -> dict[str, Any]:
    done = job.call("gc", "--json", *words)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"stderr": done.stderr}
    return found


def test_gc_removes_what_it_said_and_nothing_that_is_needed(upkeep: Night) -> None:
    before = listing(upkeep.data)
    planned = gc(upkeep, "--dry-run")
    assert listing(upkeep.data) == before
    done = gc(upkeep)
    assert {**planned, "dry_run": False} == done
    gone = before - listing(upkeep.data)
    named = {
        Path(path).relative_to(upkeep.data).as_posix()
        for found in done["leftovers"]
        for path in found["paths"]
    }
    assert {path for path in gone if not any(path.startswith(f"{name}/") for name in named)} == named
    day = OLD_DATES["finished"]
    assert named == {
        "runs/ancient",
        "runs/finished",
        f"state/journal/{day}.1.sqlite",
        f"state/journal/{day}.1.segments",
        "state/journal/2025-01-01.1.carried",
        f"state/journal/{DATE}.1.carried/.crawl_date=2024-12-31",
        "state/staging/killed",
        "state/published/crawl_date=2020-01-01",
        f"state/published/crawl_date={DATE}/.r.sha256.4711",
    }
    sizes = {Path(found["paths"][0]).name: found["bytes"] for found in done["leftovers"]}
    assert (sizes["ancient"], sizes["killed"], sizes["2025-01-01.1.carried"]) == (500, 2000, 2000)
    assert done["bytes"] == sum(sizes.values())
    assert gc(upkeep)["leftovers"] == []
    assert upkeep.run(upkeep.folder / "sellers.csv")["requests"]["sent"] == 0


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("way", ["gc", "run"])
def test_no_night_of_the_index_has_a_page_that_is_gone(upkeep: Night, way: str) -> None:
    """Those that a person may still decide on have theirs, however old they are."""
    index = Layout(upkeep.data).index
    assert upkeep.call("report").returncode == 0
    assert "finished/report.html" in index.read_text()
    assert upkeep.call(*(["gc"] if way == "gc" else ["run", "sellers.csv", "--fresh"])).returncode == 0
    linked = set(re.findall(r'href="(.+?)"', index.read_text()))
    assert {"held/report.html", "killed/report.html"} <= linked
    assert all((index.parent / path).is_file() for path in linked)


def test_gc_says_what_it_does_in_text(upkeep: Night) -> None:
    planned, done = upkeep.call("gc", "--dry-run").stdout, upkeep.call("gc").stdout
    assert f"500 B  run: {upkeep.data}/runs/ancient\n" in done
    assert planned.replace("would be freed", "freed") == done
    assert upkeep.call("gc").stdout == "nothing is of no more use\n"


def test_a_file_with_another_name_frees_nothing(upkeep: Night) -> None:
    old = upkeep.data / "runs" / "ancient" / "report.json"
    os.link(old, upkeep.folder / "kept")
    sizes = {Path(found["paths"][0]).name: found["bytes"] for found in gc(upkeep, "--dry-run")["leftovers"]}
    assert sizes["ancient"] == 0


def test_gc_waits_for_nobody(upkeep: Night) -> None:
    before = listing(upkeep.data)
    with hold_lock(upkeep.data, "other"):
        assert "in use by run other" in gc(upkeep, code=7)["stderr"]
    assert listing(upkeep.data) == before
    assert "no data folder" in upkeep.call("gc", "--data", str(upkeep.folder / "none")).stderr


@pytest.mark.parametrize("doubt", ["no ledger", "clock"])
def test_without_a_ledger_or_a_clock_nothing_goes_for_its_age(upkeep: Night, doubt: str) -> None:
    ledger = upkeep.data / "state" / "ledger.sqlite"
    if doubt == "no ledger":
        ledger.unlink()
    else:
        with closing(sqlite3.connect(ledger)) as db, db:
            db.execute("DELETE FROM run WHERE crawl_date = ?", (DATE,))
            db.execute("DELETE FROM lease")
    done = gc(upkeep)
    assert done["notes"]
    kept = [*upkeep.data.glob("runs/ancient"), *upkeep.data.glob("state/journal/2026-01-01.1.s*")]
    assert len(kept) == 3
    assert not (upkeep.data / "state" / "staging" / "killed").exists()
