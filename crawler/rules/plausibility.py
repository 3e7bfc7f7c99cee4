"""Plausibility: can tonight's snapshot be believed? Open it to change what is measured, or what is odd.

docs/plausibility.md says why each limit is where it is, and how the rules fared on simulated outages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, lgamma, log, log1p
from statistics import median
from typing import NamedTuple

from crawler.models.api import COUNT_COLUMNS
from crawler.models.encodings import printable
from crawler.options import PlausibilitySettings

ROWS = "rows"
FIGURES = (ROWS, *COUNT_COLUMNS)
"""What is summed over the compared sellers: their rows, and each counter over these rows."""
ANY_FIGURE = "figures"
REPEATS = "repeats"
REGION = "region"

STILL_HOURS = 20.0
"""Two readings of a seller are at least this far apart where their equality says something."""
MOVED_NIGHTS = 3
"""Stillness is no more than odd before this many nights that moved."""
_MOVED_SHARE = 0.9
_NIGHTS = 30
_SIGMAS = 5.0
_MAD_TO_SIGMA = 1.4826
_ODD_CHANCE = 1e-3
_IMPLAUSIBLE_CHANCE = 1e-5
_FEW_ROWS = 20
"""Fields and totals of fewer rows follow the whims of one seller."""
_MOST_NAMED, _MOST_NEW_NAMED = 15, 5
"""Columns, regions or fields that a sentence names at most: all columns, but not all that an API invents."""
_LONGEST_NAME = 40
_ESSENTIAL = frozenset((*COUNT_COLUMNS, "create_time", REGION))


class Share(NamedTuple):
    """How many of how many: 0 <= part <= whole."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share, 0 to 1; 0 of nothing."""
        return self.part / self.whole if self.whole else 0.0


