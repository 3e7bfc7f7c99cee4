"""A state machine over ledger, journal and frontier: whatever happens in whatever order, money is safe."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from datetime import date
from functools import partial
from pathlib import Path

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crawler.models.page import Page
from crawler.models.seller import Ending, SellerProgress, Strategy
from crawler.rules.budget import lease_size
from crawler.rules.order import Frontier
from crawler.rules.paging import PagingRule, Step
from crawler.store.journal import Journal
from crawler.store.ledger import Ledger
from crawler.store.records import Record

DATE = date(2026, 11, 23)


class Crawling(RuleBasedStateMachine):
    """One crawl date: `sent` is what the API saw, `kept` what was journaled; both outlive crashes."""

    @initialize(
        sizes=st.lists(st.integers(0, 35), min_size=1, max_size=5),
        strategy=st.sampled_from(Strategy),
        qps=st.sampled_from((0.1, 1.0, 8.0, 100.0)),
        budget=st.none() | st.integers(0, 12) | st.integers(13, 150),
    )
    def begin(self, sizes: list[int], strategy: Strategy, qps: float, budget: int | None) -> None:
        # In memory where there is room: every commit waits for its disk.
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.sizes = {str(n): size for n, size in enumerate(sizes)}
        self.strategy, self.qps, self.budget = strategy, qps, budget
        self.sent: Counter[tuple[str, int]] = Counter()
        self.kept: set[tuple[str, int]] = set()
        self.lost_in_flight = 0
        self.ended: set[str] = set()
        self.runs = 0
        self._resume()

    def _resume(self) -> None:
        self.runs += 1
        self.ledger = Ledger(self.folder)
        self.journal = Journal(self.folder / "state" / "journal" / "j.sqlite")
        self.ledger.begin(f"run{self.runs}", DATE, f"{self.runs:05}")
        self.credits, self.spent = 0, 0
        self.in_flight: list[SellerProgress] = []
        begun = list(self.journal.sellers.begun())
        answered = {seller for ids in self.journal.sellers.answered() for seller in ids.to_pylist()}
        fresh = [seller for seller in self.sizes if seller not in answered]
        assert {seller.seller_id for seller in begun} == answered - self.ended
        self.frontier = Frontier(fresh, begun, self.strategy)

    def _leave(self) -> None:
        self.journal.__exit__()
        self.ledger.__exit__()

    @rule(times=st.integers(1, 8))
    def send(self, times: int) -> None:
        for _ in range(times):
            self._send()

    def _send(self) -> None:
        if self.credits == 0:
            lease = partial(lease_size, self.qps, 4096)
            self.credits = self.ledger.reserve(f"run{self.runs}", DATE, self.budget, lease)
        if self.credits == 0:
            assert self.budget is not None
            return
        seller = self.frontier.take()
        if seller is None:
            return
        self.credits -= 1
        self.spent += 1
        key = (seller.seller_id, seller.next_page)
        assert key not in self.kept, "a page that is in the journal was asked for again"
        assert seller.seller_id not in self.ended
        self.sent[key] += 1
        assert self.budget is None or self.sent.total() <= self.budget
        self.in_flight.append(seller)

    @rule(picks=st.lists(st.integers(0, 9), min_size=1, max_size=8))
    def answer(self, picks: list[int]) -> None:
        for which in picks[: len(self.in_flight)]:
            self._answer(self.in_flight.pop(which % len(self.in_flight)))

    def _answer(self, seller: SellerProgress) -> None:
        first = (seller.next_page - 1) * 10
        rows = list(range(first, min(first + 10, self.sizes[seller.seller_id])))
        body = orjson.dumps({"data": [{"video_id": str(n)} for n in rows]})
        fingerprint = hash((seller.seller_id, *rows)) % 2**62
        page = Page(seller.seller_id, seller.next_page, body, len(rows), fingerprint, 0, "")
        step = PagingRule().after(seller, page)
        assert step is not Step.ASK_AGAIN
        ending = step if isinstance(step, Ending) else None
        self.journal.write([Record(seller.seller_id, f"run{self.runs}", 1, page, ending)])
        self.kept.add((seller.seller_id, seller.next_page))
        seller.received(page)
        if ending is None:
            self.frontier.put_back(seller)
        else:
            self.ended.add(seller.seller_id)

    @rule(which=st.integers(0, 3))
    @precondition(lambda self: self.in_flight)
    def fail(self, which: int) -> None:
        self.frontier.put_back(self.in_flight.pop(which % len(self.in_flight)))

    @rule()
    def crash(self) -> None:
        self.lost_in_flight += len(self.in_flight)
        self._leave()
        self._resume()

    @rule()
    def stop_cleanly(self) -> None:
        for seller in self.in_flight:
            self.frontier.put_back(seller)
        before = self.ledger.spent_for(DATE)
        self.ledger.return_unused_credits(f"run{self.runs}", self.spent)
        assert self.ledger.spent_for(DATE) == before - self.credits
        self._leave()
        self._resume()

    @rule(budget=st.none() | st.integers(0, 200))
    def change_budget(self, budget: int | None) -> None:
        """A budget below what was sent is allowed: it only means that nothing more is."""
        if budget is None or budget >= self.sent.total():
            self.budget = budget
            self.stop_cleanly()

    @invariant()
    def the_ledger_is_never_below_what_was_sent(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.spent_for(DATE) >= self.sent.total()

    @invariant()
    def nothing_received_is_forgotten(self) -> None:
        if hasattr(self, "journal"):
            assert {(p.seller_id, p.page_num) for p in self.journal.waiting()} == self.kept

    def teardown(self) -> None:
        """Without a budget the night can always be finished from here, and no page is needed twice."""
        if hasattr(self, "folder"):
            self.budget = None
            while self.in_flight or not self.frontier.empty:
                self._send()
                if self.in_flight:
                    self._answer(self.in_flight.pop())
            assert self.ended == self.sizes.keys()
            assert len(self.kept) == sum(size // 10 + 1 for size in self.sizes.values())
            self._leave()
            shutil.rmtree(self.folder)


TestCrawling = Crawling.TestCase
TestCrawling.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
