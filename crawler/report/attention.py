"""What somebody should look at, in sentences, the worst first. Open it to say more, or less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crawler.report.markup import listed, number, part, shown
from crawler.report.page_facts import PageFacts
from crawler.report.trends import MEASURES, against_median, change_in_words

_THROTTLED, _MONTH = 0.01, 0.9
"""Shares that are mentioned: of requests answered by 429, and of the month's budget that is spent."""


def attention(report: Mapping[str, Any], facts: PageFacts) -> list[str]:
    """Sentences; none where nothing needs attention."""
    return [*_of_tonight(report, facts), *_of_trends(facts), *_notes(report), *facts.faults]


def _notes(report: Mapping[str, Any]) -> list[str]:
    """The notes of the report, but for those that only repeat why the night is implausible."""
    reasons = [
        reason for reason in listed(part(report, "plausibility"), "reasons") if isinstance(reason, str)
    ]
    notes = map(shown, listed(report, "notes"))
    return [note for note in notes if not any(reason and note.endswith(reason) for reason in reasons)]


def _of_tonight(report: Mapping[str, Any], facts: PageFacts) -> Iterator[str]:
    sellers, requests, credit = (part(report, key) for key in ("sellers", "requests", "credits"))
    failed, pending = number(sellers.get("failed")), number(sellers.get("pending"))
    if failed:
        yield f"{failed:,.0f} sellers failed: see Failures."
    if pending:
        yield f"{pending:,.0f} sellers were not asked for yet."
    if facts.cut_off.count:
        yield f"{facts.cut_off.count:,} sellers were cut off before their end: see Sellers that were cut off."
    throttled, sent = number(part(requests, "by_status").get("429")), number(requests.get("sent"))
    if sent and throttled / sent >= _THROTTLED:
        yield f"{throttled / sent:.1%} of the requests were answered by 429: a lower --qps may be faster."
    spent, budget = number(credit.get("spent_for_month")), number(credit.get("monthly_budget"))
    if budget and spent / budget >= _MONTH:
        yield f"{spent / budget:.0%} of the month's budget are spent."
    if facts.moved is not None and facts.moved.outdated_by:
        yield f"The changes are out of date since {', '.join(facts.moved.outdated_by)} was published."


def _of_trends(facts: PageFacts) -> Iterator[str]:
    for measure in MEASURES:
        found = against_median(measure, facts.nights)
        if found is None:
            continue
        tonight, usual = found
        if (tonight - usual) * measure.is_bad > measure.notable * usual > 0:
            yield f"{measure.title}: {shown(round(tonight, 1))}, {change_in_words(tonight, usual)}."
