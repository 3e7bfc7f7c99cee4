"""Choosing: which sellers are asked for, in which order, and by which rules."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress

import pyarrow as pa

from crawler import events
from crawler.engine.seller import Policies
from crawler.history.snapshots import History
from crawler.models.seller import SellerProgress, Strategy
from crawler.nightly.advice import advised, best_so_far, deepest_first, depths, matcher
from crawler.nightly.opening import Opened
from crawler.nightly.watching import Watch
from crawler.rules.address import MOST_ASKED, AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.order import Frontier, spread_places
from crawler.sellers.listing import SellerList
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

    `to_repair` are ended sellers with gaps, None where gaps are left alone. Of the listed sellers `ended`
    have ended already. `address` holds what is known of the API's address.
    """

    address: AddressCheck
    rules: Rules | None = None
    to_repair: list[str] | None = None
    ended: int = 0


def choose(opened: Opened, only: SellerList | None = None) -> Choice:
    """Choose what is to be crawled, of the sellers of the list or of those alone that are given.

    Raises `OutputError` where the journal cannot be read, or an earlier snapshot cannot be kept for it.
    """
    night, journal = opened.night, opened.journal
    listed = only or night.listed
    begun = list(journal.sellers.begun(carried=not night.run.carry_forward))
    begun = list(compress(begun, listed.contains([seller.seller_id for seller in begun])))
    fresh = listed.without(journal.sellers.ended())
    if len(fresh):
        fresh = fresh.without(journal.sellers.answered())
    url = night.without_keys(night.settings.api.url)
    address = AddressCheck(url, is_proven=is_address_proven(journal, url))
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
    policies = Policies(match=matcher(opened))
    if run.top is not None:
        frontier = BestFirst(fresh, begun, by_max_remaining_value=True, spread=spread)
        return Rules(frontier, replace(policies, top=best_so_far(opened, run.top)))
    history, notes = History(run.data, opened.night.crawl_date), opened.notes
    if run.strategy is Strategy.BEST_FIRST:
        values: dict[str, array[float]] = {}
        values = advised(history, notes, partial(history.page_values, run.sort), values)
        return Rules(BestFirst(fresh, begun, values, spread=spread), policies)
    if run.strategy is Strategy.BREADTH_FIRST or run.min_value is not None:
        return Rules(Frontier(fresh, begun, run.strategy, spread), policies)
    pages, known = run.lookahead_pages, dict[str, int]()
    if run.lookahead != "off":
        known = advised(history, notes, partial(depths, history, opened.night.listed, pages), known)
    # Where credits may run out, the list's own order says who comes first.
    limits = opened.night.settings.credits
    if limits.budget is None and limits.monthly_budget is None:
        fresh = advised(history, notes, partial(deepest_first, history, fresh, pages), fresh)
    ahead = LookaheadRule(run.lookahead, pages, run.max_pages, known)
    return Rules(Frontier(fresh, begun, run.strategy, spread), replace(policies, lookahead=ahead))
