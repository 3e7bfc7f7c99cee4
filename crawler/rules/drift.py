"""Drift: where a seller's list changed while it was read, and which pages to read again for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crawler.models.page import Gap, Page, stable_hash
from crawler.models.seller import SellerProgress


def gap_before(progress: SellerProgress, page: Page) -> Gap | None:
    """The gap between `page` and the one before it, with `progress` as it was then; None without one.

    In a list that does not change no row comes twice, and none is worth more than the one before. Rows
    that rose past the reader leave either trace; rows that fell or went may leave none. A page that repeats
    an earlier one is the list's end, and no gap.
    """
    if not progress.pages or not page.row_count or page.fingerprint in progress.fingerprints:
        return None
    overlap = _overlap(progress, page)
    head = page.values[0] if page.values else None
    rose = head is not None and progress.last_value is not None and head > progress.last_value
    return Gap(page.page_num, overlap) if overlap or rose else None


def _overlap(progress: SellerProgress, page: Page) -> int:
    """Rows of a page up to the last that was on the page before: what rises pushes them on."""
    stored = progress.stored_last_id_hash
    hash_of, known = (stable_hash, {stored}) if stored else (hash, set(progress.id_hashes))
    if known.isdisjoint(map(hash_of, page.ids)):
        return 0
    return max(place for place, video_id in enumerate(page.ids, 1) if hash_of(video_id) in known)


class Repair:
    """Which pages of a seller to read again, so that rows which rose past the reader are found.

    From the page before each gap towards the first, until one is as it was: beyond it nothing has
    moved. Then the page at the gap, into which later moves may have pushed what rose. No page is read
    again twice. `page_num` is the page to read next, None at the end.
    """

    def __init__(self, gaps: Iterable[Gap], readings: Mapping[int, int]) -> None:
        self._gaps = sorted(gap.page_num for gap in gaps)
        self._readings = readings
        self._again: set[int] = set()
        self._moved, self._low = False, 0
        self.page_num: int | None = None
        self._begin()

    def after(self, page: Page) -> int | None:
        """Go on after a page: every gap beyond the number returned is repaired; None while none is."""
        self._again.add(page.page_num)
        if page.page_num < self._gaps[-1]:
            moved = page.fingerprint != self._readings.get(page.page_num)
            self._moved |= moved
            self._low = page.page_num
            if moved and page.page_num > 1:
                self.page_num = page.page_num - 1
                return None
            if self._moved and self._gaps[-1] not in self._again:
                self.page_num = self._gaps[-1]
                return None
        repaired_beyond = self._low
        self._gaps = [gap for gap in self._gaps if gap <= repaired_beyond]
        self._begin()
        return repaired_beyond

    def _begin(self) -> None:
        """Turn to the last gap that is left."""
        self._moved, self._low = False, 0
        self.page_num = self._gaps[-1] - 1 if self._gaps else None
