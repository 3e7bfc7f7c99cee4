"""The readers' matrix: what each tool finds in `videos/`, compared with the truth. Writes docs/readers.md.

    python bench/readers.py [TOOL ...]

Made nights of 300 sellers, in the files that a run writes: 30 of them, a year, and the 30 once more in region
folders. Tools that are not among the tests' own get an environment each, in .bench/environments. Exits with 1
where a value differs from the truth.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.copies.delta_tables import DeltaTables
from crawler.copies.parts import published_parts
from crawler.copies.places import Place
from crawler.store.layout import REGION_KEY, VIDEOS, Layout, parquet_file, parquet_files, partition_of
from crawler.store.row_groups import grouped, video_writer
from crawler.store.schema import NO_REGION, REGION, REGION_FILE_SCHEMA, VIDEO_FILE_SCHEMA

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
PAGE = ROOT / "docs" / "readers.md"
FIRST = date(2025, 11, 24)
REGIONS = ("MY", "SG", "ID", "TH", "VN", "PH", "US", "GB", None)
OWN = ""
TOOLS = (
    *(("DuckDB", "duckdb==1.4.* pytz"), ("DuckDB", OWN), ("Polars", OWN), ("pandas", "pandas==2.* pyarrow")),
    *(("pandas", OWN), ("pyarrow", OWN), ("Spark", "pyspark"), ("DataFusion", "datafusion pyarrow")),
    *(("chdb", "chdb"), ("Delta", OWN), ("Iceberg", "pyiceberg[sql-sqlite,pyarrow]")),
)
"""Each tool, and what its environment installs; `OWN`: that of the tests."""


@dataclass
class Truth:
    """What a reader should find."""

    rows: int = 0
    views: int = 0
    regions: set[str] = field(default_factory=set)
    nulls: int = 0
    nights: dict[date, int] = field(default_factory=dict)
    newest: int = 0

    def add(self, night: pa.Table, day: date) -> None:
        """Take a night's rows into account, one by one."""
        rows = night.select(["total_views_cnt", REGION, "create_time"]).to_pylist() if not self.rows else []
        # Later nights have the same videos: only their views differ.
        self.regions |= {row[REGION] for row in rows} - {None}
        self.newest = max([self.newest, *(round(row["create_time"].timestamp() * 1000) for row in rows)])
        self.nights[day] = sum(night["total_views_cnt"].to_pylist())
        self.nulls += night[REGION].null_count
        self.rows, self.views = self.rows + len(night), self.views + self.nights[day]

    @property
    def summary(self) -> list[int]:
        """As `reading.Reader.summary` has it."""
        return [self.rows, self.views, len(self.regions), self.nulls, len(self.nights), self.newest]


def write_nights(data: Path, nights: int, sellers: int = 300, *, by_region: bool = False) -> Truth:
    """Write nights as runs do; returns what is in them."""
    truth = Truth()
    rows = [{**row, "snapshot_date": FIRST} for row in _videos(sellers)]
    base = pa.Table.from_pylist(rows, schema=VIDEO_FILE_SCHEMA)
    for number in range(nights):
        day = FIRST + timedelta(days=number)
        night = _night_of(base, day, number)
        truth.add(night, day)
        folder = Layout(data).snapshot(VIDEOS, day)
        if not by_region:
            _write(folder, night)
            continue
        for region in REGIONS:
            place = folder / (NO_REGION if region is None else f"{REGION_KEY}{region}")
            is_of_it = pc.is_null(night[REGION]) if region is None else pc.equal(night[REGION], region)
            _write(place, night.filter(is_of_it).select(REGION_FILE_SCHEMA.names).cast(REGION_FILE_SCHEMA))
    return truth


def _night_of(base: pa.Table, day: date, number: int) -> pa.Table:
    """The videos a few nights later: each has more views."""
    views = pc.add(base["total_views_cnt"], 7 * number)
    dates = pa.repeat(pa.scalar(day, pa.date32()), len(base))
    columns = {**dict(zip(base.schema.names, base.columns, strict=True))}
    columns |= {"total_views_cnt": views, "snapshot_date": dates}
    return pa.Table.from_arrays([*columns.values()], schema=base.schema)


