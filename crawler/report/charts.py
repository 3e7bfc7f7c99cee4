"""Charts as inline SVG: drawn by pygal, and copied without all that a picture does not need.

What pygal adds beside shapes (a script, styles, comments, its own tooltips) stays behind; colours and
text sizes are those of page.css.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crawler.report.markup import Markup, tag

_SIZE = {"width": 420, "height": 190}
_SHAPES = {"svg", "g", "rect", "path", "text", "circle"}
_ATTRIBUTES = {"viewBox", "class", "transform", "d", "x", "y", "width", "height", "cx", "cy", "r"}
_LABELS_ACROSS = 5
_HEADROOM = 1.08
_DECIMALS = re.compile(r"(\d+\.\d)\d+")
_LONG = re.compile(r"\.0(?=\D|$)")
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_FONT = 12

Points = Sequence[tuple[float, float | None]]
"""A line: where a value is None it is interrupted."""


def columns(title: str, labels: Sequence[str], series: Sequence[Sequence[float | None]]) -> Markup:
    """A column for each label, of the series one upon the other."""
    import pygal  # noqa: PLC0415 - only the page needs it

    ends = {labels[0], labels[-1], labels[len(labels) // 2]} if labels else set()
    chart = pygal.StackedBar(
        _config(), x_labels_major=sorted(ends), show_minor_x_labels=False, spacing=2, show_y_guides=True
    )
    chart.x_labels = list(labels)
    return _drawn(chart, title, series, "nights")


def lines(title: str, series: Sequence[Points], unit: str) -> Markup:
    """Lines over time; `unit` is that of the points' first values."""
    import pygal  # noqa: PLC0415 - only the page needs it

    chart = pygal.XY(
        _config(),
        show_dots=False,
        allow_interruptions=True,
        show_x_guides=False,
        x_value_formatter=lambda value: f"{short(value)} {unit}",
        include_x_axis=True,
    )
    last = max((x for points in series for x, _ in points), default=0.0)
    highest = max((y for points in series for _, y in points if y is not None), default=0.0)
    chart.x_labels = _round_steps(last)
    chart.range = (0, _HEADROOM * highest or 1)
    return _drawn(chart, title, series)


def rows_across(title: str, counts: Sequence[tuple[str, float]]) -> Markup:
    """A horizontal bar for each count, the first on top."""
    import pygal  # noqa: PLC0415 - only the page needs it

    chart = pygal.HorizontalBar(_config(), height=60 + 26 * len(counts), spacing=4)
    chart.x_labels = [name for name, _ in reversed(counts)]
    return _drawn(chart, title, [[count for _, count in reversed(counts)]])


def _round_steps(last: float) -> list[float]:
    """Round numbers from 0 up to the last, a few of them."""
    steps = (digit * 10**power for power in range(-2, 9) for digit in (1, 2, 5))
    step = next((step for step in steps if last <= step * _LABELS_ACROSS), last or 1)
    return [round(step * number, 2) for number in range(int(last / step) + 1)]


def short(value: float) -> str:
    """A figure in a few characters."""
    for size, unit in _UNITS:
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _config() -> Any:
    import pygal  # noqa: PLC0415 - only the page needs it
    from pygal.style import Style  # noqa: PLC0415

    return pygal.Config(
        js=[],
        css=[],
        no_prefix=True,
        disable_xml_declaration=True,
        show_legend=False,
        style=Style(label_font_size=_FONT, major_label_font_size=_FONT, font_family="sans-serif"),
        value_formatter=short,
        min_scale=3,
        max_scale=5,
        margin=6,
        truncate_label=-1,
        **_SIZE,
    )


def _drawn(chart: Any, title: str, series: Sequence[Sequence[Any]], class_: str = "") -> Markup:
    for number, values in enumerate(series):
        chart.add(str(number), list(values))
    root = chart.render_tree()
    named = {"role": "img", "aria-label": title, "class": class_, "xmlns": "http://www.w3.org/2000/svg"}
    return _copied(root, named)


def _name(element: Any) -> str:
    """The tag's name; empty for comments and the like."""
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def _copied(element: Any, extra: Mapping[str, str]) -> Markup:
    kept = {key: _shortened(text) for key, text in element.attrib.items() if key in _ATTRIBUTES and text}
    inside = [element.text] if _name(element) == "text" and element.text else []
    return tag(_name(element), *inside, *_children(element), **{**kept, **extra})


def _children(element: Any) -> Iterator[Markup]:
    said = {child.get("class"): child.text for child in element if _name(child) == "desc"}
    if said.get("value") and len(said) > 1:
        yield tag("title", ": ".join(filter(None, (said.get("x_label"), said["value"]))))
    for child in element:
        name = _name(child)
        is_shape = name in _SHAPES and "overlay" not in (child.get("class") or "")
        is_empty = name == "rect" and "0.0" in {child.get("height"), child.get("width")}
        if is_shape and not is_empty and not (name == "g" and not len(child)):
            yield _copied(child, {})


def _shortened(text: str) -> str:
    return _LONG.sub("", _DECIMALS.sub(r"\1", text.replace(" reactive", "").replace(" tooltip-trigger", "")))