_NONE = Share(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Tonight beside the newest comparable snapshot, over the sellers that can be compared.

    A seller is compared if both nights read it whole, under the same sort and order, and the earlier one
    has at least one row of it. Carried rows are no reading.

    `emptied`: compared sellers without a row tonight, of all compared. `regions`: the same by the region of
    most of the seller's earlier rows. `before`, `now`: sums over all rows of the compared sellers, by the
    names in `FIGURES` (a null counter is 0). `fallen`, `risen`, by the same names: sellers whose own sum is
    now less than nine tenths of the earlier one, and more than ten times it; of those whose earlier sum is
    above 0, of rows those that had a full page. For rows sellers read in stretches are compared as well, by
    where their lists end (`history/shortened.py`). `lost`: sellers of which one of two videos that are picked
    by chance is gone; of those with rows on both nights, three days apart at most. `still`: sellers with the
    same videos on both nights, all six counters equal; of those with rows on both nights whose readings are
    `STILL_HOURS` or more apart. `hours`: the median time between the two readings of a seller.
    """

    emptied: Share
    regions: Mapping[str, Share] = field(default_factory=dict)
    before: Mapping[str, float]
    now: Mapping[str, float]
    fallen: Mapping[str, Share] = field(default_factory=dict)
    risen: Mapping[str, Share] = field(default_factory=dict)
    lost: Share = _NONE
    still: Share = _NONE
    hours: float = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """One night in numbers: by itself, and beside the newest comparable snapshot (None without one).

    `empty`: sellers without a row, of the sellers that were read. `rejected`: rows, of the rows received.
    `nulls`: by column, rows in which it is null, of those received tonight and kept. `totals`: sums of the
    six counters over these. `unknown_fields`: fields that the schema does not know. `missing_fields`:
    columns of the schema that none of these rows had. `misfits`: rows by the column that a value did not fit.
    `short_first_pages`: first pages of 1 to 9 rows whose next page has rows too, of the first pages whose
    next page has rows. `repeated`: sellers that ended by a repeated page, of those of which more than one
    page was read. `shared`: sellers of which a page has the same video IDs as a page of another seller, and
    several if it is not the first one, of those with rows.
    `is_accepted`: of a past night, that a person published it although it was implausible.
    """

    sellers: int
    rows: int
    empty: Share
    rejected: Share = _NONE
    nulls: Mapping[str, Share] = field(default_factory=dict)
    totals: Mapping[str, float] = field(default_factory=dict)
    zero_before: int = 0
    unknown_fields: frozenset[str] = frozenset()
    missing_fields: frozenset[str] = frozenset()
    misfits: Mapping[str, int] = field(default_factory=dict)
    short_first_pages: Share = _NONE
    repeated: Share = _NONE
    shared: Share = _NONE
    compared: Comparison | None = None
    is_accepted: bool = False


class Range(NamedTuple):
    """How far from the usual a measure is odd: beyond the learned width, at least `floor`, at most `ceiling`.

    Both are shares (0 to 1) of the room between the usual share and 1. Beyond `ceiling`: implausible.
    """

    floor: float
    ceiling: float

    @classmethod
    def of(cls, measure: str, settings: PlausibilitySettings) -> Range:
        """A measure's, as the settings have it."""
        return cls(*(getattr(settings, f"{measure}_{end}") for end in cls._fields))


DEFAULT_LIMITS = PlausibilitySettings()


class Plausibility(StrEnum):
    """The verdicts, the best first."""

    PLAUSIBLE = "plausible"
    ODD = "odd"
    IMPLAUSIBLE = "implausible"


class Verdict(NamedTuple):
    """The verdict on a night, and a sentence for each reason, the gravest first; no reason if plausible.

    `measures` names those that are implausible, with "" for one without a band. `shown_by` names by what of a
    seller's rows these are seen: `ROWS` for their number, `REPEATS` for rows that come again, `ANY_FIGURE`,
    or a column.
    """

    kind: Plausibility
    reasons: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    shown_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Band:
    """What a share usually is, and beyond which value it is odd, or implausible."""

    usual: float
    odd: float
    implausible: float

    @classmethod
    def learn(cls, past: Sequence[float], limits: Range) -> Band:
        """Learn it from past nights' shares: their median, and five standard deviations by their MAD.

        Without any the usual share is 0. With fewer than three the width is the floor.
        """
        usual = median(past) if past else 0.0
        room = 1.0 - usual
        spread = median(abs(value - usual) for value in past) * _MAD_TO_SIGMA if len(past) > 2 else 0.0
        learned = _SIGMAS * spread / room if room > 0 else 0.0
        width = min(limits.ceiling, max(limits.floor, learned))
        return cls(usual, usual + width * room, usual + limits.ceiling * room)


def binomial_tail(part: int, whole: int, chance: float) -> float:
    """The exact probability of `part` hits or more in `whole` trials that each hit with `chance`."""
    if part <= 0 or chance >= 1.0:
        return 1.0
    if part > whole or chance <= 0.0:
        return 0.0
    combinations = lgamma(whole + 1) - lgamma(part + 1) - lgamma(whole - part + 1)
    term = exp(combinations + part * log(chance) + (whole - part) * log1p(-chance))
    total, odds = term, chance / (1.0 - chance)
    for hits in range(part, whole):
        term *= odds * (whole - hits) / (hits + 1)
        total += term
        if term < total * 1e-12 and hits > whole * chance:
            break
    return min(1.0, total)


class _Measured(NamedTuple):
    """A share to be judged: `units` are the sellers that it rests on, `of` is a column or region, or empty.

    One of `rivals` that are looked at together; the worst of many is beyond its limit more often.
    """

    name: str
    of: str
    share: Share
    units: int
    rivals: int = 1


class _Finding(NamedTuple):
    kind: Plausibility
    sentence: str
    measure: str = ""
    shown_by: tuple[str, ...] = ()


_SHOWN_BY = {"shared": "video_id", "lost": "video_id", "still": ANY_FIGURE, "repeated": REPEATS}
_OF_EACH_NIGHT = frozenset({"empty", "rejected", "nulls", "short_first_pages", "repeated", "shared"})
"""Measures of how a night is, not of what changed since the one before."""
_SENTENCES = {
    "empty": "{part} of {whole} sellers that were read have no videos",
    "rejected": "{part} of {whole} rows were rejected",
    "nulls": "{of} is null in {part} of {whole} rows",
    "short_first_pages": "{part} of {whole} first pages that are followed by another are shorter than full",
    "repeated": "{part} of {whole} sellers with several pages ended by a page that repeats an earlier one",
    "shared": "{part} of {whole} sellers have a page of another seller",
    "emptied": "{part} of {whole} sellers{of} that had videos in the snapshot before have none",
    "fallen": "{of} fell by more than a tenth at {part} of {whole} sellers, {sums} in all",
    "risen": "{of} rose more than tenfold at {part} of {whole} sellers, {sums} in all",
    "lost": "{part} of {whole} sellers no longer have one of two videos that were picked by chance",
    "still": "{part} of {whole} sellers have the same figures to the last digit as {of} hours before",
}


def judge(
    measures: Measures, past: Sequence[Measures], limits: PlausibilitySettings = DEFAULT_LIMITS
) -> Verdict:
    """Judge a night by its measures and by those of published nights before it, the newest last.

    `past` holds no night that was found implausible, unless it was accepted. The newest 30 are used.
    Without any, a night is judged by what can be judged alone.
    """
    past = past[-_NIGHTS:]
    findings = [*_judged_shares(measures, past, limits), *_judged_fields(measures, past)]
    findings += _judged_totals(measures, past)
    findings = findings or _judged_emptiness(measures, past)
    ranks = [*Plausibility]
    findings.sort(key=lambda finding: ranks.index(finding.kind), reverse=True)
    if not findings:
        return Verdict(Plausibility.PLAUSIBLE)
    gravest = (finding.measure for finding in findings if finding.kind is Plausibility.IMPLAUSIBLE)
    reasons = tuple(finding.sentence for finding in findings)
    shown_by = (
        each for finding in findings if finding.kind is Plausibility.IMPLAUSIBLE for each in finding.shown_by
    )
    return Verdict(findings[0].kind, reasons, tuple(dict.fromkeys(gravest)), tuple(dict.fromkeys(shown_by)))


def still_band(past: Sequence[Measures], limits: PlausibilitySettings = DEFAULT_LIMITS) -> Band | None:
    """The share of sellers that usually stand still; None before three nights that moved."""
    shares = [
        night.compared.still.value
        for night in past[-_NIGHTS:]
        if night.compared and night.compared.still.whole and night.compared.hours >= STILL_HOURS
    ]
    moved = sum(share <= _MOVED_SHARE for share in shares)
    return Band.learn(shares, Range.of("still", limits)) if moved >= MOVED_NIGHTS else None


def _measured(measures: Measures) -> Iterator[_Measured]:
    """All shares of a night. Rows of one seller are alike, so that row shares rest on sellers, not rows."""
    read = measures.empty.whole
    yield _Measured("empty", "", measures.empty, read)
    yield _Measured("rejected", "", measures.rejected, min(read, measures.rejected.whole))
    for column, share in measures.nulls.items():
        filled = read - measures.empty.part
        yield _Measured("nulls", column, share, min(filled, share.whole), len(measures.nulls))
    for name in ("short_first_pages", "repeated", "shared"):
        share = getattr(measures, name)
        yield _Measured(name, "", share, share.whole)
    compared = measures.compared
    if compared is None:
        return
    yield _Measured("emptied", "", compared.emptied, compared.emptied.whole)
    for region, share in compared.regions.items() if len(compared.regions) > 1 else ():
        yield _Measured("emptied", region or "no region", share, share.whole, len(compared.regions))
    for name, shares in (("fallen", compared.fallen), ("risen", compared.risen)):
        for of, share in shares.items():
            yield _Measured(name, of, share, share.whole, len(shares))
    yield _Measured("lost", "", compared.lost, compared.lost.whole)
    if compared.hours >= STILL_HOURS:
        yield _Measured("still", "", compared.still, compared.still.whole)


class _Beyond(NamedTuple):
    """A share that is beyond its band."""

    kind: Plausibility
    measured: _Measured
    band: Band

    @property
    def weight(self) -> tuple[int, bool, float]:
        """The gravest is the greatest; of equal ones that of the whole list, then the largest share."""
        return [*Plausibility].index(self.kind), not self.measured.of, self.measured.share.value


def _judged_shares(
    measures: Measures, past: Sequence[Measures], limits: PlausibilitySettings
) -> Iterator[_Finding]:
    """One finding a measure: columns or regions that are beyond their limits are often so together."""
    found: dict[str, list[_Beyond]] = {}
    for each in _beyond(measures, past, limits):
        found.setdefault(each.measured.name, []).append(each)
    for name, together in found.items():
        worst = max(together, key=lambda each: each.weight)
        others = [each.measured.of for each in together if each is not worst]
        shown_by = [_shown_by(each.measured) for each in together if each.kind is worst.kind]
        yield _Finding(worst.kind, _sentence(worst, others, measures.compared), name, tuple(shown_by))


def _shown_by(measured: _Measured) -> str:
    """By what of a seller's rows a measure is seen."""
    if measured.name in ("nulls", "fallen", "risen"):
        return measured.of
    return _SHOWN_BY.get(measured.name, ROWS)


def _beyond(measures: Measures, past: Sequence[Measures], limits: PlausibilitySettings) -> Iterator[_Beyond]:
    seen: dict[tuple[str, str], list[float]] = {}
    for at, night in enumerate(past):
        # What a person has accepted is usual from then on; falls and rises happen once.
        is_outdated = any(later.is_accepted for later in past[at + 1 :])
        for name, of, share, *_ in _measured(night):
            if share.whole and not (is_outdated and name in _OF_EACH_NIGHT):
                seen.setdefault((name, of), []).append(share.value)
    has_moved = still_band(past, limits) is not None
    for measured in _measured(measures):
        # A region is judged by how the whole list varies: its own sellers are few.
        key = (measured.name, "" if measured.name == "emptied" else measured.of)
        is_known = measured.of in _ESSENTIAL and not _is_new_to(past, measured.of)
        if measured.name == "nulls" and not is_known and key not in seen:
            continue
        band = Band.learn(seen.get(key, ()), Range.of(measured.name, limits))
        kind = _kind(measured, band)
        is_odd_at_most = (
            not has_moved
            if measured.name == "still"
            else (measured.name == "nulls" and (measured.of not in _ESSENTIAL or not past))
        )
        if kind is Plausibility.IMPLAUSIBLE and is_odd_at_most:
            kind = Plausibility.ODD
        if kind is not Plausibility.PLAUSIBLE:
            yield _Beyond(kind, measured, band)


def _is_new_to(past: Sequence[Measures], column: str) -> bool:
    """Whether a column's nulls were not counted before: nights of earlier versions knew none of regions."""
    return column == REGION and bool(past) and all(column not in night.nulls for night in past)


def _kind(measured: _Measured, band: Band) -> Plausibility:
    """What a share is: beyond a limit, and further beyond the odd one than chance explains."""
    value = measured.share.value
    if value <= band.odd:
        return Plausibility.PLAUSIBLE
    chance = binomial_tail(int(value * measured.units + 1e-9), measured.units, band.odd) * measured.rivals
    if value > band.implausible and chance < _IMPLAUSIBLE_CHANCE:
        return Plausibility.IMPLAUSIBLE
    return Plausibility.ODD if chance < _ODD_CHANCE else Plausibility.PLAUSIBLE


def _sentence(worst: _Beyond, others: Sequence[str], compared: Comparison | None) -> str:
    """What is beyond its limit in figures; `others` are columns or regions that are so too."""
    _, measured, band = worst
    of = measured.of
    if measured.name == "emptied" and of:
        of = f" of {_named(of)}"
    elif measured.name == "still" and compared:
        of = f"{compared.hours:.0f}"
    part, whole = (f"{number:,}" for number in measured.share)
    sums = ""
    if compared and measured.of in compared.before:
        sums = f"from {compared.before[measured.of]:,.0f} to {compared.now.get(measured.of, 0):,.0f}"
    words = _SENTENCES[measured.name].format(part=part, whole=whole, of=of, sums=sums)
    likewise = f"; likewise {_listed(others, _MOST_NAMED)}" if others else ""
    return f"{words} ({measured.share.value:.1%}; up to {band.odd:.1%} is usual){likewise}."


def _listed(names: Sequence[str], most: int) -> str:
    beyond = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(_named, names[:most])) + beyond


