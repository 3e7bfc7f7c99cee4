"""`crawler plan`: what tonight would cost, and what a budget would buy. It sends nothing."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import starmap
from math import sqrt
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

from crawler.commands.run import source_and_date
from crawler.history.carrying import CarryRule
from crawler.history.snapshots import History, Pair, Standing
from crawler.history.stillness import Stillness
from crawler.models.api import MAX_PAGE_NUM, SortField, SortOrder, StopRule, Strategy
from crawler.models.seller import SellerStatus, StopReason
from crawler.planning.forecast import (
    Chances,
    Detours,
    Forecast,
    Forecaster,
    Sighting,
    Tariff,
    best_first,
    breadth_first,
    chance,
    depth_first,
    growth,
    leaps,
    outlay,
    share,
    spread,
)
from crawler.report.progress import LOG, set_up_logging
from crawler.rules.budget import month_begin, utc_day
from crawler.sellers.listing import SellerList, read_sellers
from crawler.settings.load import Loaded, Settings
from crawler.store.journal import Journal, SellerSummary, journal_path, latest_generation
from crawler.store.ledger import Ledger

_WIDTH = 90
_DATES_SHOWN = 3
_MISPLACED = 0.05
_LIKELY = 0.5
_UNSEEN = (0.9, 0.1, 0.5)
"""Chances to stand still where they were never seen: after a night still, after one moved, and of all."""

_SHARES = {
    "share_of_views": SortField.VIEWS,
    "share_of_sales": SortField.SALES,
    "share_of_gmv": SortField.GMV,
}
_REACHES = ("credits", "sellers_complete", "sellers_seen", *_SHARES)


def plan_command(loaded: Loaded, sellers: str | None) -> int:
    """Print what the run with these settings would cost; 0.

    Raises `CrawlerError` where the list or the data folder's own records cannot be read.
    """
    settings = loaded.settings
    set_up_logging(settings.log.format, quiet=settings.log.quiet)
    for warning in loaded.warnings:
        LOG.warning("%s", warning)
    loaded, source, crawl_date = source_and_date(loaded, sellers, datetime.now(UTC))
    settings = loaded.settings
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    for warning in listed.warnings:
        LOG.warning("%s", warning)
    told = _Plan(settings, listed, crawl_date).told()
    if settings.run.json_report:
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _show(told)
    return 0


class _Stock(NamedTuple):
    """The listed sellers in their order: pages that each has already, and where it ended when last read.

    `ends` tells whether that is its own end, rather than where `--max-pages` cuts it off.
    """

    read: list[int]
    costs: list[int]
    ends: list[bool]


@dataclass(frozen=True, slots=True)
class _Today:
    """What the crawl date's journal has of a seller: pages read, and whether no more are asked for."""

    pages: int
    ended: bool


