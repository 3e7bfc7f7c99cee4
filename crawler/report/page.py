"""The run report as a page for people, in the order in which one asks in the morning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from crawler.exit_codes import EXIT_CODES
from crawler.models.seller import SellerStatus, StopReason
from crawler.report.markup import Markup, bar, document, figures, listed, number, part, share, shown, tag

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
    StopReason.IMPLAUSIBLE: "the first answers of the night were implausible",
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
    "duplicate": "duplicate, the later one is kept",
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
_CERTAIN = {
    "certain_above": "every video worth more than this is in the snapshot, by what the API sorts by",
    "certain_rows": "rows worth more",
}


def as_page(report: Mapping[str, Any]) -> str:
    """The report as one well-formed HTML page; what it lacks is left out, or shown as a dash."""
    name = f"Crawl of {shown(report.get('crawl_date'))}"
    sections = (
        ("Credits", _credits(part(report, "credits"))),
        ("Sellers", _sellers(part(report, "sellers"))),
        ("Why sellers stopped", _counts(part(report, "stops"), _STOPS)),
        ("Rows of the snapshot", _rows(part(report, "rows"))),
        ("Requests and pace", _requests(part(report, "requests"), part(report, "qps"))),
        ("Requests without a page", _errors(part(report, "errors"))),
        ("Failures", _failures(report)),
        ("Notes", _notes(report)),
    )
    filled = ((title, list(parts)) for title, parts in sections)
    known = (tag("section", tag("h2", title), *parts) for title, parts in filled if parts)
    body = tag("body", tag("h1", name), *_outcome(report), *known)
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


def _verdict(plausibility: Mapping[str, Any]) -> Iterator[Markup]:
    """The verdict on the night and its reasons; nothing where it was not judged."""
    if plausibility.get("verdict"):
        yield tag("p", "The night is ", tag("strong", shown(plausibility["verdict"])), ".")
        yield from (tag("p", shown(reason)) for reason in plausibility.get("reasons") or ())


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
    yield from _named(counts, _REQUESTS)
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
    yield from _counts(part(counts, "by_kind"))


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
    for key, words in _ASIDES.items():
        counts = part(report, key)
        if any(map(number, counts.values())):
            yield from _named(counts, words)
    if "certain_above" in report:
        is_known = report["certain_above"] is not None
        yield from _named(report, _CERTAIN if is_known else {"certain_above": _CERTAIN["certain_above"]})


def _plain(text: str) -> str:
    return text.replace("`", "")


def _of(figure: Any, limit: Any) -> str:
    return shown(figure) if limit is None else f"{shown(figure)} of {shown(limit)}"


def _moment(stamp: Any) -> str:
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return shown(stamp)