def _write(folder: Path, rows: pa.Table) -> None:
    folder.mkdir(parents=True)
    with video_writer(parquet_file(folder, "20251124T010000Z-0badcafe"), rows.schema) as writer:
        for group in grouped([rows]):
            writer.write_table(group)


def _videos(sellers: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(5)
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    for seller in sorted(str(7_494_000_000_000_000_000 + chance.randrange(10**15)) for _ in range(sellers)):
        region = chance.choice(REGIONS)
        for position in range(1, chance.choice((3, 9, 30, 110))):
            created = begin + timedelta(seconds=chance.randrange(40_000_000))
            yield {
                "seller_id": seller,
                "video_id": str(chance.randrange(10**18)),
                "user_id": seller[:12],
                "nick_name": f"shop {seller[-4:]} 🔖",
                "video_desc": f"#{chance.randrange(10**9)} " * 6,
                "avatar": f"https://example.org/{seller}",
                "reflow_cover": f"https://example.org/{chance.randrange(10**18)}",
                "create_time": created,
                "total_views_cnt": chance.randrange(10**7),
                "total_digg_cnt": chance.randrange(10**5),
                "total_video_sale_gmv_amt": chance.random() * 1e4,
                "page_num": position // 10 + 1,
                "position": position,
                "crawled_at": begin + timedelta(days=700),
                "run_id": "r",
                "region": region,
                "late": False,
            }


def blank_other_nights(folder: Path, target: Path, day: date) -> None:
    """Copy a dataset, the pages of all nights but one being zeros: who reads them finds rubbish."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    for path in parquet_files(target):
        if partition_of(day) in path.parts:
            continue
        metadata = pq.read_metadata(path)
        with path.open("r+b") as file:
            for group in range(metadata.num_row_groups):
                for number in range(metadata.num_columns):
                    column = metadata.row_group(group).column(number)
                    file.seek(column.dictionary_page_offset or column.data_page_offset)
                    file.write(bytes(column.total_compressed_size))


def _delta_of(data: Path) -> None:
    """The same nights as a Delta table, beside the folder of the files."""
    tables = DeltaTables(Place("delta", f"{Layout(data).kind(VIDEOS)}-delta"))
    for part in reversed(published_parts(data)[0]):
        tables.send(data, part)


def prepared(home: Path) -> tuple[dict[str, Truth], date]:
    """The folders that are read; returns the truth of each, and the night that is asked for."""
    shutil.rmtree(home, ignore_errors=True)
    truths = {
        "month": write_nights(home / "month", 30),
        "year": write_nights(home / "year", 365),
        "region": write_nights(home / "region", 30, by_region=True),
    }
    day = FIRST + timedelta(days=11)
    for name in ("month", "year"):
        _delta_of(home / name)
    for ending in ("", "-delta"):
        blank_other_nights(home / "month" / f"{VIDEOS}{ending}", home / "alone" / f"{VIDEOS}{ending}", day)
    return truths, day


def python_of(tool: str, packages: str) -> str:
    """A Python that has a tool, which is installed if it is not there."""
    if packages == OWN:
        return sys.executable
    name = "".join(character if character.isalnum() else "-" for character in f"{tool} {packages}")
    folder = HOME / "environments" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages.split()], check=True)
        (folder / "ready").touch()
    return str(python)


def asked(tool: str, packages: str, job: dict[str, str | None]) -> dict[str, Any] | str:
    """What a tool found; or why it found nothing."""
    try:
        words = [python_of(tool, packages), str(ROOT / "bench" / "reading.py"), tool, json.dumps(job)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    except (subprocess.SubprocessError, OSError) as error:
        return f"could not be installed: {error}"
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def faults_of(found: dict[str, Any], truths: dict[str, Truth], day: date) -> list[str]:
    """The values that differ from the truth."""
    faults = [
        f"{name}: {found[name]['summary']}, not {truths[name].summary}"
        for name in ("month", "year")
        if name in found and found[name]["summary"] != truths[name].summary
    ]
    night = truths["month"].nights[day]
    faults += [
        f"{column}: {found[column]}, not {night}"
        for column in ("crawl_date", "snapshot_date")
        if isinstance(found[column], int) and found[column] != night
    ]
    return faults


def row_of(tool: str, packages: str, found: dict[str, Any] | str, truths: dict[str, Truth], day: date) -> str:
    """A tool's line of the table."""
    if isinstance(found, str):
        return f"| {tool} | {packages or 'as in the tests'} | {found[:120]} |" + " |" * 7
    types, faults = found["types"], faults_of(found, truths, day)
    nulls = "-" if found["region"] is None else "NULL"
    if found["region"] not in (None, truths["region"].summary):
        nulls = f"no: {_short(found['region'])}"
    cells = (
        *(tool, found["version"], types["crawl_date"], types["snapshot_date"], types["create_time"]),
        *(_alone(found, "crawl_date"), _alone(found, "snapshot_date"), nulls),
        *(f"{found['month']['seconds']:.2f}", f"{found['year']['seconds']:.2f}"),
        "all right" if not faults else "; ".join(faults),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _alone(found: dict[str, Any], column: str) -> str:
    if not isinstance(found[column], int):
        return "-"
    return "yes" if found[f"{column}_alone"] else "no"


def _short(found: list[Any] | str) -> str:
    if isinstance(found, str):
        return found.replace("|", "/").splitlines()[0][:60]
    return f"{found[2]} regions, {found[3]} null"


def page(rows: list[str], truths: dict[str, Truth]) -> str:
    """The whole page."""
    month, year = truths["month"], truths["year"]
    heads = (
        *("tool", "version", "`crawl_date` (path)", "`snapshot_date`", "`create_time`"),
        *("a `crawl_date` alone is read", "a `snapshot_date` alone is read", "null region of region folders"),
        *("30 nights, s", "a year, s", "values"),
    )
    table = "\n".join((f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows))
    return f"""# Readers

What each tool finds in `videos/`, by its own defaults. `make readers` makes this page and fails where a value differs from the truth; `make test` compares DuckDB, Polars, pandas and pyarrow on a smaller dataset,
`make test-oldest` DuckDB 1.4.

{table}

- **The data**: {month.rows:,} rows on 30 nights, {year.rows:,} on 365, of 300 sellers; one file a night. Each night has {month.nulls // 30:,} rows without a region, and {len(month.regions)} regions.
- **Values**: rows, the sum of views, regions, null regions, dates and the newest `create_time` of both datasets, and the sum of one night, found by `crawl_date` and by `snapshot_date`.
- **Alone**: the night is found although the pages of all other nights are zeros, so no other night is read.
- **Seconds**: these sums over the whole dataset in one query, the tool being loaded, the best of three; {_machine()}.
- **Null region of region folders**: what comes of `region=__HIVE_DEFAULT_PARTITION__` with `output.partition_by = ["crawl_date", "region"]`. With one file a night `region` is a column, and null is null everywhere.
- Delta reads a table of the same nights (`output.delta`), Iceberg the files themselves by `add_files`: [storage.md](storage.md).
- pandas and pyarrow take the keys of folders for text: compare `crawl_date` with `'2026-11-23'`, and `snapshot_date` with a date.
"""


def _machine() -> str:
    return f"{os.cpu_count()} cores, {datetime.now(UTC):%B %Y}"


def main(wanted: list[str]) -> int:
    """Ask every tool, or those that are wanted; the page is written where all were. 1: a value is wrong."""
    home = HOME / "readers"
    truths, day = prepared(home)
    places = {"month": "month", "year": "year", "alone": "alone", "region": "region"}
    job = {name: str(home / place / VIDEOS) for name, place in places.items()} | {"day": day.isoformat()}
    rows, is_wrong = [], False
    for tool, packages in TOOLS:
        if wanted and tool not in wanted:
            continue
        found = asked(tool, packages, job)
        rows.append(row_of(tool, packages, found, truths, day))
        print(rows[-1], flush=True)
        is_wrong |= isinstance(found, dict) and bool(faults_of(found, truths, day))
    if not wanted:
        PAGE.write_text(page(rows, truths))
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
