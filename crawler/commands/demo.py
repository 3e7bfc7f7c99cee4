"""`crawler demo`: some nights end to end on the embedded stand-in, and a look at what came of them."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pyarrow.dataset as ds
from rich.console import Console
from rich.table import Table

from crawler.commands.changes import changes_command
from crawler.commands.run import run_command
from crawler.commands.telling import Telling
from crawler.nightly.world import world_behind
from crawler.options import Settings
from crawler.settings.load import load
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.server import KEY, Simulator, SimulatorOptions
from crawler.store.files import output_errors
from crawler.store.layout import VIDEOS, Layout

_WIDTH = 90
_TOP = 5


def demo_command(data: Path, sellers: int, qps: float, nights: int) -> int:
    """Crawl `sellers` sellers for the last `nights` dates into `data`, and show tables.

    Each night takes its date for today's. Returns the exit code.
    """
    today = datetime.now(UTC).date()
    # Counted from the first night on, the figures are the same on any day.
    options = CatalogueOptions(largest=400, begins=today - timedelta(days=nights - 1))
    source = data / "sellers.csv"
    ids = Catalogue(options).seller_ids(sellers)
    with output_errors(str(source)):
        data.mkdir(parents=True, exist_ok=True)
        source.write_text("seller_id\n" + "".join(f"{seller_id}\n" for seller_id in ids))
    flags = {"run.data": str(data), "run.qps": str(qps), "run.fresh": True}
    os.environ["KEYAPI_API_KEY"] = KEY
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRAWLER_")}
    with _stand_in(SimulatorOptions(options, today, latency=0.03, jitter=0.03)) as simulator:
        for days_ago in reversed(range(nights)):
            simulator.behind = timedelta(days=days_ago)
            night = simulator.catalogue.day = today - simulator.behind
            given = {**flags, "api.url": simulator.url, "run.crawl_date": night.isoformat()}
            loaded = load(given, Path(os.devnull), environ)
            world = world_behind(simulator.behind)
            code = run_command(loaded, str(source), Telling(Settings()), world)
            if code != 0:
                return code
    _show(data, today)
    stats = simulator.stats
    sys.stdout.write(f"{stats.requests} requests, {stats.credits} credits by the stand-in's own count\n\n")
    changes_command(loaded, today.isoformat(), "views", _TOP, None, None)
    _suggest_queries(data)
    return 0


@contextmanager
def _stand_in(options: SimulatorOptions) -> Iterator[Simulator]:
    """Serve from a thread of its own, so that the job runs as it does against the real API."""
    loop, simulator = asyncio.new_event_loop(), Simulator(options)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(simulator.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(simulator.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _show(data: Path, day: date) -> None:
    partitioning, folder = ds.partitioning(flavor="hive"), Layout(data).snapshot(VIDEOS, day)
    videos = ds.dataset(str(folder), partitioning=partitioning).to_table()
    console = Console(file=sys.stdout)
    # Shortened IDs would be of no use.
    console.width = max(console.width, _WIDTH)
    gmv = "total_video_sale_gmv_amt"
    top = Table("seller_id", "video_id", "region", "views", "sales", "GMV", title="Top videos by GMV")
    for row in videos.sort_by([(gmv, "descending")]).slice(0, _TOP).to_pylist():
        figures = (f"{row['total_views_cnt']:,}", f"{row['total_video_sale_cnt']:,}", f"{row[gmv]:,.2f}")
        top.add_row(row["seller_id"], row["video_id"], row["region"], *figures)
    regions = Table("region", "rows", "GMV", title="Rows by region")
    grouped = videos.group_by("region").aggregate([("video_id", "count"), (gmv, "sum")])
    for row in grouped.sort_by([("video_id_count", "descending")]).to_pylist():
        regions.add_row(str(row["region"]), f"{row['video_id_count']:,}", f"{row[f'{gmv}_sum']:,.2f}")
    console.print(top, regions)
    sys.stdout.write(f"\n{videos.num_rows} videos in {folder}\n")


def _suggest_queries(data: Path) -> None:
    """Commands that show the dataset, each with a reader that is installed here."""
    # In double quotes, so that the shell can take all of it in single ones.
    videos = json.dumps(str(data / "videos"), ensure_ascii=False)
    files = json.dumps(str(data / "videos" / "**" / "*.parquet"), ensure_ascii=False)
    queries = {
        "pyarrow": f'import pyarrow.dataset as ds; print(ds.dataset({videos}, partitioning="hive").head(3))',
        "duckdb": f"import duckdb; print(duckdb.read_parquet({files}, hive_partitioning=True))",
        "polars": f"import polars as pl; print(pl.scan_parquet({files}, hive_partitioning=True).collect())",
    }
    python, here = Path(sys.executable), Path.cwd()
    if python.is_relative_to(here):
        python = python.relative_to(here)
    sys.stdout.write("\nGo on with:\n")
    for reader, code in queries.items():
        if find_spec(reader) is not None:
            sys.stdout.write(f"  {shlex.join([str(python), '-c', code])}\n")
