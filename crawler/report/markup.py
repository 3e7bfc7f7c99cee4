"""The building blocks of the page: values as text, whatever is missing, and well-formed HTML around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from math import isfinite
from pkgutil import get_data
from typing import Any

from crawler.models.encodings import printable

_META = """\
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
"""

_LONGEST = 200
_LARGEST = 1e15
"""From here on a figure is shown as a power of ten."""
_DASH = "\N{EN DASH}"


class Markup(str):
    """Text that is markup already; every other text is escaped on its way into a tag."""

    __slots__ = ()


def document(title: str, body: Markup) -> str:
    """A whole page that needs nothing else."""
    style = (get_data("crawler.report", "page.css") or b"").decode()
    head = tag("head", Markup(_META), tag("title", title), tag("style", Markup(f"\n{style}")))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def tag(name: str, *inside: str, **attributes: str) -> Markup:
    """An element; what is inside is escaped, unless it is markup already."""
    given = "".join(f' {key.rstrip("_")}="{_escaped(value)}"' for key, value in attributes.items())
    content = "".join(part if isinstance(part, Markup) else _escaped(part) for part in inside)
    return Markup(f"<{name}{given}>{content}</{name}>")


def figures(rows: Iterable[tuple[str, str, str]]) -> Iterator[Markup]:
    """A table of what a figure is of, the figure, and its bar or share; none where there are no rows."""
    lines = [
        tag("tr", tag("th", words, scope="row"), tag("td", figure), tag("td", beside))
        for words, figure, beside in rows
    ]
    if lines:
        yield tag("table", *lines, class_="figures")


def bar(figure: Any, total: Any) -> str:
    """A bar, filled by the figure's share of the total; nothing without a total."""
    filled = tag("i", style=f"width:{share(figure, total):.2%}") if share(figure, total) else ""
    return tag("div", filled, class_="bar") if number(total) else ""


def _escaped(text: str) -> str:
    """Text that can neither be markup nor hide anything: control characters are spelled out."""
    return escape(printable(text))


def shown(value: Any) -> str:
    """A figure with its thousands apart, text as it is, a dash where there is neither."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and isfinite(value):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < _LARGEST else f"{value:g}"
    return value if isinstance(value, str) and value else _DASH


def cut(text: str, longest: int = _LONGEST) -> str:
    """A text of somebody else's, which may be of any length."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def number(value: Any) -> float:
    """A count or a measure; 0 where there is none."""
    return value if isinstance(value, int | float) and isfinite(value) and value > 0 else 0


def share(figure: Any, total: Any) -> float:
    """A figure's share of a total, from 0 to 1."""
    return min(1.0, number(figure) / number(total)) if number(total) else 0.0


def part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in it; an empty one where there is none."""
    inside = report.get(key)
    return inside if isinstance(inside, Mapping) else {}


def listed(report: Mapping[str, Any], key: str) -> list[Any]:
    """A list in it; an empty one where there is none."""
    inside = report.get(key)
    return inside if isinstance(inside, list) else []
