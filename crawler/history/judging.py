"""A snapshot's verdict, and what of it is kept in `sellers/` for the nights after it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from crawler.history.fields import sellers_with_nulls
from crawler.history.measuring import Measuring
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.history.yardsticks import one_chunk
from crawler.options import PlausibilitySettings
from crawler.rules.plausibility import Comparison, Measures, Plausibility, Share, Verdict, judge
from crawler.store.held import is_accepted
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS
from crawler.store.schema import PLAUSIBILITY
from crawler.store.snapshot import Reviewed, RowCounts, SnapshotPlan

_NIGHTS = 30
_NULLS, _SHARED = "nulls", "shared"
_BY_SELLER = frozenset({"emptied", "still", "repeated", _SHARED})
"""Measures that say of each seller whether it is as it should be.

Others look at some sellers only, or miss what is less wrong.
"""
_OF_ROWS = frozenset({"fallen", "risen", "lost"})
"""Measures of which `Measuring.hits` has the sellers by what of their rows shows it."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges snapshots by the settings; where a person has accepted the date, it is never held back."""

    settings: PlausibilitySettings

    def judged(
        self, journal: Journal, plan: SnapshotPlan, videos: SnapshotFiles, counts: RowCounts, found: Measuring
    ) -> tuple[Reviewed, dict[str, str]]:
        """The verdict on a snapshot, and what of it goes into the metadata of its `sellers/`."""
        rejected = Share(counts.rejected, counts.received)
        found.add_in_stretches(journal)
        measures = found.measures(videos, journal.reader.page_facts(), rejected)
        past = past_measures(plan.data, plan.crawl_date)
        verdict = judge(measures, past, self.settings)
        is_implausible, accepted = verdict.kind is Plausibility.IMPLAUSIBLE, is_accepted(journal)
        known = {
            "verdict": verdict.kind,
            "reasons": verdict.reasons,
            "accepted": accepted and is_implausible,
            "measures": measures,
        }
        hits = _hits(journal, videos, found, verdict) if is_implausible else None
        reviewed = Reviewed(
            verdict.kind,
            list(verdict.reasons),
            is_held=is_implausible and not accepted,
            to_recheck=[] if hits is None else _to_recheck(journal, hits, verdict),
            hits=0 if hits is None else len(hits),
            shown_by=verdict.shown_by,
            fields={
                "unknown": sorted(measures.unknown_fields),
                "missing": sorted(measures.missing_fields),
                "misfits": dict(measures.misfits),
            },
        )
        return reviewed, {PLAUSIBILITY: orjson.dumps(known, default=_as_list).decode()}


def _hits(journal: Journal, videos: SnapshotFiles, found: Measuring, verdict: Verdict) -> pa.Array[Any]:
    """The sellers that each by itself show a reason, as far as that is known of sellers."""
    shown_by = () if _OF_ROWS.isdisjoint(verdict.measures) else verdict.shown_by
    hits = [ids for name in (*verdict.measures, *shown_by) for ids in found.hits.get(name, ())]
    hits += sellers_with_nulls(videos, verdict.shown_by) if _NULLS in verdict.measures else []
    hits += journal.reader.with_shared_pages() if _SHARED in verdict.measures else []
    return one_chunk(pa.chunked_array(hits, pa.string()).unique())


def _to_recheck(journal: Journal, hits: pa.Array[Any], verdict: Verdict) -> list[pa.Array[Any]]:
    """The sellers that made a night implausible: all that were answered where the fault is not of some."""
    is_of_some = _BY_SELLER.issuperset(verdict.measures)
    return [hits] if is_of_some else [hits, *journal.sellers.answered()]


def past_measures(data: Path, day: date) -> list[Measures]:
    """The measures of the newest nights before a date, the newest last; of those that were noted."""
    found: list[Measures] = []
    for other in islice((each for each in published_dates(data) if each < day), _NIGHTS):
        # A night that cannot be read teaches nothing.
        with suppress(UnreadableError, LookupError, ValueError, TypeError):
            noted = SnapshotFiles.published(data, SELLERS, other).metadata[PLAUSIBILITY]
            known = orjson.loads(noted)
            found.append(replace(_measures_of(known["measures"]), is_accepted=bool(known["accepted"])))
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
