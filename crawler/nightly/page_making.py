"""Making the pages: that of a run, and the index of all nights. Open it to make them at another time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from crawler.history.page_reading import page_facts
from crawler.nightly.past_nights import noted_every, past_nights
from crawler.options import RunSettings
from crawler.report.index_page import as_index
from crawler.report.page import as_page
from crawler.report.page_facts import PastNight
from crawler.report.trends import NIGHTS
from crawler.rules.nights import Gap, gaps
from crawler.store.files import write_whole
from crawler.store.layout import Layout, RunFolder, runs_with_page
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import RunRecord
from crawler.store.lock import Holder


def write_pages(
    data: Path,
    report: Mapping[str, Any],
    runs: Sequence[RunRecord],
    every: int,
    now: datetime,
    holder: Holder | None = None,
) -> None:
    """Write the page of a report's run, and the index of all nights with it.

    `runs` are all of the ledger, the latest first; a night is wanted `every` so many days; `holder` is the
    run under way, if any is.
    """
    folder, day = RunFolder(data, report["run_id"]), report["crawl_date"]
    nights = past_nights(runs, holder, now)
    shown = [night for night in nights if night.crawl_date <= day][NIGHTS::-1]
    facts = page_facts(data, date.fromisoformat(day), folder.series)
    facts = replace(facts, nights=shown, missed=list(_missed(runs, shown, every)))
    write_whole(folder.page, as_page(report, facts).encode())
    _write_index(data, runs, nights, every)


def _write_index(data: Path, runs: Sequence[RunRecord], nights: Sequence[PastNight], every: int) -> None:
    """Write the index of all nights, with links to the pages that are there."""
    missed = {str(gap.last): str(gap) for gap in _gaps(runs, nights, every)}
    write_whole(Layout(data).index, as_index(nights, _links(data, runs), missed).encode())


def refresh_index(run: RunSettings, ledger: Ledger, now: datetime) -> list[str]:
    """Write the index again, where there is one and no run is on; says why, where that failed."""
    path = Layout(run.data).index
    try:
        if path.exists():
            runs = ledger.runs()
            _write_index(run.data, runs, past_nights(runs, None, now), run.every)
    except OSError as error:
        return [f"{path} cannot be written, and is as it was before: {error.strerror}"]
    return []


def _missed(runs: Sequence[RunRecord], nights: Sequence[PastNight], every: int) -> Iterator[str]:
    for gap in _gaps(runs, nights, every):
        yield from map(str, gap.days)


def _gaps(runs: Sequence[RunRecord], nights: Sequence[PastNight], every: int) -> Iterable[Gap]:
    """The gaps among nights, up to the latest of them."""
    days = [date.fromisoformat(night.crawl_date) for night in nights]
    return gaps(days, every, max(days, default=date.min), noted_every(runs))


def _links(data: Path, runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """The pages that are there by crawl date, seen from the index."""
    links, there = dict[str, list[str]](), runs_with_page(data)
    for run in runs:
        if run.run_id in there:
            path = RunFolder(data, run.run_id).page.relative_to(Layout(data).index.parent)
            links.setdefault(run.crawl_date, []).append(path.as_posix())
    return links
