"""The run report as a page for people, in the order in which one asks in the morning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from crawler.exit_codes import EXIT_CODES
from crawler.models.seller import SellerStatus
from crawler.report.attention import attention
from crawler.report.course import course
from crawler.report.details import details
from crawler.report.markup import Markup, cut, document, part, shown, tag
from crawler.report.moved_part import changed, cut_off, fallen, top_movers
from crawler.report.page_facts import NO_FACTS, PageFacts
from crawler.report.trends import trends

_MOST_SENTENCES, _LONGEST_SENTENCE = 50, 1000
_STATUSES = tuple(map(str, SellerStatus))


def as_page(report: Mapping[str, Any], facts: PageFacts = NO_FACTS) -> str:
    """The report as one well-formed HTML page; what it lacks is left out, or shown as a dash."""
    name = f"Crawl of {shown(report.get('crawl_date'))}"
    sections = (
        ("Tonight and the nights before", trends(facts.nights, facts.missed)),
        ("What changed", changed(facts)),
        ("Top movers", top_movers(report)),
        ("Sellers with less than before", fallen(facts)),
        ("Sellers that were cut off", cut_off(facts)),
        ("Over the night", course(report, facts.series)),
        *details(report),
    )
    filled = ((title, list(parts)) for title, parts in sections)
    known = (tag("section", tag("h2", title), *parts) for title, parts in filled if parts)
    body = tag("body", tag("h1", name), *_outcome(report), *_attention(report, facts), *known)
    return document(f"{name}: {shown(report.get('status'))}", body)


def _outcome(report: Mapping[str, Any]) -> Iterator[Markup]:
    status, code = shown(report.get("status")), report.get("exit_code")
    known = EXIT_CODES.get(code) if isinstance(code, int) else None
    meaning = "not known to this page" if known is None else known.meaning
    advice = "see docs/operations.md" if known is None else known.advice
    if code == 0 and part(report, "requests").get("sent") == 0:
        meaning = "nothing was left to do for this crawl date"
    if code == 0 and report.get("go_on"):
        advice = "run again"
    parts = [*_verdict(part(report, "plausibility"))]
    parts += [tag("p", tag("strong", status), f", exit code {shown(code)}: {_plain(meaning)}.")]
    if report.get("message"):
        parts.append(tag("p", shown(report["message"])))
    if report.get("published") is False:
        parts.append(tag("p", "This run published nothing."))
    parts.append(tag("p", tag("strong", "What to do: "), f"{_plain(advice)}."))
    if report.get("go_on"):
        words = shown(report["go_on"]).split(" ")
        parts.append(tag("pre", *(part for word in words for part in (tag("span", word), " "))))
    yield tag("div", *parts, class_=f"outcome {status if status in _STATUSES else ''}")
    began, ended = _moment(report.get("started_at")), _moment(report.get("finished_at"))
    yield tag("p", f"Run {shown(report.get('run_id'))}, from {began} to {ended}", class_="soft")


def _attention(report: Mapping[str, Any], facts: PageFacts) -> Iterator[Markup]:
    """What should be looked at; nothing of a report that says nothing."""
    if sentences := attention(report, facts):
        items = tag(
            "ul", *(tag("li", cut(sentence, _LONGEST_SENTENCE)) for sentence in sentences[:_MOST_SENTENCES])
        )
        yield tag("section", tag("h2", "Needs attention"), items)
    elif report.get("exit_code") == 0:
        yield tag("p", "Nothing else needs attention.")


def _verdict(plausibility: Mapping[str, Any]) -> Iterator[Markup]:
    """The verdict on the night and its reasons; nothing where it was not judged."""
    if plausibility.get("verdict"):
        yield tag("p", "The night is ", tag("strong", shown(plausibility["verdict"])), ".")
        yield from (tag("p", shown(reason)) for reason in plausibility.get("reasons") or ())


def _plain(text: str) -> str:
    return text.replace("`", "")


def _moment(stamp: Any) -> str:
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return shown(stamp)
