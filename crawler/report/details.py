"""The figures of a run's report, section by section: open it to show a key of `report.json` on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from crawler.models.seller import SellerStatus, StopReason
from crawler.report.charts import rows_across
from crawler.report.figure import figure, table
from crawler.report.markup import Markup, bar, cut, figures, listed, number, part, share, shown, tag

_MOST_CAUSES, _MOST_FAILURES, _LONGEST_LABEL = 12, 200, 24
"""How many of a bad night's are on its page: report.json has the rest."""
_STATUSES = tuple(map(str, SellerStatus))
_STOPS: dict[str, str] = {
    StopReason.SHORT_PAGE: "came to their end: a page that is not full",
    StopReason.EMPTY_PAGE: "came to their end: a page without rows",
    StopReason.REPEATED_PAGE: "came to their end: a page that repeats an earlier one",
    StopReason.CARRIED: "carried: the first page is as it was, or freshest did not read all",
    StopReason.MAX_PAGES: "as many pages as asked for (--max-pages)",
    StopReason.MIN_VALUE: "rows worth less than asked for (--min-value)",
    StopReason.TOP: "the best videos were certain (--top)",
    StopReason.ERROR: "failed",
    StopReason.BUDGET: "the credit budget ran out",
    StopReason.QUOTA: "the provider's quota was used up",
    StopReason.KEY_REFUSED: "the key was refused",
    StopReason.API_DOWN: "the API was down",
    StopReason.IMPLAUSIBLE: "the first answers of the night were implausible",
    StopReason.INTERRUPTED: "the run was interrupted",
    StopReason.OUTPUT: "the output could not be written",
}
_RETIRED = {
    "refused": "refused by the API",
    "used_up": "used up, says the provider",
    "budget": "its own budget is spent",
}
_LIST = {
    "total": "sellers listed",
    "repeated_in_list": "repeated in the list",
    "bad_ids_skipped": "bad lines of the list, skipped",
}
_ROWS = {
    "received": "received",
    "carried": "carried from earlier snapshots",
    "duplicate": "duplicate, the later one is kept",
    "rejected": "rejected, kept in rejects.jsonl",
    "written": "written",
}
_REQUESTS = {
    "sent": "sent",
    "ok": "answered with a page",
    "retried": "asked again",
    "unaccounted": "more may have been sent by lost workers",
}
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
    "freshness": {
        "oldest_days": "days since the pages were read that were read longest ago",
        "stale": "sellers with pages older than --max-age allows",
        "expected_drift": "what the pages that were not read are expected to have gained since",
        "value": "counted in",
        "target": "share of the night's gains that --target asked for",
    },
    "probes": {"sent": "pages after a short one, as a probe", "rows_found": "rows found on them"},
    "after_rejects": {
        "pages": "pages after a short one that held rejected rows",
        "rows_found": "rows found on them",
    },
}
_CERTAIN = {
    "certain_above": "every video worth more than this is in the snapshot, by what the API sorts by",
    "certain_rows": "rows worth more",
}

Section = tuple[str, Iterator[Markup]]


def details(report: Mapping[str, Any]) -> tuple[Section, ...]:
    """The sections, each with its title; one of which nothing is known is empty."""
    return (
        ("Credits", _credits(part(report, "credits"))),
        ("Keys", _keys(report)),
        ("Sellers", _sellers(part(report, "sellers"))),
        ("Why sellers stopped", _counts(part(report, "stops"), _STOPS)),
        ("Rows of the snapshot", _rows(part(report, "rows"))),
        ("Requests and pace", _requests(part(report, "requests"), part(report, "qps"))),
        ("Requests without a page", _errors(part(report, "errors"))),
        ("Failures", _failures(report)),
        ("More figures", _asides(report)),
    )


def _credits(counts: Mapping[str, Any]) -> Iterator[Markup]:
    spent = (
        ("spent by this run", "spent", ""),
        ("spent for the crawl date, by all its runs", "spent_for_date", "budget"),
        ("spent in the billing month", "spent_for_month", "monthly_budget"),
    )
    yield from figures(
        (words, _of(counts[key], counts.get(limit)), bar(counts[key], counts.get(limit)))
        for words, key, limit in spent
        if key in counts
    )


def _keys(report: Mapping[str, Any]) -> Iterator[Markup]:
    """What several keys have cost; nothing where there is one."""
    uses = [use for use in listed(report, "keys") if isinstance(use, Mapping)]
    if uses:
        heads = (
            "key",
            "spent by this run",
            "spent on its last UTC day",
            "spent in the billing month",
            "state",
        )
        rows = (
            (
                shown(use.get("name")),
                shown(use.get("sent")),
                _of(use.get("spent_for_day"), use.get("daily_budget")),
                _of(use.get("spent_for_month"), use.get("monthly_budget")),
                _RETIRED.get(str(use.get("retired")), "in use"),
            )
            for use in uses
        )
        yield table(heads, rows, "keys")


