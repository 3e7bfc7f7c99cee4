"""What attempts have sent, as plain values on the way to the driver, and summed up there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from crawler.cluster.messages import Figures
from crawler.engine.gates import RequestCounts
from crawler.engine.key_lane import KeyLane
from crawler.models.errors import LastError
from crawler.rules.paging import ShortPageProbes


def figures_of(counts: RequestCounts, probes: ShortPageProbes, lanes: Sequence[KeyLane]) -> Figures:
    """The figures of one attempt, with those of each of several keys."""
    last, of_probes, after = counts.last_error, probes.probes, probes.after_rejects
    return Figures(
        sent=counts.sent,
        ok=counts.ok,
        retried=counts.retried,
        by_status=dict(counts.by_status),
        errors=dict(counts.errors),
        last_error=None if last is None else [last.seller, last.page, last.kind, last.reason],
        latencies=[*counts.latencies.counts],
        latency_s=counts.latencies.seconds,
        probes=[of_probes.sent, of_probes.rows_found, after.sent, after.rows_found],
        by_key=[dict(lane.sent) for lane in lanes],
    )


def sum_up(
    figures: Sequence[Figures], counts: RequestCounts, probes: ShortPageProbes, lanes: Sequence[KeyLane]
) -> None:
    """Let counts, probes and what was sent with each key be the sums over all attempts."""
    for number, lane in enumerate(lanes):
        _replace(lane.sent, [each.by_key[number] for each in figures if each.by_key])
    counts.sent = sum(each.sent for each in figures)
    counts.ok = sum(each.ok for each in figures)
    counts.retried = sum(each.retried for each in figures)
    _replace(counts.by_status, [each.by_status for each in figures])
    _replace(counts.errors, [each.errors for each in figures])
    for each in figures:
        if each.last_error is not None:
            counts.last_error = LastError(*each.last_error)
    if latencies := [each.latencies for each in figures if each.latencies]:
        counts.latencies.counts[:] = map(sum, zip(*latencies, strict=True))
    counts.latencies.seconds = sum(each.latency_s for each in figures)
    found = [sum(values) for values in zip(*(each.probes for each in figures), strict=True)] or [0] * 4
    probes.probes.sent, probes.probes.rows_found = found[:2]
    probes.after_rejects.sent, probes.after_rejects.rows_found = found[2:]


def _replace(counter: Counter[str], parts: Sequence[dict[str, int]]) -> None:
    summed = Counter[str]()
    for part in parts:
        summed.update(part)
    counter.clear()
    counter.update(summed)