class _Plan:
    """All figures of one plan, taken from the snapshots before the crawl date and from its own journal."""

    def __init__(self, settings: Settings, listed: SellerList, crawl_date: date) -> None:
        self._settings = settings
        self._date = crawl_date
        self._ids = list(listed)
        self._history = History(settings.run.data, crawl_date)
        self._today = self._read_journal()
        run = settings.run
        self._stillness = Stillness(self._history, f"{run.sort} {run.order}", compares=run.carry_forward)
        self._rule = CarryRule(crawl_date, run.max_age, run.audit)
        self._forecaster = self._learn()
        self._sightings = self._with_stillness(_sightings(self._history.standing(listed.ids)))
        self._page_values: dict[SortField, dict[str, array[float]]] = {}

    def told(self) -> dict[str, Any]:
        """The plan for programs; null is what cannot be told."""
        known = sum(seller.is_known for seller in self._sightings)
        total = self._total()
        budget = self._budget()
        reaches = self._reaches(total, budget["left"])
        return {
            "crawl_date": self._date.isoformat(),
            "sellers": {
                "total": len(self._ids),
                "known": known,
                "unknown": len(self._ids) - known,
                "ended": sum(self._is_ended(seller_id) for seller_id in self._ids),
            },
            "credits": total._asdict(),
            "minutes": None if total.expected is None else self._minutes(total.expected),
            "budget": budget,
            "carry_forward": self._carrying() if self._settings.run.carry_forward else None,
            "by_strategy": reaches,
            "basis": self._basis(total),
        }

    def _read_journal(self) -> dict[str, _Today]:
        run = self._settings.run
        path = journal_path(run.data, self._date, latest_generation(run.data, self._date))
        if not path.exists():
            return {}
        with Journal(path, only_read=True) as journal:
            settled = {seller_id for some in journal.settled() for seller_id in some.to_pylist()}
            return {
                s.seller_id: _Today(s.pages, s.seller_id in settled and self._stays_ended(s))
                for s in journal.summaries()
                if not run.fresh or s.is_renewing
            }

    def _stays_ended(self, seller: SellerSummary) -> bool:
        """Whether tonight's settings ask for no more of a seller that ended before."""
        run = self._settings.run
        if seller.status is SellerStatus.FAILED:
            return not (run.retry_failed or run.fresh)
        goes_on = {
            StopReason.SHORT_PAGE: run.stop is StopRule.EMPTY,
            StopReason.CARRIED: not run.carry_forward,
        }
        is_reopened = seller.stop_reason is not None and goes_on.get(seller.stop_reason, False)
        return seller.status is SellerStatus.COMPLETE and not is_reopened

    def _learn(self) -> Forecaster:
        run, history = self._settings.run, self._history
        pairs = history.pairs(self._stillness.left_out)
        tariff = Tariff(run.stop, run.max_pages, run.probe)
        rates = [(pair.after / pair.before - 1) / pair.days for pair in pairs]
        errors = [sqrt(pair.scatter) / pair.before / pair.days for pair in pairs]
        unrest = [pair.scatter / pair.squares / pair.days for pair in pairs]
        rate = growth(rates, errors)
        ids = [str(seller_id) for seller_id in history.ids().to_pylist()]
        still = self._stillness.still
        known = [
            self._with_today(seller_id, seller._replace(still=still.get(seller_id)))
            for seller_id, seller in zip(ids, _sightings(history.standing(history.ids())), strict=True)
        ]
        alone = Forecaster(tariff, rate, 0.0, outlay(history.outlays()), spread([], []))
        ends = [pages for s in known if s.videos is not None and (pages := alone.pages(s)) is not None]
        begun = [self._with_today(seller_id, Sighting()) for seller_id in self._today.keys() - set(ids)]
        cuts = [s.cut for s in [*known, *begun] if s.cut is not None]
        mean = sum(unrest) / len(unrest) if unrest else 0.0
        whole = spread(ends, cuts, run.max_pages)
        detours = self._detours(ends, pairs)
        return Forecaster(tariff, rate, mean, alone.outlay, whole, self._chances(), detours)

    def _detours(self, ends: list[float], pairs: list[Pair]) -> Detours:
        run = self._settings.run
        reads_ahead = run.strategy is Strategy.DEPTH_FIRST and run.top is None and run.min_value is None
        if run.lookahead == "off" or not reads_ahead:
            return Detours()
        least, gallops = run.lookahead_pages, run.lookahead == "gallop"
        shrunk = max((pair.shrunk / pair.deep for pair in pairs if pair.deep), default=1.0)
        return Detours(least, shrunk, gallops, leaps(ends, least))

    def _chances(self) -> Chances | None:
        """The chances that sellers stand still; None where no two snapshots tell, or it does not matter."""
        turns = self._stillness.turns
        if not turns[None]:
            return None
        told = {
            before: chance([s.rate for s in shares], [s.error for s in shares], unseen)
            for (before, shares), unseen in zip(turns.items(), _UNSEEN, strict=True)
        }
        return Chances(told[True], told[False], told[None])

    def _carrying(self) -> dict[str, int | None]:
        """How many sellers may be carried tonight, and what is expected of it; null: not known."""
        expected = self._forecaster.savings(self._left())
        carried, saved = (None, None) if expected is None else map(round, expected)
        return {
            "may_be_carried": sum(seller.may_carry for seller in self._left()),
            "expected": carried,
            "credits_saved": saved,
            "nights": len(self._stillness.turns[None]),
        }

    def _is_carried(self, seller: Sighting) -> bool:
        """Whether a seller is more likely carried than not."""
        chances = self._forecaster.chances
        return seller.may_carry and chances is not None and chances.of(seller.still).mean >= _LIKELY

    def _with_stillness(self, sightings: list[Sighting]) -> list[Sighting]:
        """Whether each listed seller stood still, and may be carried tonight: not once it was begun."""
        still = self._stillness.still
        may_carry = self._stillness.may_carry(self._rule) if self._settings.run.carry_forward else set()
        may_carry -= {seller_id for seller_id, today in self._today.items() if today.pages}
        return [
            seller._replace(still=still.get(seller_id), may_carry=seller_id in may_carry)
            for seller_id, seller in zip(self._ids, sightings, strict=True)
        ]

    def _is_ended(self, seller_id: str) -> bool:
        today = self._today.get(seller_id)
        if today is None:
            return False
        return today.ended or today.pages >= self._settings.run.max_pages

    def _total(self) -> Forecast:
        return self._forecaster.total(self._left())

    def _left(self) -> Iterator[Sighting]:
        """The sellers that have not ended."""
        for seller_id, seller in zip(self._ids, self._sightings, strict=True):
            if not self._is_ended(seller_id):
                yield self._with_today(seller_id, seller)

    def _with_today(self, seller_id: str, seller: Sighting) -> Sighting:
        """A seller that has not ended: the pages it has today are paid for, and it has more."""
        today = self._today.get(seller_id)
        if today is None or not today.pages:
            return seller
        cut = max(seller.cut or 0, today.pages) if seller.videos is None else None
        return seller._replace(paid=today.pages, cut=cut)

    def _minutes(self, credits_: int) -> float:
        return round(credits_ / self._settings.run.qps / 60, 1)

    def _budget(self) -> dict[str, int | None]:
        """The budgets, what is spent of them, and what may still be; null: no limit."""
        limits, data = self._settings.credits, self._settings.run.data
        spent = of_month = 0
        if (data / "state" / "ledger.sqlite").exists():
            with Ledger(data, only_read=True) as ledger:
                spent = ledger.spent_for(self._date)
                today = utc_day(datetime.now(UTC))
                of_month = ledger.spent_since(month_begin(today, limits.month_begins), today)
        rests = [] if limits.budget is None else [limits.budget - spent]
        if limits.monthly_budget is not None:
            rests.append(limits.monthly_budget - of_month)
        return {
            "budget": limits.budget,
            "spent": spent,
            "monthly_budget": limits.monthly_budget,
            "spent_for_month": of_month,
            "left": max(0, min(rests)) if rests else None,
        }

    def _reaches(self, total: Forecast, left: int | None) -> dict[str, dict[str, Any]]:
        """What each strategy reaches, on the pages of the last snapshots."""
        if not any(seller.is_known for seller in self._sightings):
            return {strategy.value: dict.fromkeys(_REACHES) for strategy in Strategy}
        stock = self._stock()
        values = {name: self._values(field) for name, field in _SHARES.items()}
        of_sort = next(values[name] for name, field in _SHARES.items() if field is self._settings.run.sort)
        pages = self._affordable(stock, total, left)
        reached = {
            Strategy.DEPTH_FIRST: depth_first(stock.read, stock.costs, pages),
            Strategy.BREADTH_FIRST: breadth_first(stock.read, stock.costs, pages),
            Strategy.BEST_FIRST: best_first(stock.read, stock.costs, self._guided(of_sort), pages),
        }
        credits_ = _at_most(total, left)
        return {
            strategy.value: {
                "credits": credits_,
                "sellers_complete": sum(
                    ends and have >= cost
                    for ends, have, cost in zip(stock.ends, at, stock.costs, strict=True)
                ),
                "sellers_seen": sum(have > 0 for have in at),
                **{name: share(at, self._worth(of_page)) for name, of_page in values.items()},
            }
            for strategy, at in reached.items()
        }

    def _stock(self) -> _Stock:
        stock = _Stock([], [], [])
        uncut = Tariff(self._settings.run.stop, MAX_PAGE_NUM)
        for seller_id, seller in zip(self._ids, self._sightings, strict=True):
            pages = self._forecaster.pages(seller)
            if seller.videos is not None:
                whole = uncut.pages(seller.videos)
            else:
                whole = (seller.cut or 0) + 1 if pages is None else max(1, round(pages))
            today = self._today.get(seller_id)
            whole = 1 if self._is_carried(seller) else whole
            cost = min(whole, self._settings.run.max_pages)
            read = 0 if today is None else min(cost, today.pages)
            stock.read.append(cost if self._is_ended(seller_id) else read)
            stock.costs.append(cost)
            stock.ends.append(pages is not None and whole <= self._settings.run.max_pages)
        return stock

    def _affordable(self, stock: _Stock, total: Forecast, left: int | None) -> int:
        """Pages of the last snapshots that the budget pays for: each stands for what it costs tonight."""
        rest = sum(stock.costs) - sum(stock.read)
        if left is None:
            return rest
        if total.expected:
            return min(rest, round(left * rest / total.expected))
        return round(left / self._forecaster.outlay.mean)

    def _values_of(self, field: SortField) -> dict[str, array[float]]:
        if field not in self._page_values:
            self._page_values[field] = self._history.page_values(field)
        return self._page_values[field]

    def _values(self, field: SortField) -> list[Sequence[float]]:
        found = self._values_of(field)
        return [found.get(seller_id, ()) for seller_id in self._ids]

    def _worth(self, values: list[Sequence[float]]) -> list[Sequence[float]]:
        """What each credit brings: the first one of a seller that is carried brings all."""
        told = zip(values, self._sightings, strict=True)
        return [(sum(pages),) if self._is_carried(seller) else pages for pages, seller in told]

    def _guided(self, values: list[Sequence[float]]) -> list[Sequence[float]]:
        """Values to go by: an unknown seller's first page counts as first pages do on average."""
        firsts = [pages[0] for pages in values if len(pages)]
        mean = sum(firsts) / len(firsts) if firsts else 0.0
        return [values[at] if seller.is_known else (mean,) for at, seller in enumerate(self._sightings)]

    def _basis(self, total: Forecast) -> dict[str, Any]:
        forecaster = self._forecaster
        return {
            "crawl_dates": [day.isoformat() for day, _ in self._history.sellers()],
            "growth_per_night": round(forecaster.growth.mean, 5) if forecaster.growth.nights else None,
            "credits_per_page": round(forecaster.outlay.mean, 5) if forecaster.outlay.nights else None,
            "warnings": [*self._history.warnings, *self._doubts(total)],
        }

    def _doubts(self, total: Forecast) -> list[str]:
        run = self._settings.run
        doubts = self._doubts_of_carrying() if run.carry_forward else []
        if not self._history.sellers():
            doubts.append(
                "no earlier snapshot: nothing is known of what these sellers cost but one credit for each"
            )
        elif total.expected is None:
            doubts.append("too few sellers were ever read to their end to judge the others by: no upper end")
        elif not self._forecaster.growth.nights:
            doubts.append("only one snapshot: no growth is assumed, and the interval is wider for it")
        if run.top is not None or run.min_value is not None:
            doubts.append("--top and --min-value end a run sooner: the figures are for all pages")
        if run.order is SortOrder.DESC and self._is_sorted_otherwise():
            doubts.append(f"the last snapshot was not sorted by {run.sort}: best-first's figures are rough")
        return doubts

    def _doubts_of_carrying(self) -> list[str]:
        turns = self._stillness.turns
        if not any(seller.may_carry for seller in self._sightings):
            return [
                "no seller may be carried tonight: none is complete, young enough and sorted the same way"
            ]
        if not turns[None]:
            return ["no two snapshots tell who stands still: carrying is in the low end only"]
        if not (turns[True] or turns[False]):
            return ["one night tells who stands still, none whether they go on: the interval is wide for it"]
        return []

    def _is_sorted_otherwise(self) -> bool:
        pages = [p for p in self._values_of(self._settings.run.sort).values() if len(p) > 1]
        return sum(p[0] < p[1] for p in pages) > _MISPLACED * len(pages)


