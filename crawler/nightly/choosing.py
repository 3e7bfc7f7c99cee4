"""Choosing: which sellers are asked for, in which order, and by which rules."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress

import pyarrow as pa

from crawler import events
from crawler.engine.seller import Policies
from crawler.history.snapshots import History
from crawler.models.seller import SellerProgress, Strategy
from crawler.nightly import advice, bases, freshest
from crawler.nightly.opening import Opened
from crawler.nightly.watching import Watch
from crawler.rules.address import MOST_ASKED, AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.order import Frontier, spread_places
from crawler.sellers.listing import SellerList
from crawler.store.bases import Bases
from crawler.store.journal import Journal


@dataclass(frozen=True, slots=True)
class Rules:
    """By which rules sellers are asked for, and in which order; see `Crawl`."""

    frontier: Frontier | BestFirst
    policies: Policies
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be crawled: `rules` is None where nothing is left to do.

    `then` chooses what is crawled after that, by the number of requests that were sent. `to_repair` are ended
    sellers with gaps, None where gaps are left alone. Of the listed sellers `ended` have ended already.
    `address` holds what is known of the API's address.
    """

    address: AddressCheck
    rules: Rules | None = None
    to_repair: list[str] | None = None
    ended: int = 0
    then: Callable[[int], Choice] | None = None


def choose(opened: Opened, only: SellerList | None = None) -> Choice:
    """Choose what is to be crawled, of the sellers of the list or of those alone that are given.

    Raises `OutputError` where the journal cannot be read, or an earlier snapshot cannot be kept for it.
    """
    night, journal = opened.night, opened.journal
    if night.run.strategy is Strategy.FRESHEST:
        bases.stand_on_bases(opened)
        if only is None and (budget := opened.account.left) is not None:
            return _choose_to_read(opened, budget)
    listed = only or night.listed
    begun = list(journal.sellers.begun(carried=not night.run.carry_forward))
    begun = list(compress(begun, listed.contains([seller.seller_id for seller in begun])))
    fresh = listed.without(journal.sellers.ended())
    if len(fresh):
        fresh = fresh.without(journal.sellers.answered())
    address = _address(opened)
    to_repair = None
    if night.run.repair_drift and night.run.top is None:
        drifted = journal.sellers.to_repair()
        to_repair = list(compress(drifted, listed.contains(drifted)))
    if not begun and not len(fresh) and not to_repair:
        events.NOTHING_TO_DO(crawl_date=night.crawl_date).log()
        return Choice(address)
    ended = len(night.listed) - len(fresh) - len(begun)
    rules = _rules(opened, fresh, begun)
    if only is None:
        rules = replace(rules, watch=Watch.choose(opened, rules.frontier, fresh))
    return Choice(address, rules, to_repair, ended)


def _choose_to_read(opened: Opened, budget: int) -> Choice:
    """Choose what a budget buys by `--strategy freshest`."""
    night = opened.night
    chosen = freshest.choose_to_read(opened, budget)
    if chosen.overdue:
        opened.notes.add(
            events.BUDGET_TOO_SMALL(
                stretches=chosen.overdue, days=night.run.max_age, budget=chosen.bearable_budget
            )
        )
    if not chosen.groups:
        events.NOTHING_TO_DO(crawl_date=night.crawl_date).log()
        return Choice(_address(opened))
    first = [seller.seller_id for group in chosen.groups for seller in group if seller.next_page == 1]
    watched = replace(night.listed, ids=pa.array(first, pa.string()))
    watch = Watch.choose(opened, Frontier((), (), Strategy.DEPTH_FIRST), watched)
    return _choose_groups(
        opened, chosen, watch, partial(_choose_rest, opened, budget, watch, chosen.known, 0)
    )


def _choose_rest(opened: Opened, budget: int, watch: Watch, known: Bases, before: int, sent: int) -> Choice:
    """Choose what the credits buy that are left of a budget: it cost less than expected what was chosen.

    `sent` requests were sent by now, `before` of them when it was chosen.
    """
    if sent == before or sent >= budget:
        return Choice(_address(opened))
    chosen = freshest.choose_to_read(opened, budget - sent, known)
    return _choose_groups(opened, chosen, watch, partial(_choose_rest, opened, budget, watch, known, sent))


def _choose_groups(
    opened: Opened, chosen: freshest.Chosen, watch: Watch, after: Callable[[int], Choice], _sent: int = 0
) -> Choice:
    """Choose groups of sellers, each once the one before it has ended, and then what `after` chooses."""
    if not chosen.groups:
        return Choice(_address(opened))
    run, (group, *others) = opened.night.run, chosen.groups
    ahead = LookaheadRule(run.lookahead, run.lookahead_pages, run.max_pages, chosen.depths)
    rules = Rules(Frontier((), group, Strategy.DEPTH_FIRST), Policies(lookahead=ahead), watch)
    then = after
    if others:
        then = partial(_choose_groups, opened, replace(chosen, groups=others), watch, after)
    ended = len(opened.night.listed) - sum(map(len, chosen.groups))
    return Choice(_address(opened), rules, ended=ended, then=then)


def _address(opened: Opened) -> AddressCheck:
    """What is known of the API's address."""
    url = opened.night.without_keys(opened.night.settings.api.url)
    return AddressCheck(url, is_proven=is_address_proven(opened.journal, url))


def is_address_proven(journal: Journal, url: str) -> bool:
    """Whether pages of this journal came from the API's address `url`; notes that it is asked from now on.

    Which run brought pages is seen when the next one begins: a killed run cannot note it.
    """
    asked, before = journal.meta("asked_url"), int(journal.meta("asked_from") or 0)
    if asked is not None and journal.last_seq > before:
        journal.note(answered_url=asked)
    journal.note(asked_url=url, asked_from=str(journal.last_seq))
    return journal.meta("answered_url") == url


def _rules(opened: Opened, fresh: SellerList, begun: list[SellerProgress]) -> Rules:
    run = opened.night.run
    spread = fresh.ids.take(pa.array(spread_places(len(fresh), MOST_ASKED), pa.int64())).to_pylist()
    policies = advice.policies_of(opened)
    if run.top is not None:
        frontier = BestFirst(fresh, begun, by_max_remaining_value=True, spread=spread)
        return Rules(frontier, replace(policies, top=advice.best_so_far(opened, run.top)))
    history, notes = History(run.data, opened.night.crawl_date), opened.notes
    if run.strategy is Strategy.BEST_FIRST:
        values: dict[str, array[float]] = {}
        values = advice.advised(history, notes, partial(history.page_values, run.sort), values)
        return Rules(BestFirst(fresh, begun, values, spread=spread), policies)
    if run.strategy is Strategy.BREADTH_FIRST or run.min_value is not None:
        return Rules(Frontier(fresh, begun, run.strategy, spread), policies)
    pages, known = run.lookahead_pages, dict[str, int]()
    if run.lookahead != "off":
        known = advice.advised(
            history, notes, partial(advice.depths, history, opened.night.listed, pages), known
        )
    # Where credits may run out, the list's own order says who comes first.
    limits = opened.night.settings.credits
    if limits.budget is None and limits.monthly_budget is None:
        fresh = advice.advised(history, notes, partial(advice.deepest_first, history, fresh, pages), fresh)
    ahead = LookaheadRule(run.lookahead, pages, run.max_pages, known)
    return Rules(Frontier(fresh, begun, run.strategy, spread), replace(policies, lookahead=ahead))
