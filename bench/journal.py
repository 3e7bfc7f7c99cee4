"""What `journal.sync` costs: the same group commits, surviving power loss and surviving a killed process."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import orjson
from place import new_folder
from spread import in_words, keep, spread

from crawler.models.page import Page
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.store.journal import Journal
from crawler.store.records import Record

COMMITS = 60
ROUNDS = 5


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
    """Two sizes of commits, both ways in turn, and so again."""
    result = {}
    for pages in (1, 25):
        medians: dict[bool, list[float]] = {False: [], True: []}
        for survive in (False, True) * ROUNDS:
            with new_folder() as folder:
                taken = commits(Path(folder), pages, survive_power_loss=survive)
            medians[survive].append(statistics.median(taken) * 1000)
        ratios = [power / kill for kill, power in zip(medians[False], medians[True], strict=True)]
        print(
            f"{pages:>3} pages a commit: process-kill {in_words(medians[False])} ms, "
            f"power-loss {in_words(medians[True])} ms; ratio {in_words(ratios, '.1f')}"
        )
        result[f"{pages} pages"] = {
            "process_kill_ms": spread(medians[False]),
            "power_loss_ms": spread(medians[True]),
            "ratio": spread(ratios),
        }
    keep("journal", result)


if __name__ == "__main__":
    main()
