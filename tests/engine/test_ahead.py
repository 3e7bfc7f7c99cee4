"""Several pages of one seller in flight: every seller ends, whatever becomes of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from virtual_time import run_virtual

from crawler.engine.credits import Credits
from crawler.engine.gates import Gates
from crawler.engine.pace import Pace
from crawler.engine.pool import Crawl
from crawler.engine.seller import Policies
from crawler.engine.stop import Stop
from crawler.models.api import PAGE_SIZE
from crawler.models.errors import (
    InterruptedRunError,
    OutputError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.page import NO_NOTES, Gap, Page, PageNotes
from crawler.models.seller import Ending, SellerProgress, SellerStatus, Strategy
from crawler.ports import Departure
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.order import Frontier, spread_places
from crawler.rules.outage import Breaker
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize

Answer = Exception | int | None
"""How a request ends: with so many rows, with `data` null (None), or with an error."""


@dataclass
class Api:
    """Answers by script, after `latency` seconds: what comes is decided when the request is sent."""

    answer: Callable[[str, int, float], Answer]
    latency: Callable[[str, int], float] = lambda _seller, _page: 0.1
    sent: list[tuple[str, int]] = field(default_factory=list)
    ended: float = 0.0

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        while not await departure.leave(lambda: True):
            pass
        self.sent.append((seller_id, page_num))
        answer = self.answer(seller_id, page_num, asyncio.get_running_loop().time() - 1000)
        await asyncio.sleep(self.latency(seller_id, page_num))
        self.ended = asyncio.get_running_loop().time() - 1000
        if isinstance(answer, Exception):
            departure.label = type(answer).__name__
            raise answer
        departure.label = "200"
        return Page(seller_id, page_num, b"", answer, page_num if answer else 0, 0, "")


@dataclass
class Journal:
    """Remembers pages and endings in order; nothing more is kept from an ending as `breaks_at` on."""

    pages: list[tuple[str, int]] = field(default_factory=list)
    endings: dict[str, Ending] = field(default_factory=dict)
    credits: Counter[str] = field(default_factory=Counter)
    breaks_at: SellerStatus | None = None
    is_broken: bool = False

    async def append(
        self, page: Page, credits_spent: int, ending: Ending | None, _notes: PageNotes = NO_NOTES
    ) -> None:
        self.pages.append((page.seller_id, page.page_num))
        await self.end(page.seller_id, credits_spent, ending)

    async def end(self, seller_id: str, credits_spent: int, ending: Ending | None) -> None:
        await asyncio.sleep(0.01)
        self.is_broken |= ending is not None and ending.status is self.breaks_at
        if self.is_broken:
            raise OutputError("the disk is full")
        self.credits[seller_id] += credits_spent
        if ending is not None:
            assert seller_id not in self.endings
            self.endings[seller_id] = ending

    async def drifted(self, _seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        return [Gap(2, 1)], {1: 0}


class _Ledger:
    async def reserve(self, _in_use: int) -> int:
        await asyncio.sleep(0)
        return 1000


def crawl(
    api: Api,
    sellers: Iterable[str],
    rule: LookaheadRule,
    stop_at: float | None = None,
    workers: int = 30,
    to_repair: Iterable[str] | None = None,
    *,
    patience: float = 900,
    spread: int = 0,
    begun: Iterable[SellerProgress] = (),
    journal: Journal | None = None,
    policies: Policies | None = None,
) -> tuple[Journal, Crawl]:
    """Crawl sellers to their end, or until a signal comes; each of `to_repair` has a gap before page 2."""
    journal, stop, breaker = journal or Journal(), Stop(), Breaker(patience)
    pace = Pace(200, 60, stop)
    gates = Gates(api, Credits(_Ledger(), stop), pace, breaker, RetryRule(6), stop, patience, Random(0))
    listed = list(sellers)
    apart = [listed[place] for place in spread_places(len(listed), spread)] if spread else []
    frontier = Frontier(iter(listed), begun, Strategy.DEPTH_FIRST, apart)
    size, policies = PoolSize(200, workers), policies or Policies(lookahead=rule)
    job = Crawl(frontier, gates, journal, size, 1.0, policies, to_repair=to_repair)

    async def main() -> None:
        if stop_at is not None:
            asyncio.get_running_loop().call_later(stop_at, stop.set, InterruptedRunError(15))
        await asyncio.wait_for(job.run(), 100_000)

    run_virtual(main())
    assert journal.is_broken or sum(journal.credits.values()) == len(api.sent)
    return journal, job


def rows(size: int, page_num: int) -> int:
    return max(0, min(PAGE_SIZE, size - (page_num - 1) * PAGE_SIZE))


def full(page_num: int) -> Page:
    return Page("deep", page_num, b"", PAGE_SIZE, page_num, 0, "")


KNOWN = LookaheadRule("history", 10, 100_000, {"deep": 40})


def test_a_seller_whose_end_is_known_ends_though_the_api_goes_down_under_its_last_page() -> None:
    """Its list shrank: page 38, asked for ahead, fails until the API is down for all."""

    def answer(seller: str, page_num: int, at: float) -> Answer:
        if at < 300 and (seller != "deep" or page_num == 38):
            return UnavailableError("500")
        return rows(355 if seller == "deep" else 25, page_num)

    api = Api(answer, lambda seller, _page_num: 0.1 if seller == "deep" else 35.0)
    journal, _ = crawl(api, ["deep", *(f"s{n}" for n in range(12))], KNOWN)
    assert set(journal.endings) == {"deep", *(f"s{n}" for n in range(12))}


@pytest.mark.parametrize("refused", [False, True])
def test_a_stop_leaves_no_seller_open_whose_end_is_known(*, refused: bool) -> None:
    """Page 38 is past the end and never answered: what was answered before it must not be asked for again."""

    def answer(_seller: str, page_num: int, _at: float) -> Answer:
        return RefusedError("400") if refused and page_num == 20 else rows(355, page_num)

    api = Api(answer, lambda _seller, page_num: 500.0 if page_num == 38 else 0.1)
    journal, _ = crawl(api, ["deep"], KNOWN, stop_at=60)
    assert ("deep", 38) in api.sent
    assert ("deep", 38) not in journal.pages
    assert journal.endings["deep"].stop_reason == ("error" if refused else "short_page")


@pytest.mark.parametrize("error", [UnavailableError("500"), ThrottledError("429", 3.0)])
def test_a_page_past_the_end_is_not_asked_for_again(error: Exception) -> None:
    """Page 38 fails while the seller turns out to end before it: no further credit goes there."""
    api = Api(
        lambda _seller, page_num, _at: error if page_num == 38 else rows(355, page_num),
        lambda _seller, page_num: 100.0 if page_num == 38 else 0.1,
    )
    journal, _ = crawl(api, ["deep"], KNOWN)
    assert journal.endings["deep"].stop_reason == "short_page"
    assert api.sent.count(("deep", 38)) == 1
    assert len(api.sent) == 37


def test_a_null_page_ahead_of_its_turn_is_no_page() -> None:
    """Page 20 fails and ends the seller; page 30, then in flight, is null: a later run must ask for it."""

    def answer(_seller: str, page_num: int, _at: float) -> Answer:
        if page_num == 20:
            return RefusedError("400")
        return None if page_num == 30 else rows(405, page_num)

    api = Api(answer, lambda _seller, page_num: 60.0 if page_num == 30 else 0.1)
    journal, _ = crawl(api, ["deep"], KNOWN)
    assert ("deep", 30) in api.sent
    assert ("deep", 30) not in journal.pages
    assert journal.endings["deep"].stop_reason == "error"


def test_a_page_that_was_null_ahead_of_its_turn_counts_as_asked_for_again() -> None:
    """Those in flight beside it do not."""
    nulls = iter([None])

    def answer(_seller: str, page_num: int, _at: float) -> Answer:
        return next(nulls, PAGE_SIZE) if page_num == 30 else rows(405, page_num)

    api = Api(answer)
    _, job = crawl(api, ["deep"], KNOWN)
    assert len(api.sent) == 42
    assert job._gates.counts.retried == 1


@pytest.mark.parametrize("rule", [KNOWN, LookaheadRule("gallop", 10, 100_000)])
def test_a_seller_deeper_than_the_limit_is_read_ahead_up_to_it(rule: LookaheadRule) -> None:
    rule = replace(rule, max_pages=30)
    seller = SellerProgress("deep")
    for page_num in range(1, 12):
        seller.received(full(page_num))
    ahead = rule.of(seller)
    assert ahead is not None
    asked: list[int] = []
    for _ in range(4):
        choice = ahead.ask()
        assert choice is not None
        asked.append(choice)
        ahead.landed(choice)
        ahead.came_early(full(choice))
    assert max(asked) == 30
