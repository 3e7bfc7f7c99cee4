"""What `journal.sync` costs: the same group commits, surviving power loss and surviving a killed process."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import orjson

from crawler.models import Page
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.store.journal import Journal, Record

COMMITS = 150


def commits(folder: Path, pages: int, *, survive_power_loss: bool) -> list[float]:
    """Seconds of each group commit of so many pages."""
    catalogue = Catalogue(CatalogueOptions())
    seller = max(catalogue.seller_ids(200), key=catalogue.size)
    body = orjson.dumps({"code": 0, "data": catalogue.page(seller, 1, 1, 1, 10)})
    taken = []
    with Journal(folder / "journal.sqlite", survive_power_loss=survive_power_loss) as journal:
        for number in range(COMMITS):
            page = Page(seller, number + 1, body, 10, number, 0, "r")
            records = [Record(seller, "run", 1, page, None)] * pages
            began = time.perf_counter()
            journal.write(records)
            taken.append(time.perf_counter() - began)
    return taken


def main() -> None:
    """Two sizes of commits, both ways in turn."""
    for pages in (1, 25):
        medians = []
        for survive in (False, True):
            with tempfile.TemporaryDirectory(dir=Path()) as folder:
                taken = commits(Path(folder), pages, survive_power_loss=survive)
            medians.append(statistics.median(taken))
            print(
                f"{pages:>3} pages a commit, {'power-loss' if survive else 'process-kill':>12}: median "
                f"{medians[-1] * 1000:.2f} ms, 99th percentile {sorted(taken)[-2] * 1000:.2f} ms"
            )
        print(f"    power-loss / process-kill: {medians[1] / medians[0]:.1f}")


if __name__ == "__main__":
    main()