def _named(name: str) -> str:
    """A name that the API made, which may be anything."""
    text = printable(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _judged_fields(measures: Measures, past: Sequence[Measures]) -> Iterator[_Finding]:
    """Fields gone that rows had before, and new ones. On a first night a missing essential field is odd."""
    if measures.rows < _FEW_ROWS:
        return
    before = past[-1].missing_fields if past else frozenset(measures.missing_fields - _ESSENTIAL)
    gone = [name for name in measures.missing_fields - before if not _is_new_to(past, name)]
    if gone := sorted(gone, key=lambda name: (name not in _ESSENTIAL, name)):
        kind = Plausibility.IMPLAUSIBLE if past and gone[0] in _ESSENTIAL else Plausibility.ODD
        field_is = "field is" if len(gone) == 1 else "fields are"
        rows = f"all {measures.rows:,} rows"
        sentence = f"{len(gone)} {field_is} missing in {rows}: {_listed(gone, _MOST_NAMED)}."
        yield _Finding(kind, sentence, shown_by=tuple(name for name in gone if name in _ESSENTIAL))
    known = frozenset[str]().union(*(night.unknown_fields for night in past))
    new = sorted(measures.unknown_fields - known) if past else []
    if new:
        names = _listed(new, _MOST_NEW_NAMED)
        yield _Finding(Plausibility.ODD, f"Rows have {len(new)} fields never seen before: {names}.")
    new = [name for name in measures.misfits if not any(name in night.misfits for night in past)]
    if new and past:
        new.sort(key=lambda name: -measures.misfits[name])
        counted = [f"{name} in {measures.misfits[name]:,}" for name in new]
        sentence = f"Values do not fit their column, as never before, of {measures.rows:,} rows: "
        yield _Finding(Plausibility.ODD, f"{sentence}{_listed(counted, _MOST_NAMED)}. They are in extra.")


def _judged_emptiness(measures: Measures, past: Sequence[Measures]) -> list[_Finding]:
    """No row at all: odd even of a few sellers, of which chance explains it, unless nights before were so."""
    if not measures.sellers or measures.rows or any(night.sellers and not night.rows for night in past):
        return []
    return [_Finding(Plausibility.ODD, f"No video at all: sellers that were read: {measures.sellers:,}.")]


def _judged_totals(measures: Measures, past: Sequence[Measures]) -> Iterator[_Finding]:
    """All counts 0: implausible, unless nights before were so as well; odd on a first night.

    Videos that nobody watches say nothing: a small budget may buy no others.
    """
    usual = any(night.totals and not any(night.totals.values()) for night in past)
    telling = measures.rows - measures.zero_before
    if measures.totals and telling >= _FEW_ROWS and not usual and not any(measures.totals.values()):
        yield _Finding(
            Plausibility.IMPLAUSIBLE if past else Plausibility.ODD,
            f"All {len(measures.totals)} counts are 0 in all {measures.rows:,} rows.",
            shown_by=COUNT_COLUMNS,
        )
