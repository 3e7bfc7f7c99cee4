"""Canaries: a night's first sellers, by whose answers an outage is seen after tens of credits.

Open it to change which sellers they are, or when a run stops. docs/plausibility.md has the measured figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import chain, islice, zip_longest
from math import log
from typing import NamedTuple

from crawler.rules.plausibility import STILL_HOURS, Band

CANARIES = 80
"""Sellers at most: enough for eight answers of each of ten regions."""
_WITHIN = 12
"""Canaries are taken from the first 12 x 80 sellers of the order: a small budget buys little else."""
_STILL_LOWEST, _STILL_HIGHEST = 0.01, 0.95


class Canary(NamedTuple):
    """A seller that had videos when it was last read, as history knows it.

    `region`: of most of its rows, empty if none. `videos`: its rows then. `figures`: a stable hash of the
    IDs and the six counters of its first page then, in the order of the page; None if not known. `read_at`:
    when that was, in epoch seconds.
    """

    seller_id: str
    region: str
    videos: int
    figures: int | None
    read_at: float


class FirstPage(NamedTuple):
    """What a canary answered, as its first page.

    `rows` counts those that can be kept. `ids`: a hash of the video IDs in their order (`Page.fingerprint`).
    `figures` and `read_at` as in `Canary`.
    """

    seller_id: str
    rows: int
    ids: int
    figures: int | None
    read_at: float


class Decision(StrEnum):
    """What the canaries' answers allow to say so far."""

    GO_ON = "go on"
    STOP = "stop"
    UNDECIDED = "undecided"


class Rates(NamedTuple):
    """How often an answer is a hit on a healthy night, and in the smallest outage worth a stop."""

    healthy: float
    outage: float


ANSWER_RATES = Rates(0.02, 0.3)
"""Empty, foreign or shared pages. 0.5 % of sellers become empty in a night: four times that is healthy."""
FALSE_STOP = 1e-6
"""Chance that a healthy night is stopped, over all its tests: less than one night in 2,000 years."""
MISSED = 1e-3
"""Chance that one test lets an outage of its rate pass. The judge still sees it before publishing."""


def still_rates(band: Band | None) -> Rates | None:
    """The rates of first pages that stand still, by the band of past nights (`still_band`); None without.

    None too where nearly all sellers stand still on any night: no few canaries could tell.
    """
    if band is None or band.odd > _STILL_HIGHEST:
        return None
    healthy = max(_STILL_LOWEST, band.odd)
    return Rates(healthy, 1.0 - (1.0 - healthy) / 7.5)


class SequentialTest:
    """Wald's sequential probability ratio test on hits and misses; a decision stays."""

    def __init__(self, rates: Rates, false_stop: float = FALSE_STOP, missed: float = MISSED) -> None:
        healthy, outage = rates
        if not 0 < healthy < outage < 1:
            raise ValueError(f"not 0 < {healthy} < {outage} < 1")
        self._hit = log(outage / healthy)
        self._miss = log((1 - outage) / (1 - healthy))
        self._stop = log((1 - missed) / false_stop)
        self._go_on = log(missed / (1 - false_stop))
        self._ratio = 0.0
        self.hits = self.answers = 0
        self.decision = Decision.UNDECIDED

    def observe(self, is_hit: bool) -> Decision:
        """Count an answer, unless all is decided."""
        if self.decision is Decision.UNDECIDED:
            self.answers += 1
            self.hits += is_hit
            self._ratio += self._hit if is_hit else self._miss
            if self._ratio >= self._stop:
                self.decision = Decision.STOP
            elif self._ratio <= self._go_on:
                self.decision = Decision.GO_ON
        return self.decision


