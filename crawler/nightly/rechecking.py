"""Rechecking a night that was held back: a few of its sellers are asked again before the rest of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Self

import pyarrow as pa

from crawler import events
from crawler.history.known_sellers import KnownSellers
from crawler.models.api import PAGE_SIZE
from crawler.models.errors import ImplausibleError
from crawler.nightly.choosing import Choice, choose
from crawler.nightly.opening import Opened
from crawler.rules.rechecks import COMPARED, Row, is_answered_otherwise, needs_pages
from crawler.sellers.listing import SellerList
from crawler.store.held import Held, release, to_recheck
from crawler.store.journal import Journal
from crawler.store.schema import region_of
from crawler.store.segment_file import rows_of

_CANARIES = 20
_CANDIDATES = 1000
_DIFFERING = 0.3
"""Share of canaries that must be answered otherwise: a night in which fewer are wrong is not held back."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """Of the sellers `to_recheck`, which made a night implausible, the `canaries` are asked again first.

    Those that are not in the list are forgotten with the others, and asked by a run that has them.
    """

    opened: Opened
    held: Held
    to_recheck: list[str]
    canaries: SellerList

    @classmethod
    def of(cls, opened: Opened) -> Self | None:
        """Begin to ask again, where the night is held back; its answers stay until there are others."""
        night, journal = opened.night, opened.journal
        held = Held.of(journal)
        if held is None or night.run.fresh:
            return None
        found = [str(i) for i in to_recheck(journal).to_pylist()]
        is_listed = night.listed.contains(found)
        listed = list(compress(found, is_listed))
        if not listed:
            return None
        # Where a run was answered rightly before the night became wrong, the others show nothing.
        candidates = list(compress(found[: held.hits], is_listed)) or listed
        canaries = _small_ones(opened, candidates[:_CANDIDATES], held.shown_by)
        opened.store.segments.flush()
        journal.previous.renew([pa.array(canaries, pa.string())])
        return cls(opened, held, found, replace(night.listed, ids=pa.array(canaries, pa.string())))

    def then(self) -> Choice:
        """Choose the rest of the sellers to recheck, where the canaries are answered otherwise than before.

        Raises `ImplausibleError` where they are not.
        """
        opened, journal = self.opened, self.opened.journal
        opened.store.segments.flush()
        canaries = {str(i) for i in self.canaries.ids.to_pylist()}
        crawls = journal.previous.crawled_anew(canaries)
        ended, shown_by = len(crawls), self.held.shown_by
        differing = {
            each
            for each, pages in crawls.items()
            if is_answered_otherwise(shown_by, *_rows_of(journal, each, pages))
        }
        # An API that gets well little by little is compared with what it was at first.
        differed = differing.union(self.held.differed)
        if len(differed & canaries) <= _DIFFERING * ended:
            self.held.remember(journal, differed)
            journal.previous.replace()
            same = ended - len(differing)
            opened.notes.add(events.RECHECK_UNCHANGED(same=same, canaries=ended))
            text = f"{same} of {ended} canaries are answered as before"
            raise ImplausibleError(text, self.held.reasons, self.to_recheck)
        as_before = [each for each in self.to_recheck if each not in differing]
        # What is published may rest on pages that are forgotten now.
        opened.store.replace_guard.disown()
        opened.store.replace_guard.record_required_sellers(opened.night.listed.ids)
        journal.previous.forget([pa.array(as_before, pa.string())], [*canaries.difference(differing)])
        release(journal)
        journal.previous.replace()
        changed, sellers = len(differing), len(as_before)
        opened.notes.add(events.RECHECK_CHANGED(changed=changed, canaries=ended, sellers=sellers))
        return choose(opened)


def _rows_of(journal: Journal, seller_id: str, crawls: Iterable[set[int]]) -> tuple[list[Row], list[Row]]:
    """A seller's rows now and before; `crawls` are the numbers of the pages of each."""
    columns = [name for name in COMPARED if name != "region"]
    rows: list[Row] = rows_of(journal, seller_id, ("seq", "folder", *columns)).to_pylist()
    for row in rows:
        row["region"] = region_of(row["folder"])
    now, then = ([row for row in rows if row["seq"] in pages] for pages in crawls)
    return now, then


def _small_ones(opened: Opened, candidates: Sequence[str], shown_by: Sequence[str]) -> list[str]:
    """The canaries: sellers that had few pages, where there are such; more than one, where that is needed.

    Of those that had a single one, those that had most videos on it: they say most.
    """
    known = KnownSellers(opened.night.data, opened.night.crawl_date).canaries(candidates)
    is_deep = needs_pages(shown_by)

    def key(seller_id: str) -> tuple[int, int]:
        videos = known[seller_id].videos if seller_id in known else 0
        has_one_page = videos < PAGE_SIZE
        return (2 if not videos else int(has_one_page == is_deep), -videos if has_one_page else videos)

    return sorted(candidates, key=key)[:_CANARIES]
