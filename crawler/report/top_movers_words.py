"""What is certain of top movers, and what stands in the way, in sentences: for a terminal and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crawler.models.certainty import Certainty
from crawler.report.markup import listed, number, part, shown


def sentences(top_movers: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about what `report.json` has of top movers; none of an empty part."""
    rows, unread = listed(top_movers, "rows"), part(top_movers, "unread")
    if rows:
        proved, top = proved_of(top_movers), shown(top_movers.get("top"))
        yield f"{proved} are proved to be among the {top} that gained most; any others are likely."
    yield from (f"Nothing is proved: {shown(doubt)}." for doubt in listed(top_movers, "doubts"))
    if unread:
        yield from _in_the_way(unread)


def proved_of(top_movers: Mapping[str, Any]) -> str:
    """How many of the movers are proved, as `7 of 10`."""
    rows = [row for row in listed(top_movers, "rows") if isinstance(row, Mapping)]
    return f"{sum(row.get('certainty') == Certainty.PROVED for row in rows):,} of {len(rows):,}"


def _in_the_way(unread: Mapping[str, Any]) -> Iterator[str]:
    rivals, most = unread.get("rivals"), unread.get("largest_gain")
    if not number(rivals):
        yield "No known video that was not read can have gained more than any of these."
        return
    yield f"{shown(rivals)} known videos that were not read may have gained more than the last of these."
    if number(unread.get("unbounded_videos")):
        videos, sellers = (shown(unread.get(f"unbounded_{name}")) for name in ("videos", "sellers"))
        yield f"Nothing bounds {videos} of them, of {sellers} sellers."
    if most is not None:
        yield f"None of them can have gained more than {shown(most)}."
