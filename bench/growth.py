"""What a night gained, by hand and by the views, where the night before was an odd one: docs/growth.md.

    python bench/growth.py [results]

Four nights of 300 sellers of the stand-in on a virtual clock, for each kind of odd night. The truth is the
catalogue's: what videos have more on the last day than on the day before; new ones count with all they have.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
from place import new_folder

from crawler.simulator.catalogue import Catalogue
from crawler.store.layout import VIDEOS, Layout
from crawler.views.queries import statement

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from view_history import History

SELLERS = 300
BUDGET = 300
FAILED = tuple(range(0, 275, 11))
ODD: dict[str, Callable[[History], object]] = {
    "like any other": lambda history: history.night(),
    "cut off by its budget": lambda history: history.night(code=3, budget=BUDGET),
    "missing": lambda history: history.next_day(),
    "without 25 sellers, which failed": lambda history: history.night(code=4, refused=FAILED),
    "read with --top 250": lambda history: history.night(top=250, strategy="best-first"),
}
LEFT_JOIN = """
SELECT sum(t.total_views_cnt - coalesce(y.total_views_cnt, 0))
FROM (FROM nights WHERE crawl_date = getvariable('tonight')) t
LEFT JOIN (FROM nights WHERE crawl_date = getvariable('before')) y USING (seller_id, video_id)
"""
LAG = """
SELECT sum(gain) FROM (
    SELECT crawl_date, total_views_cnt - lag(total_views_cnt) OVER (
        PARTITION BY seller_id, video_id ORDER BY crawl_date
    ) AS gain
    FROM nights
)
WHERE crawl_date = getvariable('tonight')
"""
TOTALS = """
SELECT sum(total_views_cnt) FILTER (crawl_date = getvariable('tonight'))
     - sum(total_views_cnt) FILTER (crawl_date = getvariable('before'))
FROM nights
"""


def gained(history: History) -> int:
    """What the catalogue's videos gained in the last night."""
    after = history.catalogues[history.day - timedelta(days=1)]
    before = after.the_day_before()
    total = 0
    for seller in history.ids:
        then = {row["video_id"]: row["total_views_cnt"] for row in before.videos(seller)}
        total += sum(row["total_views_cnt"] - then.get(row["video_id"], 0) for row in after.videos(seller))
    return total


def late(folder: Path) -> dict[str, Any]:
    """Of the night after a missing one, once that one's date was crawled, two days late."""
    history = History(5, folder, SELLERS)
    history.night()
    history.night()
    missed = history.day
    history.next_day()
    history.night()
    truth, today = gained(history), history.day
    history.day, history.clock = missed, (today - missed - timedelta(hours=2)) / timedelta(seconds=1)
    history.catalogue = Catalogue(history.options, today)
    history.night()
    per_day = f"""
        SELECT sum(total_views_cnt_gain / days) FROM ({statement("videos_daily", folder)})
        WHERE crawl_date = getvariable('tonight')
    """
    return {"truth": truth, **said(folder, -1, per_day)}


def measured(folder: Path, odd: Callable[[History], object]) -> dict[str, Any]:
    """The truth of the night after an odd one, and what each way says."""
    history = History(5, folder, SELLERS)
    history.night()
    history.night()
    odd(history)
    history.night()
    per_day = f"SELECT sum(views_per_day) FROM ({statement('gains_1d', folder)})"
    return {"truth": gained(history), **said(folder, -1, per_day)}


def said(folder: Path, night: int, per_day: str) -> dict[str, int]:
    """What each way says of a night; `per_day`: the query of the views."""
    dates = sorted(path.name.partition("=")[2] for path in Layout(folder).kind(VIDEOS).iterdir())
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW nights AS {statement('videos', folder)}")
        database.execute(f"SET VARIABLE tonight = DATE '{dates[night]}'")
        database.execute(f"SET VARIABLE before = DATE '{dates[night - 1]}'")
        ways = {"difference of sums": TOTALS, "left join": LEFT_JOIN, "LAG()": LAG, "views, per day": per_day}
        found = {name: database.execute(query).fetchall()[0][0] for name, query in ways.items()}
    return {name: round(value) for name, value in found.items()}


def main(results: Path | None) -> None:
    """Measure, print a table, and keep the figures."""
    found = {}
    with new_folder() as folder:
        for name, odd in ODD.items():
            found[name] = measured(Path(folder) / str(len(found)), odd)
        found["crawled two days late"] = late(Path(folder) / "late")
    heads = ["the night before was", *next(iter(found.values()))]
    print("|", " | ".join(heads), "|")
    print("|", " | ".join("---" for _ in heads), "|")
    for name, figures in found.items():
        print("|", name, "|", " | ".join(f"{value:,}" for value in figures.values()), "|")
    if results is not None:
        (results / "growth.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
