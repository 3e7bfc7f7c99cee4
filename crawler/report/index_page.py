"""`runs/index.html`: every night with its verdict and figures, and links to the pages that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crawler.report.figure import table
from crawler.report.markup import Markup, document, shown, tag
from crawler.report.page_facts import NightFigures

_HEADS = ("night", "verdict", "exit code", "rows", "sellers complete", "failed", "credits", "minutes")


def as_index(nights: Sequence[NightFigures], link_of: dict[str, str]) -> str:
    """The nights as a page, the newest first; `link_of` a run leads to its page."""
    rows = ((*_cells(night), _links(night, link_of)) for night in reversed(nights))
    count = tag("p", f"{len(nights):,} nights. A page is kept as long as its run's folder.", class_="soft")
    body = tag("body", tag("h1", "Nights"), count, table((*_HEADS, "pages"), rows, "nights"))
    return document("Nights", body)


def _cells(night: NightFigures) -> Iterable[str]:
    complete = shown(night.complete)
    sellers = complete if night.sellers is None else f"{complete} of {shown(night.sellers)}"
    figures = (shown(night.rows), sellers, shown(night.failed), shown(night.credits), shown(night.minutes))
    return (night.crawl_date, night.verdict, shown(night.exit_code), *figures)


def _links(night: NightFigures, link_of: dict[str, str]) -> Markup:
    """A link to the latest run's page, and a number for each of the earlier ones."""
    runs = [run for run in night.pages if run in link_of]
    names = ["page", *(str(number) for number in range(2, len(runs) + 1))]
    links = (tag("a", name, href=link_of[run]) for name, run in zip(names, runs, strict=False))
    return Markup(" ".join(links))
