"""What publishing asks of rows that come from earlier snapshots, which `history` reads for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from typing import Protocol

import pyarrow as pa

from crawler.store.records import SellerSummary


@dataclass(frozen=True, slots=True)
class Audit:
    """How carrying would have fared with sellers that were crawled in full all the same.

    `wrong` of the `audited` sellers differ, in so many videos: with other counts (`changed`), not in the
    earlier snapshot (`missed`), no longer there (`gone`).
    """

    audited: int = 0
    wrong: int = 0
    changed: int = 0
    missed: int = 0
    gone: int = 0

    def __add__(self, other: Audit) -> Audit:
        return Audit(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class CarriedRows(Protocol):
    """Rows of earlier snapshots. Whoever reads them gets a `CarriedRowsLostError` where a file is damaged.

    `damages` says what is wrong with files; `lost` names the sellers whose rows are lost with them.
    """

    damages: list[str]
    lost: list[str]

    def pieces(self, sellers: dict[date, list[str]], *, carried: bool = True) -> Iterator[pa.Table]:
        """Rows of sellers by the snapshot they are in, some at a time.

        With `carried` each row has the date that it was crawled for, else the date that it had.
        """

    def expected(self, seller: SellerSummary) -> int:
        """How many rows `pieces` has of a seller that is carried."""

    def audit(self, sellers: list[SellerSummary], crawled: pa.Table) -> Audit:
        """Compare sellers' rows, as they were crawled, with those that would have been carried."""

    def require_unchanged(self) -> None:
        """Raise `CarriedRowsLostError` where a file has changed since it was verified."""
