"""How long each view takes on a year of nights: docs/views.md.

    python bench/views.py [results] [data folder]

Without a data folder the stand-in is crawled for 365 nights of 300 sellers first, into .bench/year, where it
stays. Of each view all values of all columns are counted, ten times; the fastest counts, with its CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

from crawler.views.queries import VIEWS, statement

YEAR = Path(__file__).resolve().parent.parent / ".bench" / "year"
ROUNDS = 10


def crawl_year() -> Path:
    """A year of nights, crawled unless it is there."""
    if not (YEAR / "videos").is_dir():
        words = ["-m", "crawler", "demo", "--nights", "365", "--sellers", "300", "--qps", "1000"]
        subprocess.run([sys.executable, *words, "--data", str(YEAR)], check=True, stdout=subprocess.DEVNULL)
    return YEAR


def measured(data: Path, name: str) -> dict[str, Any]:
    """Rows of a view, and seconds for all values of it."""
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW {name}_ AS {statement(name, data)}")
        columns = [row[0] for row in database.execute(f"DESCRIBE {name}_").fetchall()]
        counts = ", ".join(f'count("{column}")' for column in columns)
        took, rows = [], 0
        for _ in range(ROUNDS):
            began, cpu = time.perf_counter(), time.process_time()
            rows = database.execute(f"SELECT count(*), {counts} FROM {name}_").fetchall()[0][0]
            took.append((time.perf_counter() - began, time.process_time() - cpu))
    seconds, cpu = min(took)
    return {"rows": rows, "seconds": round(seconds, 3), "cpu_seconds": round(cpu, 3)}


def main(results: Path | None, data: Path) -> None:
    """Measure, print a table, and keep the figures."""
    found = {name: measured(data, name) for name in VIEWS}
    print(f"DuckDB {duckdb.__version__}")
    print("| view | rows | seconds | of CPU |\n| --- | --- | --- | --- |")
    for name, figures in found.items():
        print(f"| `{name}` | {figures['rows']:,} | {figures['seconds']:.2f} | {figures['cpu_seconds']:.2f} |")
    if results is not None:
        (results / "views.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]) if given else None, Path(given[1]) if len(given) > 1 else crawl_year())
