"""What changed in a night, video by video and seller by seller. Open it to show other columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crawler.report.figure import table
from crawler.report.markup import Markup, cut, listed, part, shown, tag
from crawler.report.page_facts import Moved, PageFacts, Row, SellerNames
from crawler.report.top_movers_words import sentences

KINDS = {
    "published": "new since the night before",
    "discovered": "older, seen for the first time",
    "changed": "other counts than before",
    "corrected": "a count fell",
    "gone": "no longer there",
    "returned": "there again",
}
"""Each kind of change in a few words; the docs have them too."""
_GAINS = (
    ("views", "total_views_cnt"),
    ("sales", "total_video_sale_cnt"),
    ("GMV", "total_video_sale_gmv_amt"),
)
_MOST_TOP_MOVERS = 50
_LARGEST = 1e15
"""From here on an amount is shown as a power of ten."""


def changed(facts: PageFacts) -> Iterator[Markup]:
    """Totals by kind, then movers, newcomers and losses."""
    if facts.moved is None:
        return
    yield from _totals(facts.moved)
    lists = (
        ("Movers: the largest gains of views", facts.moved.movers, _gains("_gain", "gain", "+")),
        ("Newcomers, by views", facts.moved.newcomers, _gains("", "", "")),
        ("Losses: videos that are gone", facts.moved.losses, ()),
    )
    for title, rows, figures in lists:
        if rows:
            heads = ("video, of seller", *(head for head, _, _ in figures))
            yield tag("h3", title)
            yield table(heads, ([_video(row), *_figures(row, figures)] for row in rows))


def top_movers(report: Mapping[str, Any]) -> Iterator[Markup]:
    """The videos that gained most, where they were asked for, and what stands in their way."""
    found = part(report, "top_movers")
    rows = [row for row in listed(found, "rows") if isinstance(row, Mapping)]
    yield from (tag("p", sentence) for sentence in sentences(found))
    if rows:
        heads = ("video, of seller", "certainty", f"{shown(found.get('by'))} gain", "now", "last seen")
        yield table(heads, map(_top_mover, rows[:_MOST_TOP_MOVERS]))
    if len(rows) > _MOST_TOP_MOVERS:
        yield tag("p", f"{len(rows) - _MOST_TOP_MOVERS:,} more: see report.json.", class_="soft")


def _top_mover(row: Row) -> list[str]:
    gain, value = row.get("gain"), row.get("value")
    return [_video(row), shown(row.get("certainty")), _signed(gain), _money(value), shown(row.get("since"))]


def fallen(facts: PageFacts) -> Iterator[Markup]:
    """Sellers that were read to their end on both nights, and have less now."""
    heads = ("seller", "videos before", "now", "views before", "now", "change")
    names = ("videos_before", "videos", "views_before", "views")

    def cells(row: Row) -> list[str]:
        return [shown(row.get("seller_id")), *(shown(row.get(name)) for name in names), _change(row)]

    if facts.fallen.rows:
        yield tag("p", f"Complete now and on {shown(facts.compared_with)}.", class_="soft")
    yield from _named(facts.fallen, heads, cells)


def cut_off(facts: PageFacts) -> Iterator[Markup]:
    """Sellers of which pages are missing."""
    heads, names = ("seller", "pages", "videos", "why"), ("seller_id", "pages", "videos", "stop_reason")
    yield from _named(facts.cut_off, heads, lambda row: [shown(row.get(name)) for name in names])


def _named(found: SellerNames, heads: Sequence[str], cells: Any) -> Iterator[Markup]:
    if found.rows:
        yield table(heads, map(cells, found.rows))
    if found.count > len(found.rows):
        yield tag("p", f"{found.count - len(found.rows):,} more: see the rows of sellers/.", class_="soft")


def _totals(moved: Moved) -> Iterator[Markup]:
    rows = [
        (Markup(tag("strong", kind) + tag("span", f" {words}", class_="soft")), *_sums(moved.totals[kind]))
        for kind, words in KINDS.items()
        if moved.totals.get(kind, {}).get("videos")
    ]
    if rows:
        yield table(("kind", "videos", "views gain", "sales gain", "GMV gain"), rows)
    else:
        yield tag("p", "Nothing moved.")


def _sums(total: Row) -> list[str]:
    gains = (total.get(f"{name}_gain") for name in ("views", "sales", "gmv"))
    return [shown(total.get("videos")), *(_signed(gain) for gain in gains)]


def _gains(ending: str, word: str, sign: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((f"{name} {word}".strip(), f"{column}{ending}", sign) for name, column in _GAINS)


def _figures(row: Row, figures: Sequence[tuple[str, str, str]]) -> list[str]:
    return [_signed(row.get(name)) if sign else _money(row.get(name)) for _, name, sign in figures]


def _video(row: Row) -> Markup:
    """A video, and below it its seller: beside each other they would fill a narrow screen."""
    seller = tag("span", cut(shown(row.get("seller_id"))), class_="soft")
    return Markup(tag("span", cut(shown(row.get("video_id")))) + seller)


def _change(row: Row) -> str:
    before, now = row.get("views_before"), row.get("views")
    return f"{(now - before) / before:+.1%}" if before and now is not None else shown(None)


def _signed(value: Any) -> str:
    text = _money(value)
    return f"+{text}" if isinstance(value, int | float) and value >= 0 else text


def _money(value: Any) -> str:
    is_amount = isinstance(value, float) and abs(value) < _LARGEST
    return f"{value:,.2f}" if is_amount else shown(value)
