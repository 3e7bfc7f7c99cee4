"""A picture with its headline, its key and the table behind it; and tables by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crawler.report.markup import Markup, cut, tag

Cells = Sequence[str]


def figure(
    title: str, headline: Sequence[str], picture: Markup, heads: Cells, rows: Iterable[Cells], key: Cells = ()
) -> Markup:
    """A chart under its title; `key` names its series in their order, where there is more than one."""
    names = (
        Markup(tag("span", class_=f"key series-{number}") + tag("span", name, class_="name"))
        for number, name in enumerate(key)
    )
    caption = tag("figcaption", tag("strong", title), *(tag("span", text) for text in headline if text))
    legend = [tag("p", *names, class_="legend")] if key else []
    behind = tag("details", tag("summary", "Table"), table(heads, rows))
    return tag("figure", caption, *legend, picture, behind)


def figures_side_by_side(parts: Iterable[Markup]) -> Markup:
    """Charts beside each other as far as there is room."""
    return tag("div", *parts, class_="charts")


def table(heads: Cells, rows: Iterable[Cells], class_: str = "rows") -> Markup:
    """A table whose cells are text, or markup already; on a narrow screen it is moved sideways."""
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in heads)))
    body = tag("tbody", *(tag("tr", *(tag("td", _cell(text)) for text in row)) for row in rows))
    return tag("div", tag("table", head, body, class_=class_), class_="wide")


def _cell(text: str) -> str:
    return text if isinstance(text, Markup) else cut(text)
