"""The run report as a page for people, in the order in which one asks in the morning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from html import escape
from math import isfinite
from typing import Any

from crawler.exit_codes import EXIT_CODES
from crawler.models.seller import SellerStatus, StopReason

_NOTHING_LEFT = "nothing was left to do for this crawl date"
_LARGEST = 1e15
"""From here on a figure is told by its power of ten."""
_DASH = "\N{EN DASH}"
_STATUSES = tuple(map(str, SellerStatus))
_STOPS: dict[str, str] = {
    StopReason.SHORT_PAGE: "came to their end: a page that is not full",
    StopReason.EMPTY_PAGE: "came to their end: a page without rows",
    StopReason.REPEATED_PAGE: "came to their end: a page that repeats an earlier one",
    StopReason.CARRIED: "carried forward: the first page is as it was",
    StopReason.MAX_PAGES: "as many pages as asked for (--max-pages)",
    StopReason.MIN_VALUE: "rows worth less than asked for (--min-value)",
    StopReason.TOP: "the best videos were certain (--top)",
    StopReason.ERROR: "failed",
    StopReason.BUDGET: "the credit budget ran out",
    StopReason.QUOTA: "the provider's quota was used up",
    StopReason.KEY_REFUSED: "the key was refused",
    StopReason.API_DOWN: "the API was down",
    StopReason.INTERRUPTED: "the run was interrupted",
    StopReason.OUTPUT: "the output could not be written",
}
_LIST = {
    "total": "sellers listed",
    "repeated_in_list": "repeated in the list",
    "bad_ids_skipped": "bad lines of the list, skipped",
}
_ROWS = {
    "received": "received",
    "carried": "carried from earlier snapshots",
    "duplicate": "duplicate, the later one stands",
    "rejected": "rejected, kept in rejects.jsonl",
    "written": "written",
}
_REQUESTS = {"sent": "sent", "ok": "answered with a page", "retried": "asked again"}
_ASIDES = {
    "drift": {
        "sellers": "sellers whose list changed while it was read",
        "gaps": "pairs of pages between which rows may be missing",
        "overlap": "rows that came again on the next page",
    },
    "carry_forward": {
        "carried": "sellers carried forward",
        "credits_saved": "credits saved by that",
        "audited": "sellers crawled in full all the same, as an audit",
        "wrong": "of these, not as in the earlier snapshot",
        "changed": "their videos with other counts",
        "missed": "their videos that would have been missing",
        "gone": "their videos that would have been too many",
    },
    "probes": {"sent": "pages after a short one, as a probe", "rows_found": "rows found on them"},
    "after_rejects": {
        "pages": "pages after a short one that held rejected rows",
        "rows_found": "rows found on them",
    },
}
_CERTAIN = "every video worth more than this is in the snapshot, by what the API sorts by"

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


class _Markup(str):
    """Text that is markup already; every other text is escaped on its way into a tag."""

    __slots__ = ()


def as_page(report: Mapping[str, Any]) -> str:
    """The report, with `report.json`'s keys, as one HTML page that needs nothing else.

    What the report does not tell is left out, or shown as a dash. The page is well-formed XML too.
    """
    name = f"Crawl of {_shown(report.get('crawl_date'))}"
    title = _tag("title", f"{name}: {_shown(report.get('status'))}")
    head = _tag("head", _Markup(_META), title, _tag("style", _Markup(_STYLE)))
    sections = (
        ("Credits", _credits(_part(report, "credits"))),
        ("Sellers", _sellers(_part(report, "sellers"))),
        ("Why sellers stopped", _counts(_part(report, "stops"), _STOPS)),
        ("Rows of the snapshot", _rows(_part(report, "rows"))),
        ("Requests and pace", _requests(_part(report, "requests"), _part(report, "qps"))),
        ("Requests without a page", _errors(_part(report, "errors"))),
        ("Failures", _failures(report)),
        ("Notes", _notes(report)),
    )
    told = (_section(title, list(parts)) for title, parts in sections)
    body = _tag("body", _tag("h1", name), *_outcome(report), *told)
    return f"<!DOCTYPE html>\n{_tag('html', head, body, lang='en')}\n"


def _section(title: str, parts: list[_Markup]) -> str:
    return _tag("section", _tag("h2", title), *parts) if parts else ""


def _outcome(report: Mapping[str, Any]) -> Iterator[_Markup]:
    status, code = _shown(report.get("status")), report.get("exit_code")
    known = EXIT_CODES.get(code) if isinstance(code, int) else None
    meaning = "not known to this page" if known is None else known.meaning
    advice = "see docs/operations.md" if known is None else known.advice
    if code == 0 and _part(report, "requests").get("sent") == 0:
        meaning = _NOTHING_LEFT
    if code == 0 and report.get("go_on"):
        advice = "run again"
    told = [_tag("p", _tag("strong", status), f", exit code {_shown(code)}: {_plain(meaning)}.")]
    if report.get("message"):
        told.append(_tag("p", _shown(report["message"])))
    if report.get("published") is False:
        told.append(_tag("p", "This run published nothing."))
    told.append(_tag("p", _tag("strong", "What to do: "), f"{_plain(advice)}."))
    if report.get("go_on"):
        words = _shown(report["go_on"]).split(" ")
        told.append(_tag("pre", *(part for word in words for part in (_tag("span", word), " "))))
    colour = status if status in _STATUSES else ""
    yield _tag("div", *told, class_=f"outcome {colour}")
    began, ended = _moment(report.get("started_at")), _moment(report.get("finished_at"))
    yield _tag("p", f"Run {_shown(report.get('run_id'))}, from {began} to {ended}", class_="soft")


def _credits(told: Mapping[str, Any]) -> Iterator[_Markup]:
    spent = (
        ("spent by this run", "spent", ""),
        ("spent for the crawl date, by all its runs", "spent_for_date", "budget"),
        ("spent in the billing month", "spent_for_month", "monthly_budget"),
    )
    yield from _figures(
        (words, _of(told[key], told.get(limit)), _bar(told[key], told.get(limit)))
        for words, key, limit in spent
        if key in told
    )


def _sellers(told: Mapping[str, Any]) -> Iterator[_Markup]:
    shares = {name: _share(told.get(name), told.get("total")) for name in _STATUSES if name in told}
    parts = [_tag("i", class_=name, style=f"width:{share:.2%}") for name, share in shares.items() if share]
    if parts:
        yield _tag("div", *parts, class_="bar sellers")
    keys = {name: _Markup(_tag("span", class_=f"key {name}") + name) for name in shares}
    yield from _figures((keys[name], _shown(told[name]), f"{share:.1%}") for name, share in shares.items())
    yield from _figures((words, _shown(told[key]), "") for key, words in _LIST.items() if told.get(key))


def _rows(told: Mapping[str, Any]) -> Iterator[_Markup]:
    total = sum(_number(told.get(key)) for key in ("received", "carried"))
    yield from _figures(
        (words, _shown(told[key]), _bar(told[key], total)) for key, words in _ROWS.items() if key in told
    )


def _requests(told: Mapping[str, Any], pace: Mapping[str, Any]) -> Iterator[_Markup]:
    yield from _figures((words, _shown(told[key]), "") for key, words in _REQUESTS.items() if key in told)
    if pace:
        achieved, limit = pace.get("achieved"), pace.get("limit")
        yield from _figures([("sent a second, of the limit", _of(achieved, limit), _bar(achieved, limit))])
    by_status = _part(told, "by_status")
    yield from _counts(by_status, {status: f"HTTP {status}" for status in by_status if status.isdecimal()})


def _counts(told: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[_Markup]:
    """Counts by what they are of, the most first."""
    total = sum(_number(count) for count in told.values())
    ordered = sorted(told.items(), key=lambda item: -_number(item[1]))
    yield from _figures((words.get(key, key), _shown(count), _bar(count, total)) for key, count in ordered)


def _errors(told: Mapping[str, Any]) -> Iterator[_Markup]:
    """The last error, and how many there were of each kind."""
    last, by_kind = _part(told, "last"), _part(told, "by_kind")
    if last:
        yield _tag("p", _tag("strong", "The last error: "), _shown(last.get("reason")))
    yield from _counts(by_kind, {kind: f"HTTP {kind}" for kind in by_kind if kind.isdecimal()})


def _failures(report: Mapping[str, Any]) -> Iterator[_Markup]:
    failures = [failure for failure in _listed(report, "failures") if isinstance(failure, Mapping)]
    if failures:
        names = ("seller", "page", "reason")
        rows = ((_tag("td", _shown(failure.get(name))) for name in names) for failure in failures)
        head = _tag("thead", _tag("tr", *(_tag("th", name) for name in names)))
        yield _tag("table", head, _tag("tbody", *(_tag("tr", *row) for row in rows)), class_="failures")
    more = int(_number(_part(report, "sellers").get("failed"))) - len(failures)
    if more > 0:
        yield _tag("p", f"{more:,} more: the rows of sellers/ whose status is failed.")


def _notes(report: Mapping[str, Any]) -> Iterator[_Markup]:
    if notes := _listed(report, "notes"):
        yield _tag("ul", *(_tag("li", _shown(note)) for note in notes))
    for key, words in _ASIDES.items():
        told = _part(report, key)
        if any(_number(value) for value in told.values()):
            yield from _figures((words[name], _shown(told[name]), "") for name in words if name in told)
    if "certain_above" in report:
        above, rows = report["certain_above"], report.get("certain_rows")
        certain = [(_CERTAIN, _shown(above), ""), ("rows worth more", _shown(rows), "")]
        yield from _figures(certain[: 1 if above is None else 2])


def _figures(rows: Iterable[tuple[str, str, str]]) -> Iterator[_Markup]:
    """A table of what a figure is of, the figure, and its bar or share; none where there are no rows."""
    told = [
        _tag("tr", _tag("th", words, scope="row"), _tag("td", figure), _tag("td", beside))
        for words, figure, beside in rows
    ]
    if told:
        yield _tag("table", *told, class_="figures")


def _bar(figure: Any, total: Any) -> str:
    share = _share(figure, total)
    filled = _tag("i", style=f"width:{share:.2%}") if share else ""
    return _tag("div", filled, class_="bar") if _number(total) else ""


def _tag(name: str, *inside: str, **attributes: str) -> _Markup:
    told = "".join(f' {key.rstrip("_")}="{_escaped(value)}"' for key, value in attributes.items())
    content = "".join(part if isinstance(part, _Markup) else _escaped(part) for part in inside)
    return _Markup(f"<{name}{told}>{content}</{name}>")


def _escaped(text: str) -> str:
    """Text that can neither be markup nor hide anything: control characters are spelled out."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def _plain(text: str) -> str:
    """Text of the documentation without its marks."""
    return text.replace("`", "")


def _of(figure: Any, limit: Any) -> str:
    return _shown(figure) if limit is None else f"{_shown(figure)} of {_shown(limit)}"


def _shown(value: Any) -> str:
    """A figure with its thousands apart, text as it is, a dash where there is neither."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and isfinite(value):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < _LARGEST else f"{value:g}"
    return value if isinstance(value, str) and value else _DASH


def _moment(stamp: Any) -> str:
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return _shown(stamp)


def _number(value: Any) -> float:
    """A count or a measure; 0 where there is none."""
    return value if isinstance(value, int | float) and isfinite(value) and value > 0 else 0


def _share(figure: Any, total: Any) -> float:
    return min(1.0, _number(figure) / _number(total)) if _number(total) else 0.0


def _part(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = told.get(key)
    return part if isinstance(part, Mapping) else {}


def _listed(told: Mapping[str, Any], key: str) -> list[Any]:
    part = told.get(key)
    return part if isinstance(part, list) else []