class Canaries:
    """Says after each canary's first page whether the run goes on.

    A hit is an answer that is empty, or has the video IDs of another canary's first page. That is tested over
    all canaries and for each region by itself. Where `still` is given (`still_rates`), so is whether the
    first page has the same figures as history, read `STILL_HOURS` or more before. The chance of a false stop
    is shared out between the tests. A canary that fails gives no answer. Where canaries run out undecided,
    the run goes on. `suspects` are the sellers that answered with a fault, and those whose videos another
    one was answered with: it cannot be told whose they are.
    """

    def __init__(
        self, canaries: Iterable[Canary], still: Rates | None = None, false_stop: float = FALSE_STOP
    ) -> None:
        self._left = {canary.seller_id: canary for canary in canaries}
        regions = dict.fromkeys(canary.region for canary in self._left.values())
        if len(regions) < 2:
            regions.clear()
        share = false_stop / (1 + len(regions) + (still is not None))
        places = ["", *map(_of_region, regions)]
        self._tests = {place: SequentialTest(ANSWER_RATES, share) for place in places}
        self._still = SequentialTest(still, share) if still else None
        self._seller_by_ids: dict[int, str] = {}
        self._kinds: Counter[str] = Counter()
        self.suspects: set[str] = set()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The canaries not answered yet, in their order."""
        return tuple(self._left)

    def answered(self, page: FirstPage) -> Decision:
        """Note a first page; of a seller that is no canary, or was answered before, it says nothing."""
        canary = self._left.pop(page.seller_id, None)
        if canary is None:
            return self.decision
        fault = self._fault(page)
        self._kinds[fault] += 1
        if fault:
            self.suspects.add(page.seller_id)
        for place in ("", _of_region(canary.region)):
            if place in self._tests:
                self._tests[place].observe(bool(fault))
        is_known = None not in (canary.figures, page.figures)
        is_comparable = is_known and page.read_at - canary.read_at >= STILL_HOURS * 3600
        if self._still and is_comparable and not fault:
            self._still.observe(page.figures == canary.figures)
        return self.decision

    def _fault(self, page: FirstPage) -> str:
        if not page.rows:
            return "is empty"
        other = self._seller_by_ids.setdefault(page.ids, page.seller_id)
        if other == page.seller_id:
            return ""
        self.suspects.add(other)
        return "has the videos of another canary's"

    @property
    def decision(self) -> Decision:
        """Stop if any test says so; go on if all do, or no canary is left."""
        decisions = {test.decision for test in (*self._tests.values(), self._still) if test}
        if Decision.STOP in decisions:
            return Decision.STOP
        is_open = Decision.UNDECIDED in decisions and self._left
        return Decision.UNDECIDED if is_open else Decision.GO_ON

    @property
    def reason(self) -> str:
        """Why the run stops, in a sentence; empty if it does not."""
        test = self._still
        if test and test.decision is Decision.STOP:
            return (
                f"{test.hits} of {test.answers} canaries have the same figures to the last digit "
                f"as {STILL_HOURS:.0f} or more hours before."
            )
        for place, test in self._tests.items():
            if test.decision is Decision.STOP:
                faults = [(fault, count) for fault, count in self._kinds.most_common() if fault]
                kinds = ", ".join(f"{count} times it {fault}" for fault, count in faults)
                return f"The first page of {test.hits} of {test.answers} canaries{place} is wrong: {kinds}."
        return ""


def _of_region(region: str) -> str:
    return f" of {region or 'no region'}"


def choose_canaries(
    in_order: Iterable[str], history: Mapping[str, Canary], count: int = CANARIES
) -> list[Canary]:
    """The night's canaries: sellers that had videos, from the front of the order, one region after the other.

    `in_order` are the sellers not begun, as the strategy would ask for them: any order serves depth-first
    and breadth-first, best-first's own keeps the credits where they bring most. It is read as far as needed.
    """
    regions: dict[str, list[Canary]] = {}
    for seller_id in islice(in_order, _WITHIN * count):
        canary = history.get(seller_id)
        if canary is not None and canary.videos > 0:
            regions.setdefault(canary.region, []).append(canary)
    in_turn = chain.from_iterable(zip_longest(*regions.values()))
    return list(islice((canary for canary in in_turn if canary is not None), count))
