"""`runs/index.html`: every night with its verdict and figures, and links to the pages that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crawler.report.figure import table
from crawler.report.markup import Markup, document, shown, tag
from crawler.report.page_facts import PastNight

_HEADS = ("night", "verdict", "exit code", "rows", "sellers complete", "failed", "credits", "minutes")
_NOTHING_RAN = "nothing ran"


def as_index(
    nights: Sequence[PastNight], links: Mapping[str, Sequence[str]], missed: Mapping[str, str] | None = None
) -> str:
    """The nights as a page, the latest first; `links` lead to the pages of a crawl date's runs.

    `missed` are dates on which nothing ran, some in a row as one text, by the last of them.
    """
    lines = {night.crawl_date: (*_cells(night), _links(links.get(night.crawl_date, ()))) for night in nights}
    lines |= {last: (dates, _NOTHING_RAN, *[shown(None)] * 6, "") for last, dates in (missed or {}).items()}
    rows = (lines[day] for day in sorted(lines, reverse=True))
    count = tag("p", f"{len(nights):,} nights. A page is kept as long as its run's folder.", class_="soft")
    body = tag("body", tag("h1", "Nights"), count, table((*_HEADS, "pages"), rows, "nights"))
    return document("Nights", body)


def _cells(night: PastNight) -> Iterable[str]:
    complete = shown(night.complete)
    sellers = complete if night.sellers is None else f"{complete} of {shown(night.sellers)}"
    figures = (shown(night.rows), sellers, shown(night.failed), shown(night.credits), shown(night.minutes))
    return (night.crawl_date, night.verdict, shown(night.exit_code), *figures)


def _links(paths: Sequence[str]) -> Markup:
    """A link to the latest run's page, and a number for each of the earlier ones."""
    names = ["page", *(str(number) for number in range(2, len(paths) + 1))]
    return Markup(" ".join(tag("a", name, href=path) for name, path in zip(names, paths, strict=False)))
