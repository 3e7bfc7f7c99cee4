"""Outages: whole nights of answers that say that all is well, but are wrong. Open it to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from crawler.models.errors import InputError
from crawler.simulator.catalogue import Catalogue

Row = dict[str, Any]
_SMALL_PAGE = 5


class Page(NamedTuple):
    """A page that is asked for: `shift` videos of its seller came in since the day began."""

    seller_id: str
    page_num: int
    page_size: int
    sort_field: int
    sort_type: int
    shift: int = 0

    def rows(self, catalogue: Catalogue) -> list[Row]:
        """Its rows as they should be."""
        return catalogue.page(
            self.seller_id, self.sort_field, self.sort_type, self.page_num, self.page_size, self.shift
        )


class Outage(NamedTuple):
    """What is served in place of each page, and how that is described."""

    doc: str
    rows: Callable[[Catalogue, Page], list[Row]]


def _empty(_catalogue: Catalogue, _page: Page) -> list[Row]:
    return []


def _half_empty(catalogue: Catalogue, page: Page) -> list[Row]:
    return [] if catalogue.share(page.seller_id) < 0.5 else page.rows(catalogue)


def _region(catalogue: Catalogue, page: Page) -> list[Row]:
    return [] if catalogue.region(page.seller_id) == "MY" else page.rows(catalogue)


def _stale(catalogue: Catalogue, page: Page) -> list[Row]:
    return page.rows(catalogue.the_day_before())


def _foreign(catalogue: Catalogue, page: Page) -> list[Row]:
    other = next(each for each in catalogue.seller_ids(100) if catalogue.size(each))
    rows = page._replace(seller_id=other, shift=0).rows(catalogue)
    return [{**row, "seller_id": page.seller_id} for row in rows]


def _page_ignored(catalogue: Catalogue, page: Page) -> list[Row]:
    return page._replace(page_num=1).rows(catalogue)


def _small_pages(catalogue: Catalogue, page: Page) -> list[Row]:
    return page._replace(page_size=min(_SMALL_PAGE, page.page_size)).rows(catalogue)


def _changed(change: Callable[[Row], Row]) -> Callable[[Catalogue, Page], list[Row]]:
    return lambda catalogue, page: [change(row) for row in page.rows(catalogue)]


def _renamed(row: Row) -> Row:
    return {"total_play_cnt" if name == "total_views_cnt" else name: value for name, value in row.items()}


def _zeros(row: Row) -> Row:
    return {name: 0 if name.startswith("total_") else value for name, value in row.items()}


def _nulls(row: Row) -> Row:
    return {name: None if name.startswith("total_") else value for name, value in row.items()}


def _rejected(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "video_id"}


OUTAGES: Mapping[str, Outage] = {
    "empty": Outage("every seller has an empty list", _empty),
    "half-empty": Outage("half of the sellers have an empty list", _half_empty),
    "region": Outage("the sellers of the region MY have an empty list", _region),
    "stale": Outage("every seller has the figures of the day before", _stale),
    "foreign": Outage("every seller has the videos of one of them, under its own ID", _foreign),
    "page-ignored": Outage("every page is the seller's first one", _page_ignored),
    "small-pages": Outage("every page has five rows, whatever was asked for", _small_pages),
    "renamed": Outage("total_views_cnt comes as total_play_cnt", _changed(_renamed)),
    "zeros": Outage("all counts are 0", _changed(_zeros)),
    "nulls": Outage("all counts are null", _changed(_nulls)),
    "rejected": Outage("no row has a video_id", _changed(_rejected)),
}
"""The outages by name."""


def served_rows(catalogue: Catalogue, page: Page, outage: str | None) -> list[Row]:
    """The rows of a page as they are served."""
    return page.rows(catalogue) if outage is None else OUTAGES[outage].rows(catalogue, page)


def read_outage(name: str) -> str:
    """The name of an outage as it is; raises `InputError` where there is none of that name."""
    if name not in OUTAGES:
        raise InputError(f"outage {name!r}: one of {', '.join(OUTAGES)} is wanted")
    return name
