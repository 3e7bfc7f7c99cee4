"""Rechecking a night that was held back: a few of its sellers are asked again before the rest of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Self

import pyarrow as pa

from crawler.history.known_sellers import KnownSellers
from crawler.models.api import COUNT_COLUMNS, PAGE_SIZE
from crawler.models.errors import ImplausibleError
from crawler.nightly.choosing import Choice, choose
from crawler.nightly.opening import Opened
from crawler.sellers.listing import SellerList
from crawler.store.held import Held, release, to_recheck
from crawler.store.journal import Journal
from crawler.store.segment_file import rows_of

_FIGURES = ("video_id", "create_time", *COUNT_COLUMNS)
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
        listed = list(compress(found, night.listed.contains(found)))
        if not listed:
            return None
        canaries = _small_ones(opened, listed[:_CANDIDATES])
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
        differing, same = journal.previous.differing(canaries)
        ended = len(differing) + len(same)
        differing.update(each for each, pages in same.items() if _has_other_rows(journal, each, pages))
        # An API that gets well little by little is compared with what it was at first.
        differed = differing.union(self.held.differed)
        if len(differed & canaries) <= _DIFFERING * ended:
            self.held.remember(journal, differed)
            journal.previous.replace()
            text = f"{ended - len(differing)} of {ended} canaries are answered as before"
            opened.notes.add(f"{text}: nobody else was asked again")
            raise ImplausibleError(text, self.held.reasons, self.to_recheck)
        as_before = [each for each in self.to_recheck if each not in differing]
        # What is published may rest on pages that are forgotten now.
        opened.store.replace_guard.disown()
        opened.store.replace_guard.record_required_sellers(opened.night.listed.ids)
        journal.previous.forget([pa.array(as_before, pa.string())], [*canaries.difference(differing)])
        release(journal)
        journal.previous.replace()
        opened.notes.add(
            f"{len(differing)} of {ended} canaries are answered otherwise than before: "
            f"{len(as_before)} further sellers that made the night implausible are asked again"
        )
        return choose(opened)


def _has_other_rows(journal: Journal, seller_id: str, crawls: Iterable[set[int]]) -> bool:
    """Whether videos of a seller that was asked again have other figures than before.

    Pages know the sum of the column alone that the API sorts by.
    """
    rows = rows_of(journal, seller_id, ("seq", *_FIGURES))
    numbers: list[Any] = rows["seq"].to_pylist()
    videos = [tuple(row.values()) for row in rows.select([*_FIGURES]).to_pylist()]
    now, then = (
        {video for video, number in zip(videos, numbers, strict=True) if number in pages} for pages in crawls
    )
    return now != then


def _small_ones(opened: Opened, candidates: Sequence[str]) -> list[str]:
    """The canaries: sellers that had few pages, but more than one, where there are such."""
    known = KnownSellers(opened.night.data, opened.night.crawl_date).canaries(candidates)

    def key(seller_id: str) -> tuple[int, int]:
        videos = known[seller_id].videos if seller_id in known else 0
        return (2 if not videos else int(videos < PAGE_SIZE), videos)

    return sorted(candidates, key=key)[:_CANARIES]
