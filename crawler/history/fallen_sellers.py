"""Sellers that have less than in the snapshot before, and those that were cut off, by name."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.figures import column_of
from crawler.history.first_rows import first_rows
from crawler.history.reader import SnapshotFiles, columns_of
from crawler.models.seller import SellerStatus, StopReason
from crawler.report.page_facts import SellerNames
from crawler.store.layout import SELLERS
from crawler.store.schema import SUMMED_SELLER_SCHEMA

_COUNTS = ("videos", "views")
_COLUMNS = columns_of(SUMMED_SELLER_SCHEMA, "seller_id", "status", "stop_reason", "pages", "videos", "views")
_OPTIONAL = frozenset({"views"})
_AS_ASKED = pa.array(
    [reason.value for reason in (StopReason.MAX_PAGES, StopReason.MIN_VALUE, StopReason.TOP)]
)


def sellers_of(data: Path, day: date) -> pa.Table:
    """What the page needs of a snapshot's sellers. Raises `UnreadableError`."""
    return SnapshotFiles.published(data, SELLERS, day).table(_COLUMNS, _OPTIONAL)


def cut_off(sellers: pa.Table, top: int) -> SellerNames:
    """Sellers of which pages are missing that were asked for, those with most videos first."""
    partial = _with_status(sellers, SellerStatus.PARTIAL)
    as_asked = pc.is_in(partial["stop_reason"], value_set=_AS_ASKED)
    return _first(partial.filter(pc.invert(as_asked)), "videos", top)


def fallen(now: pa.Table, before: pa.Table, top: int) -> SellerNames:
    """Sellers complete in both that have fewer videos or views now, those that lost most views first."""
    now, before = (_with_status(sellers, SellerStatus.COMPLETE) for sellers in (now, before))
    place: Any = pc.index_in(column_of(now, "seller_id"), value_set=column_of(before, "seller_id"))
    for name in _COUNTS:
        now = now.append_column(f"{name}_before", column_of(before, name).take(place))
    has_less: Any = pc.or_kleene(*(pc.less(now[name], now[f"{name}_before"]) for name in _COUNTS))
    rows = now.filter(has_less)
    lost: Any = pc.subtract(rows["views_before"], rows["views"])
    return _first(rows.append_column("lost", lost), "lost", top)


def _with_status(sellers: pa.Table, status: SellerStatus) -> pa.Table:
    # By an expression the filter would be a plan of Arrow's, whose import is heavy.
    return sellers.filter(pc.is_in(sellers["status"], value_set=pa.array([status.value])))


def _first(rows: pa.Table, by: str, top: int) -> SellerNames:
    return SellerNames(first_rows(rows, top, by, ["seller_id"]).to_pylist(), len(rows))