def _sightings(standing: Standing) -> list[Sighting]:
    columns = (standing.videos, standing.ages, standing.cut, standing.refused)
    return list(starmap(Sighting, zip(*columns, strict=True)))


def _at_most(total: Forecast, left: int | None) -> int | None:
    """Credits that a run spends: what it wants, or what it may."""
    if total.expected is not None:
        return total.expected if left is None else min(left, total.expected)
    is_short = left is not None and left <= total.low
    return left if is_short else None


def _show(told: dict[str, Any]) -> None:
    console = Console(file=sys.stdout, highlight=False)
    # Figures cut off would be of no use.
    console.width = max(console.width, _WIDTH)
    console.print(_summary(told), _strategies(told))
    for warning in told["basis"]["warnings"]:
        sys.stdout.write(f"warning: {warning}\n")


def _summary(told: dict[str, Any]) -> Table:
    sellers, cost, budget, basis = (told[name] for name in ("sellers", "credits", "budget", "basis"))
    table = Table(title=f"Plan for {told['crawl_date']}", show_header=False)
    rows = {
        "sellers": f"{sellers['total']:,}: {sellers['known']:,} known, {sellers['unknown']:,} unknown",
        "ended already": _number(sellers["ended"]) if sellers["ended"] else "",
        "expected credits": _number(cost["expected"]),
        "low to high": _range(cost["low"], cost["high"]),
        "carried forward": _carried(told["carry_forward"]),
        "minutes": "not known" if told["minutes"] is None else f"{told['minutes']:,.1f}",
        "budget left": "no budget" if budget["left"] is None else _number(budget["left"]),
        "snapshots used": ", ".join(basis["crawl_dates"][:_DATES_SHOWN]) or "none",
        "growth a night": _percent(basis["growth_per_night"]),
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, text)
    return table


def _strategies(told: dict[str, Any]) -> Table:
    left = told["budget"]["left"]
    title = "Without a budget" if left is None else f"What {left:,} credits reach"
    names = ("strategy", "credits", "complete", "seen", "views", "sales", "GMV")
    table = Table(*names, title=f"{title}, measured on the last snapshots")
    for strategy, reach in told["by_strategy"].items():
        figures = [_number(reach[name]) for name in _REACHES if name not in _SHARES]
        table.add_row(strategy, *figures, *(_percent(reach[name]) for name in _SHARES))
    return table


def _carried(told: dict[str, int | None] | None) -> str:
    if told is None:
        return ""
    may = f"of {_number(told['may_be_carried'])} sellers at most"
    if told["expected"] is None:
        return f"not known, {may}"
    return f"{_number(told['expected'])} {may}, saving {_number(told['credits_saved'])} credits"


def _range(low: int, high: int | None) -> str:
    return f"at least {low:,}" if high is None else f"{low:,} to {high:,}"


def _number(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"
