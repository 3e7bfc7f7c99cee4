"""The run report as a page for people, in the order in which one asks in the morning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crawler.exit_codes import EXIT_CODES
from crawler.models.seller import SellerStatus
from crawler.report.markup import Markup, bar, document, figures, tag
from crawler.report.values import listed, moment, number, of, part, share, shown
from crawler.report.wording import ASIDES, CERTAIN, LIST, REQUESTS, ROWS, STOPS

_NOTHING_LEFT = "nothing was left to do for this crawl date"
_STATUSES = tuple(map(str, SellerStatus))


def as_page(report: Mapping[str, Any]) -> str:
    """The report, with `report.json`'s keys, as one HTML page that needs nothing else.

    What the report lacks is left out, or shown as a dash. The page is well-formed XML too.
    """
    name = f"Crawl of {shown(report.get('crawl_date'))}"
    sections = (
        ("Credits", _credits(part(report, "credits"))),
        ("Sellers", _sellers(part(report, "sellers"))),
        ("Why sellers stopped", _counts(part(report, "stops"), STOPS)),
        ("Rows of the snapshot", _rows(part(report, "rows"))),
        ("Requests and pace", _requests(part(report, "requests"), part(report, "qps"))),
        ("Requests without a page", _errors(part(report, "errors"))),
        ("Failures", _failures(report)),
        ("Notes", _notes(report)),
    )
    known = (_section(title, list(parts)) for title, parts in sections)
    body = tag("body", tag("h1", name), *_outcome(report), *known)
    return document(f"{name}: {shown(report.get('status'))}", body)


def _section(title: str, parts: list[Markup]) -> str:
    return tag("section", tag("h2", title), *parts) if parts else ""


def _outcome(report: Mapping[str, Any]) -> Iterator[Markup]:
    status, code = shown(report.get("status")), report.get("exit_code")
    known = EXIT_CODES.get(code) if isinstance(code, int) else None
    meaning = "not known to this page" if known is None else known.meaning
    advice = "see docs/operations.md" if known is None else known.advice
    if code == 0 and part(report, "requests").get("sent") == 0:
        meaning = _NOTHING_LEFT
    if code == 0 and report.get("go_on"):
        advice = "run again"
    parts = [tag("p", tag("strong", status), f", exit code {shown(code)}: {_plain(meaning)}.")]
    if report.get("message"):
        parts.append(tag("p", shown(report["message"])))
    if report.get("published") is False:
        parts.append(tag("p", "This run published nothing."))
    parts.append(tag("p", tag("strong", "What to do: "), f"{_plain(advice)}."))
    if report.get("go_on"):
        words = shown(report["go_on"]).split(" ")
        parts.append(tag("pre", *(part for word in words for part in (tag("span", word), " "))))
    colour = status if status in _STATUSES else ""
    yield tag("div", *parts, class_=f"outcome {colour}")
    began, ended = moment(report.get("started_at")), moment(report.get("finished_at"))
    yield tag("p", f"Run {shown(report.get('run_id'))}, from {began} to {ended}", class_="soft")


def _credits(counts: Mapping[str, Any]) -> Iterator[Markup]:
    spent = (
        ("spent by this run", "spent", ""),
        ("spent for the crawl date, by all its runs", "spent_for_date", "budget"),
        ("spent in the billing month", "spent_for_month", "monthly_budget"),
    )
    yield from figures(
        (words, of(counts[key], counts.get(limit)), bar(counts[key], counts.get(limit)))
        for words, key, limit in spent
        if key in counts
    )


def _sellers(counts: Mapping[str, Any]) -> Iterator[Markup]:
    shares = {name: share(counts.get(name), counts.get("total")) for name in _STATUSES if name in counts}
    parts = [tag("i", class_=name, style=f"width:{of_all:.2%}") for name, of_all in shares.items() if of_all]
    if parts:
        yield tag("div", *parts, class_="bar sellers")
    keys = {name: Markup(tag("span", class_=f"key {name}") + name) for name in shares}
    yield from figures((keys[name], shown(counts[name]), f"{of_all:.1%}") for name, of_all in shares.items())
    yield from figures((words, shown(counts[key]), "") for key, words in LIST.items() if counts.get(key))


def _rows(counts: Mapping[str, Any]) -> Iterator[Markup]:
    total = sum(number(counts.get(key)) for key in ("received", "carried"))
    yield from figures(
        (words, shown(counts[key]), bar(counts[key], total)) for key, words in ROWS.items() if key in counts
    )


def _requests(counts: Mapping[str, Any], pace: Mapping[str, Any]) -> Iterator[Markup]:
    yield from figures((words, shown(counts[key]), "") for key, words in REQUESTS.items() if key in counts)
    if pace:
        achieved, limit = pace.get("achieved"), pace.get("limit")
        yield from figures([("sent a second, of the limit", of(achieved, limit), bar(achieved, limit))])
    by_status = part(counts, "by_status")
    yield from _counts(by_status, {status: f"HTTP {status}" for status in by_status if status.isdecimal()})


def _counts(counts: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[Markup]:
    """Counts by what they are of, the most first."""
    total = sum(number(count) for count in counts.values())
    ordered = sorted(counts.items(), key=lambda item: -number(item[1]))
    yield from figures((words.get(key, key), shown(count), bar(count, total)) for key, count in ordered)


def _errors(counts: Mapping[str, Any]) -> Iterator[Markup]:
    """The last error, and how many there were of each kind."""
    last, by_kind = part(counts, "last"), part(counts, "by_kind")
    if last:
        yield tag("p", tag("strong", "The last error: "), shown(last.get("reason")))
    yield from _counts(by_kind, {kind: f"HTTP {kind}" for kind in by_kind if kind.isdecimal()})


def _failures(report: Mapping[str, Any]) -> Iterator[Markup]:
    failures = [failure for failure in listed(report, "failures") if isinstance(failure, Mapping)]
    if failures:
        names = ("seller", "page", "reason")
        rows = ((tag("td", shown(failure.get(name))) for name in names) for failure in failures)
        head = tag("thead", tag("tr", *(tag("th", name) for name in names)))
        yield tag("table", head, tag("tbody", *(tag("tr", *row) for row in rows)), class_="failures")
    more = int(number(part(report, "sellers").get("failed"))) - len(failures)
    if more > 0:
        yield tag("p", f"{more:,} more: the rows of sellers/ whose status is failed.")


def _notes(report: Mapping[str, Any]) -> Iterator[Markup]:
    if notes := listed(report, "notes"):
        yield tag("ul", *(tag("li", shown(note)) for note in notes))
    for key, words in ASIDES.items():
        counts = part(report, key)
        if any(number(value) for value in counts.values()):
            yield from figures((words[name], shown(counts[name]), "") for name in words if name in counts)
    if "certain_above" in report:
        above, rows = report["certain_above"], report.get("certain_rows")
        certain = [(CERTAIN, shown(above), ""), ("rows worth more", shown(rows), "")]
        yield from figures(certain[: 1 if above is None else 2])


def _plain(text: str) -> str:
    """Text of the documentation without its marks."""
    return text.replace("`", "")
