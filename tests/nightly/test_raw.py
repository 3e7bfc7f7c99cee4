"""With `output.keep_raw` the answers of a date are kept, and its files can be made anew from them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
from conftest import DATE, SMALL, Night, stand_in

from crawler.simulator.faults import parse_faults
from crawler.simulator.server import SimulatorOptions
from crawler.store.digests import published_digests
from crawler.store.layout import RAW

KEEP = {"CRAWLER_OUTPUT_KEEP_RAW": "true"}


class KeepingNight(Night):
    """A night that keeps its answers."""

    def environ(self) -> dict[str, str]:
        return {**super().environ(), **KEEP}

    def raw(self) -> list[dict[str, Any]]:
        (path,) = (self.data / "raw" / f"crawl_date={DATE}").iterdir()
        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
        return rows


def test_raw_has_each_page_whose_rows_are_published_once(tmp_path: Path) -> None:
    with stand_in(SimulatorOptions(SMALL, faults=parse_faults("odd:0.1,control:0.1"), drift=9)) as simulator:
        job = KeepingNight(tmp_path, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(8))
        job.run(source, "--budget", "6", code=3)
        assert len(job.raw()) == 6
        job.run(source)
        ids = simulator.catalogue.seller_ids(8)
        spent = job.run(job.sellers(ids[:4]), "--fresh")["credits"]["spent_for_date"]
        job.run(job.sellers(ids[2:]), "--fresh", "--budget", str(spent + 5), code=3)
    pages = job.raw()
    of_seller = {row["seller_id"]: row["pages"] for row in job.seller_rows().values()}
    assert {s: sum(page["seller_id"] == s for page in pages) for s in of_seller} == of_seller
    found = {
        (page["seller_id"], str(row["video_id"])): (page["run_id"], page["request_id"], page["crawled_at"])
        for page in pages
        for row in orjson.loads(page["answer"])["data"]
    }
    rows = {
        (row["seller_id"], row["video_id"]): (row["run_id"], row["request_id"], row["crawled_at"])
        for row in job.videos()
    }
    assert found == rows
    digests = published_digests(job.data, date.fromisoformat(DATE))
    assert [name for name in digests if name.startswith(f"{RAW}/")]


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    with stand_in(SimulatorOptions(SMALL)) as simulator:
        job = KeepingNight(tmp_path, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(3))
        job.run(source)
        assert job.raw()
        Night(tmp_path, simulator.url).run(source, "--fresh")
    assert not (job.data / "raw" / f"crawl_date={DATE}").exists()
