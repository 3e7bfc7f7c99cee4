"""The building blocks of the page: values as text, whatever is missing, and well-formed HTML around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from html import escape
from math import isfinite
from typing import Any

_META = """\
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
"""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d9dee4;
  --paper: #fff; --tint: #f1f3f6; --complete: #2b8a4b; --partial: #d98a00; --failed: #c9302c;
  --pending: #9aa5b1; --figure: #3b73b9; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b1; --line: #343b43;
  --paper: #15181c; --tint: #20252b; --complete: #41b068; --partial: #e8a52b; --failed: #ec5f59;
  --pending: #67727e; --figure: #6ba0e0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 46rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 2rem 0 .25rem; font-size: 1.1rem; }
p { margin: .5rem 0; }
ul { padding-left: 1.25rem; }
.outcome { padding: .5rem 1rem; border-left: .35rem solid var(--pending); background: var(--tint); }
.outcome.complete { border-color: var(--complete); }
.outcome.partial { border-color: var(--partial); }
.outcome.failed { border-color: var(--failed); }
pre { margin: .5rem 0; padding: .6rem .75rem; border: 1px solid var(--line); background: var(--paper);
  white-space: pre-wrap; font: .875rem/1.45 ui-monospace, monospace; }
pre span { display: inline-block; max-width: 100%; white-space: pre-wrap; }
table { width: 100%; margin-bottom: 1rem; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; font-weight: normal; }
td:last-child { padding-right: 0; }
td, li, pre { unicode-bidi: isolate; }
thead th, .soft { color: var(--soft); font-size: .875rem; }
.figures th { width: 58%; }
.figures td { text-align: right; white-space: nowrap; }
.figures td:last-child { width: 20%; }
.failures td:nth-child(1) { width: 35%; }
.failures th, .failures td:nth-child(2) { white-space: nowrap; }
.bar { display: flex; height: .6rem; margin: .45rem 0; background: var(--tint); }
.bar i { min-width: 1px; background: var(--figure); }
.bar.sellers { height: 1.5rem; }
.key { display: inline-block; width: .75rem; height: .75rem; margin-right: .5rem; }
.bar, .bar i, .key { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.bar .complete, .key.complete { background: var(--complete); }
.bar .partial, .key.partial { background: var(--partial); }
.bar .failed, .key.failed { background: var(--failed); }
.bar .pending, .key.pending { background: var(--pending); }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; }
  tr, .outcome { break-inside: avoid; } }
"""

_LARGEST = 1e15
"""From here on a figure is shown as a power of ten."""

_DASH = "\N{EN DASH}"


class Markup(str):
    """Text that is markup already; every other text is escaped on its way into a tag."""

    __slots__ = ()


def document(title: str, body: Markup) -> str:
    """A whole page that needs nothing else."""
    head = tag("head", Markup(_META), tag("title", title), tag("style", Markup(_STYLE)))
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
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def shown(value: Any) -> str:
    """A figure with its thousands apart, text as it is, a dash where there is neither."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and isfinite(value):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < _LARGEST else f"{value:g}"
    return value if isinstance(value, str) and value else _DASH


def of(figure: Any, limit: Any) -> str:
    """A figure, of its limit where there is one."""
    return shown(figure) if limit is None else f"{shown(figure)} of {shown(limit)}"


def moment(stamp: Any) -> str:
    """A timestamp for people."""
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return shown(stamp)


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