def _sellers(counts: Mapping[str, Any]) -> Iterator[Markup]:
    shares = {name: share(counts.get(name), counts.get("total")) for name in _STATUSES if name in counts}
    parts = [tag("i", class_=name, style=f"width:{of_all:.2%}") for name, of_all in shares.items() if of_all]
    if parts:
        yield tag("div", *parts, class_="bar sellers")
    keys = {name: Markup(tag("span", class_=f"key {name}") + name) for name in shares}
    yield from figures((keys[name], shown(counts[name]), f"{of_all:.1%}") for name, of_all in shares.items())
    yield from _named({key: counts[key] for key in _LIST if counts.get(key)}, _LIST)


def _rows(counts: Mapping[str, Any]) -> Iterator[Markup]:
    return _named(counts, _ROWS, number(counts.get("received")) + number(counts.get("carried")))


def _named(counts: Mapping[str, Any], words: Mapping[str, str], total: float = 0) -> Iterator[Markup]:
    """The counts that have words, in the order of the words; with bars where there is a total."""
    known = {key: counts[key] for key in words if key in counts}
    return figures((words[key], shown(count), bar(count, total)) for key, count in known.items())


def _requests(counts: Mapping[str, Any], pace: Mapping[str, Any]) -> Iterator[Markup]:
    yield from _named(
        {key: count for key, count in counts.items() if count or key != "unaccounted"}, _REQUESTS
    )
    if pace:
        achieved, limit = pace.get("achieved"), pace.get("limit")
        yield from figures([("sent a second, of the limit", _of(achieved, limit), bar(achieved, limit))])
    yield from _counts(part(counts, "by_status"))


def _counts(counts: Mapping[str, Any], words: Mapping[str, str] | None = None) -> Iterator[Markup]:
    """Counts by what they are of, the highest first; without words, of HTTP statuses and kinds of error."""
    known = words or {status: f"HTTP {status}" for status in counts if status.isdecimal()}
    total = sum(map(number, counts.values()))
    ordered = sorted(counts.items(), key=lambda item: -number(item[1]))
    return figures((known.get(key, key), shown(count), bar(count, total)) for key, count in ordered)


def _errors(counts: Mapping[str, Any]) -> Iterator[Markup]:
    if last := part(counts, "last"):
        yield tag("p", tag("strong", "The last error: "), shown(last.get("reason")))
    kinds = sorted(part(counts, "by_kind").items(), key=lambda item: -number(item[1]))
    if kinds:
        drawn = [(cut(kind, _LONGEST_LABEL), number(count)) for kind, count in kinds[:_MOST_CAUSES]]
        rows = [(kind, shown(count)) for kind, count in kinds]
        heads, sent = ("cause", "attempts"), sum(number(count) for _, count in kinds)
        picture = rows_across("Attempts without a page", drawn)
        yield figure("Attempts without a page, by cause", [f"{sent:,.0f}"], picture, heads, rows)


def _failures(report: Mapping[str, Any]) -> Iterator[Markup]:
    failures = [failure for failure in listed(report, "failures") if isinstance(failure, Mapping)]
    names, listed_here = ("seller", "page", "reason"), failures[:_MOST_FAILURES]
    causes = Counter(map(_cause, failures))
    if len(causes) > 1:
        counted = ((cause, f"{count:,}") for cause, count in causes.most_common(_MOST_CAUSES))
        yield table(("reason", "sellers"), counted, "causes")
    if failures:
        rows = ([shown(failure.get(name)) for name in names] for failure in listed_here)
        yield table(names, rows, "failures")
    more = int(number(part(report, "sellers").get("failed"))) - len(listed_here)
    if more > 0:
        yield tag("p", f"{more:,} more: the rows of sellers/ whose status is failed.")


def _cause(failure: Mapping[str, Any]) -> str:
    """A failure's reason without whose it is."""
    place = f"seller {failure.get('seller')}, page {failure.get('page')}: "
    return cut(shown(failure.get("reason")).removeprefix(place))


def _asides(report: Mapping[str, Any]) -> Iterator[Markup]:
    for key, words in _ASIDES.items():
        counts = part(report, key)
        if any(map(number, counts.values())):
            yield from _named(counts, words)
    if "certain_above" in report:
        is_known = report["certain_above"] is not None
        yield from _named(report, _CERTAIN if is_known else {"certain_above": _CERTAIN["certain_above"]})


def _of(figure: Any, limit: Any) -> str:
    return shown(figure) if limit is None else f"{shown(figure)} of {shown(limit)}"
