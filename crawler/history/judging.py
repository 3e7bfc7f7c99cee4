"""A staged snapshot's verdict, and what of it is kept in `sellers/` for the nights after it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from crawler.history.measuring import Measured, measure
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.models.errors import OutputError
from crawler.models.seller import StopReason
from crawler.options import PlausibilitySettings, Settings
from crawler.rules.plausibility import Comparison, Measures, Plausibility, Share, Verdict, judge
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, VIDEOS, StagedFolder
from crawler.store.schema import PLAUSIBILITY
from crawler.store.snapshot import Judged, RowCounts, SnapshotPlan

_NIGHTS = 30
_BY_SELLER = frozenset({"emptied", "still", "repeated"})
"""Measures that say of each seller whether it is as it should be.

Others look at some sellers only, or miss what is less wrong.
"""
_SHARED = "shared"


def plan_of(
    settings: Settings,
    run_id: str,
    crawl_date: date,
    pending: pa.Array[Any],
    reason: StopReason | None,
    *,
    certain: tuple[str, float] | None = None,
    is_accepted: bool = False,
) -> SnapshotPlan:
    """What to build, compared and judged as the settings say; see `SnapshotPlan`.

    Where a person has accepted the night, it is never held back.
    """
    window, lag = timedelta(days=settings.history.window), timedelta(hours=settings.history.data_lag)
    judge_it = partial(_judge, settings.plausibility, is_accepted)
    return SnapshotPlan(
        settings.run.data, run_id, crawl_date, pending, reason, certain, window, lag, judge_it
    )


def _judge(
    settings: PlausibilitySettings,
    is_accepted: bool,
    journal: Journal,
    plan: SnapshotPlan,
    staged: StagedFolder,
    counts: RowCounts,
) -> Judged:
    videos, sellers = (
        SnapshotFiles.published(staged.folder, kind, plan.crawl_date) for kind in (VIDEOS, SELLERS)
    )
    pages = journal.reader.page_facts()
    rejected = Share(counts.rejected, counts.received)
    try:
        window = plan.window // timedelta(milliseconds=1)
        measured = measure(plan.data, videos, sellers, pages, rejected, window)
    except UnreadableError as error:
        raise OutputError(f"what was just written cannot be read: {error}") from error
    verdict = judge(measured.measures, past_measures(plan.data, plan.crawl_date), settings)
    is_implausible = verdict.kind is Plausibility.IMPLAUSIBLE
    known = {
        "verdict": verdict.kind,
        "reasons": verdict.reasons,
        "accepted": is_accepted and is_implausible,
        "measures": measured.measures,
    }
    return Judged(
        verdict.kind,
        list(verdict.reasons),
        is_held=is_implausible and not is_accepted,
        metadata={PLAUSIBILITY: orjson.dumps(known, default=_as_list).decode()},
        to_recheck=_to_recheck(journal, measured, verdict) if is_implausible else [],
        warnings=list(measured.warnings),
    )


def _to_recheck(journal: Journal, measured: Measured, verdict: Verdict) -> list[pa.Array[Any]]:
    """The sellers that made a night implausible: all that were answered where the fault is not of some."""
    names = set(verdict.measures)
    if not names <= _BY_SELLER | {_SHARED}:
        return list(journal.sellers.answered())
    found = [ids for name in names for ids in measured.hits.get(name, ())]
    return [*found, *journal.reader.with_shared_pages()] if _SHARED in names else found


def past_measures(data: Path, day: date) -> list[Measures]:
    """The measures of the newest nights before a date, the newest last; of those that were noted."""
    found: list[Measures] = []
    for other in islice((each for each in published_dates(data) if each < day), _NIGHTS):
        # A night that cannot be read teaches nothing.
        with suppress(UnreadableError, LookupError, ValueError, TypeError):
            noted = SnapshotFiles.published(data, SELLERS, other).metadata[PLAUSIBILITY]
            found.append(_measures_of(orjson.loads(noted)["measures"]))
    return found[::-1]


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, Collection):
        return sorted(value) if isinstance(value, frozenset) else list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _measures_of(known: dict[str, Any]) -> Measures:
    compared = known.pop("compared")
    fields: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("empty", "rejected", "short_first_pages", "repeated", "shared"), _share),
        "nulls": _shares,
        **dict.fromkeys(("unknown_fields", "missing_fields"), frozenset),
    }
    values = {name: fields.get(name, _same)(value) for name, value in known.items()}
    return Measures(**values, compared=None if compared is None else _comparison_of(compared))


def _comparison_of(known: dict[str, Any]) -> Comparison:
    fields: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("emptied", "lost", "still"), _share),
        **dict.fromkeys(("regions", "fallen", "risen"), _shares),
    }
    return Comparison(**{name: fields.get(name, _same)(value) for name, value in known.items()})


def _share(value: list[int]) -> Share:
    return Share(*value)


def _shares(values: dict[str, list[int]]) -> dict[str, Share]:
    return {name: Share(*value) for name, value in values.items()}


def _same(value: Any) -> Any:
    return value
