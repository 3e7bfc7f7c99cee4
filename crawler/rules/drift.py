"""Drift: where a seller's list moved while it was read, and which pages to read again for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crawler.models import Page, Seam, SellerProgress, mark


def seam_before(progress: SellerProgress, page: Page) -> Seam | None:
    """The seam between `page` and the one before it, with `progress` as it was then; None without one.

    Of a list that stands still no row comes twice, and none is worth more than what came before. Rows
    that rose past the reader leave either trace; rows that fell or went may leave none.
    """
    if not progress.pages or not page.row_count:
        return None
    overlap = _overlap(progress.edge, page)
    head = page.ranking[0][1] if page.ranking else None
    rose = head is not None and progress.least is not None and head > progress.least
    return Seam(page.page_num, overlap) if overlap or rose else None


def _overlap(edge: int, page: Page) -> int:
    """Rows of a page up to the one that ended the page before, which comes last of those that moved on."""
    if not edge:
        return 0
    places = (place for place, (video_id, _) in enumerate(page.ranking, 1) if mark(video_id) == edge)
    return next(places, 0)


class Repair:
    """Which pages of a seller to read again, so that rows which rose past the reader are found.

    From the page before each seam towards the first, until one is as it was: beyond it nothing has
    moved. No page is read again twice. `page_num` is the page to read next, None at the end.
    """

    def __init__(self, seams: Iterable[Seam], readings: Mapping[int, int]) -> None:
        self._seams = sorted(seam.page_num for seam in seams)
        self._readings = readings
        self.page_num = self._seams[-1] - 1 if self._seams else None

    def after(self, page: Page) -> int | None:
        """Go on after a page: every seam beyond the number returned is mended; None while none is."""
        if page.page_num > 1 and page.fingerprint != self._readings.get(page.page_num):
            self.page_num = page.page_num - 1
            return None
        self._seams = [seam for seam in self._seams if seam <= page.page_num]
        self.page_num = self._seams[-1] - 1 if self._seams else None
        return page.page_num
