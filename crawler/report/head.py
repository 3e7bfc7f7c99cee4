"""The report in a few lines of plain text: what somebody is told who has not asked. Open it to tell more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from crawler.exit_codes import EXIT_CODES, IMPLAUSIBLE, verdict_of
from crawler.models.encodings import printable
from crawler.models.seller import SellerStatus
from crawler.report.markup import listed, number, part, shown

MAX_BYTES = 10_000
_CUT = "\n…"
_CAUSES = 5
_NOTES = 20
"""Notes that are told at most: the report has all of them."""


def as_head(report: Mapping[str, Any]) -> str:
    """The report as lines, what matters most first; what it lacks is left out.

    Each text stays on its line, and its control characters are spelled out.
    """
    return shortened("".join(f"{printable(line)}\n" for line in _lines(report)), MAX_BYTES)


def shortened(text: str, max_bytes: int) -> str:
    """As much of the text as its UTF-8 may take."""
    content = text.encode(errors="backslashreplace")
    if len(content) <= max_bytes:
        return content.decode()
    return content[: max_bytes - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    code = report.get("exit_code")
    known = EXIT_CODES.get(code) if isinstance(code, int) else None
    day = f"crawl date {report['crawl_date']}" if report.get("crawl_date") else "crawl"
    yield f"{day}: {verdict_of(code) if isinstance(code, int) else 'unknown'}, exit code {shown(code)}"
    plausibility = part(report, "plausibility")
    reasons = listed(plausibility, "reasons")
    if known is not None and code and code != IMPLAUSIBLE.number:
        yield f"meaning: {_plain(known.meaning)}"
    if reasons:
        yield f"the night is {plausibility.get('verdict')}:"
        yield from _items(reasons)
    if report.get("message") and (known is None or report["message"] != known.meaning):
        yield from str(report["message"]).split("\n")
    yield from _figures(report)
    if known is not None and code:
        advice = _plain(known.advice).replace("--crawl-date D", f"--crawl-date {report.get('crawl_date')}")
        yield f"what to do: {advice}"
    if report.get("go_on"):
        yield f"go on with it by: {report['go_on']}"
    notes = (note for note in listed(report, "notes") if not any(str(why) in str(note) for why in reasons))
    yield from _items(islice(notes, _NOTES))
    if report.get("run_id"):
        yield f"run {report['run_id']}, {report.get('started_at')} to {report.get('finished_at')}"


def _items(texts: Iterable[Any]) -> Iterator[str]:
    return (f"- {text}" for text in texts)


def _figures(report: Mapping[str, Any]) -> Iterator[str]:
    sellers, rows, credit = (part(report, key) for key in ("sellers", "rows", "credits"))
    if sellers:
        counted = [f"{shown(sellers[status])} {status}" for status in SellerStatus if sellers.get(status)]
        yield f"sellers: {', '.join(counted) or 'none'}, of {shown(sellers.get('total'))}"
    if rows:
        unpublished = ", not published by this run" if report.get("published") is False else ""
        yield f"rows: {shown(rows.get('written'))}{_carried(report)}{unpublished}"
    if credit:
        yield "credits: " + ", ".join(_spent(credit))
    if pace := part(report, "qps"):
        sent = shown(part(report, "requests").get("sent"))
        yield f"requests: {sent}, {shown(pace.get('achieved'))} a second of {shown(pace.get('limit'))}"
    # A message names the cause already; that some sellers failed has none.
    if number(sellers.get("failed")) and not report.get("message") and (causes := _causes(report)):
        yield f"requests without a page: {causes}"


def _carried(report: Mapping[str, Any]) -> str:
    """How many rows are of earlier nights, and how old pages are."""
    carried, oldest = part(report, "rows").get("carried"), part(report, "freshness").get("oldest_days")
    if not number(carried):
        return ""
    age = "" if oldest is None else f"; age of the oldest page: {shown(oldest)} d"
    return f", {shown(carried)} of them carried{age}"


def _causes(report: Mapping[str, Any]) -> str:
    """Why requests brought no page, the most frequent causes first."""
    kinds = part(part(report, "errors"), "by_kind")
    return ", ".join(
        f"{shown(kinds[kind])} x {kind}"
        for kind in islice(sorted(kinds, key=lambda kind: -number(kinds[kind])), _CAUSES)
    )


def _spent(credit: Mapping[str, Any]) -> Iterator[str]:
    yield f"{shown(credit.get('spent'))} spent"
    for what, spent, limit in (
        ("date", "spent_for_date", "budget"),
        ("month", "spent_for_month", "monthly_budget"),
    ):
        of = f" of {shown(credit[limit])}" if credit.get(limit) is not None else ""
        if of or number(credit.get(spent)):
            yield f"{shown(credit.get(spent))}{of} for the {what}"


def _plain(text: str) -> str:
    return text.replace("`", "")
