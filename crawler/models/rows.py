"""The rows of pages: one page's as columns, many pages' as a table, and those that cannot be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be kept: its place on the page (from 1), itself as received, and why."""

    place: int
    row: Any
    reason: str


@dataclass(frozen=True, slots=True)
class PageRows:
    """A page's rows as columns of equal length.

    `values` holds one list for each of `API_COLUMNS` and for `extra`; `places` are the kept rows'
    places on the page, from 1.
    """

    places: list[int]
    values: dict[str, list[Any]]
    rejects: list[Reject]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """The rows of some pages, in their order, and what was rejected with the number of its page, from 0.

    `rows` is an Arrow table: the API's columns, `extra`, and for each row the number of its `page` and its
    `place` on it, from 1.
    """

    rows: Any
    rejects: list[tuple[int, Reject]]
