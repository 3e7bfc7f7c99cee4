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


Serve = Callable[[Catalogue, Page], list[Row]]
"""Gives the rows that are served in place of a page's."""


class Outage(NamedTuple):
    """What is served in place of each page, and how that is described."""

    doc: str
    rows: Serve


def without_id(row: Row) -> Row:
    """A row that cannot be kept."""
    return {name: value for name, value in row.items() if name != "video_id"}


def _empty_if(is_hit: Callable[[Catalogue, str], bool]) -> Serve:
    return lambda catalogue, page: [] if is_hit(catalogue, page.seller_id) else page.rows(catalogue)


def _foreign(catalogue: Catalogue, page: Page) -> list[Row]:
    other = next(each for each in catalogue.seller_ids(100) if catalogue.size(each))
    rows = page._replace(seller_id=other, shift=0).rows(catalogue)
    return [{**row, "seller_id": page.seller_id} for row in rows]


def _each(change: Callable[[Row], Row]) -> Serve:
    return lambda catalogue, page: [change(row) for row in page.rows(catalogue)]


def _counts(value: int | None) -> Serve:
    return _each(lambda row: {name: value if name.startswith("total_") else row[name] for name in row})


def _renamed(row: Row) -> Row:
    return {"total_play_cnt" if name == "total_views_cnt" else name: value for name, value in row.items()}


OUTAGES: Mapping[str, Outage] = {
    "empty": Outage("every seller has an empty list", lambda *_: []),
    "half-empty": Outage(
        "half of the sellers have an empty list",
        _empty_if(lambda catalogue, seller: catalogue.share(seller) < 0.5),
    ),
    "region": Outage(
        "the sellers of the region MY have an empty list",
        _empty_if(lambda catalogue, seller: catalogue.region(seller) == "MY"),
    ),
    "stale": Outage(
        "every seller has the figures of the day before",
        lambda catalogue, page: page.rows(catalogue.the_day_before()),
    ),
    "foreign": Outage("every seller has the videos of one of them, under its own ID", _foreign),
    "page-ignored": Outage(
        "every page is the seller's first one",
        lambda catalogue, page: page._replace(page_num=1).rows(catalogue),
    ),
    "small-pages": Outage(
        "every page has five rows, whatever was asked for",
        lambda catalogue, page: page._replace(page_size=min(_SMALL_PAGE, page.page_size)).rows(catalogue),
    ),
    "renamed": Outage("total_views_cnt comes as total_play_cnt", _each(_renamed)),
    "zeros": Outage("all counts are 0", _counts(0)),
    "no-region": Outage("no row has a region", _each(lambda row: {**row, "region": None})),
    "nulls": Outage("all counts are null", _counts(None)),
    "rejected": Outage("no row has a video_id", _each(without_id)),
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
