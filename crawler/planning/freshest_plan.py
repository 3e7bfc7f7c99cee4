"""What a run by `--strategy freshest` would find tonight, and what a budget would buy; nothing is pinned.

Open it to change how a plan of such a night comes to its figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler import events
from crawler.history.bases import IntactVideos, KnownSnapshot, bases
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.models.seller import PageRange
from crawler.options import Settings
from crawler.planning.rates import learn_rates
from crawler.planning.trade import World
from crawler.planning.visits import Visits, visits
from crawler.rules.freshness import choose
from crawler.sellers.listing import missing, texts_of
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, VIDEOS, Layout


@dataclass(frozen=True, slots=True)
class Received:
    """What a date's journal has: sellers read `whole`, and of others how many rows each page has.

    `target_budget` is what `--target` picked for the date.
    """

    whole: frozenset[str] = frozenset()
    rows: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    target_budget: int | None = None


@dataclass(frozen=True, slots=True)
class Tonight:
    """The stretches of all listed sellers as the night began, and those that are left to read.

    A stretch's `seller` is a number in the list, or in `ids_left`. `is_known`: any of them was ever read.
    """

    listed: Visits
    ids_left: list[str]
    left: Visits
    received: Received
    is_known: bool
    warnings: list[events.Sentence]

    def doubts(self, settings: Settings) -> list[str]:
        """The warnings, and whether the budget of a night is too small."""
        budget = settings.credits.budget
        if budget is None or not self.is_known:
            return [*self.warnings]
        doubt = World(self.listed.stretches, settings.run.max_age).doubt(budget)
        return [*self.warnings, *filter(None, [doubt])]


def tonight(settings: Settings, ids: pa.Array[Any], crawl_date: date) -> Tonight:
    """What a run could read, by what is published and by the date's own journal.

    What cannot be read is left out with a warning. Raises `CrawlerError` where the journal cannot be read.
    """
    run, warnings = settings.run, list[events.Sentence]()
    oldest = crawl_date - timedelta(settings.history.window)

    def leave_out(day: date, error: UnreadableError) -> None:
        warnings.append(events.SNAPSHOT_LEFT_OUT(kind="files", crawl_date=day, reason=error))

    snapshots = _snapshots(run.data, oldest, crawl_date)
    known = bases(snapshots, ids, crawl_date, run.max_age, f"{run.sort} {run.order}", leave_out)
    learnt = learn_rates(run.data, crawl_date, known, run.value)
    received = _received(Layout(run.data).latest_journal(crawl_date))
    listed = visits(ids, known, {}, learnt.new, crawl_date, run.max_age)
    left, ids_left = listed, ids
    if received.whole or received.rows:
        ids_left = missing(ids, [pa.array(received.whole, pa.string())])
        left = visits(ids_left, known, received.rows, learnt.new, crawl_date, run.max_age)
    return Tonight(
        listed, [*texts_of(ids_left)], left, received, len(known) > 0, [*warnings, *learnt.warnings]
    )


def _snapshots(data: Path, oldest: date, before: date) -> Iterator[KnownSnapshot]:
    """The published snapshots of these dates, newest first."""
    for day in published_dates(data):
        if oldest <= day < before:
            sellers, videos = (SnapshotFiles.published(data, kind, day) for kind in (SELLERS, VIDEOS))
            yield KnownSnapshot(day, sellers, partial(IntactVideos, videos))


def _received(path: Path) -> Received:
    if not path.exists():
        return Received()
    with Journal(path, only_read=True) as journal:
        return Received(
            frozenset(str(each) for some in journal.carried.read_whole() for each in some.to_pylist()),
            {
                seller_id: {page.page_num: page.listed for page in pages}
                for seller_id, pages in journal.carried.unfinished()
            },
            int(journal.meta("target_budget") or 0) or None,
        )


@dataclass(frozen=True, slots=True)
class Bought:
    """What a budget buys tonight, with what is received already: the pages read of each seller, by its ID.

    `complete`: sellers all of which is read. A seller in `whole` was read to its end before.
    """

    whole: frozenset[str]
    pages: Mapping[str, Sequence[PageRange]]
    complete: frozenset[str]

    def value(self, seller_id: str, pages: Sequence[float]) -> float:
        """What was read of a seller is worth, if its `pages` are worth that, the first first."""
        if seller_id in self.whole:
            return sum(pages)
        read = self.pages.get(seller_id, ())
        return sum(sum(pages[each.first - 1 : each.last]) for each in read)


def bought(found: Tonight, budget: int | None, max_age: int) -> Bought:
    """What the rule chooses tonight for so many pages, or for any number. The last stretch may be cut off."""
    left = found.left
    choice = choose(left.stretches, budget, max_age)
    pages: dict[str, list[PageRange]] = {
        seller_id: [PageRange(page_num, page_num) for page_num in rows]
        for seller_id, rows in found.received.rows.items()
    }
    unread = Counter(left.stretches.sellers)
    credits_left = left.cost if budget is None else budget
    for number in choice.chosen:
        stretch, (first, last) = left.stretches[number], left.pages(number)
        if stretch.cost <= credits_left:
            unread[stretch.seller] -= 1
        else:
            last = first + credits_left - 1
        credits_left -= stretch.cost
        pages.setdefault(found.ids_left[stretch.seller], []).append(PageRange(first, last))
    complete = {seller_id for number, seller_id in enumerate(found.ids_left) if not unread[number]}
    return Bought(found.received.whole, pages, found.received.whole | complete)
