"""How a crawl ends: what is still journaled when it stops, and sellers that end before their last page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from signal import SIGTERM

from test_ahead import Api, Journal, crawl
from test_outage import gone, sizes

from crawler.engine.seller import Policies
from crawler.engine.stop import weightiest
from crawler.models.api import PAGE_SIZE
from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    ImplausibleError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
    UnavailableError,
)
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.ports import Departure
from crawler.rules.best_first import Top
from crawler.rules.lookahead import LookaheadRule


def test_of_several_reasons_the_first_of_the_order_is_reported() -> None:
    order = [
        OutputError("8"),
        InterruptedRunError(SIGTERM),
        KeyRefusedError("5"),
        QuotaUsedUpError("6"),
        ApiDownError("9"),
        ImplausibleError("10"),
        BudgetSpentError("3"),
    ]
    assert [error.exit_code for error in order] == [8, 143, 5, 6, 9, 10, 3]
    for first, second in combinations(order, 2):
        assert weightiest(first, second) is weightiest(second, first) is first
    assert weightiest(None, order[-1]) is order[-1]


def test_a_journal_that_fails_while_sellers_are_given_up_stops_the_run() -> None:
    api = Api(lambda seller, *_where: 5 if seller == "s0" else UnavailableError("500"))
    journal = Journal(breaks_at=SellerStatus.FAILED)
    _, job = crawl(api, sizes(0, 4), LookaheadRule(), journal=journal)
    assert isinstance(job._stop.reason, OutputError)
    assert set(journal.endings) == {"s0"}


def test_sellers_found_at_fault_when_the_run_stops_are_journaled_as_failed() -> None:
    """Two are refused as by a wrong address; the third's page proves the address while the run stops."""
    api = Api(lambda seller, *_where: 5 if seller == "s2" else gone())
    journal, job = crawl(api, sizes(0, 4), LookaheadRule(), stop_at=0.25, workers=1)
    assert isinstance(job._stop.reason, InterruptedRunError)
    assert {seller: ending.status for seller, ending in journal.endings.items()} == {
        "s0": SellerStatus.FAILED,
        "s1": SellerStatus.FAILED,
        "s2": SellerStatus.COMPLETE,
    }


def test_a_repair_leaves_a_gap_where_a_page_has_no_data() -> None:
    api = Api(lambda *_where: None)
    journal, job = crawl(api, [], LookaheadRule(), to_repair=["s0"])
    assert (api.sent, journal.pages) == ([("s0", 1)], [])
    assert job._stop.reason is None


@dataclass
class Priced(Api):
    """Each page's rows are worth 10 less than those of the page before; the first's 100."""

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        page = await super().fetch(seller_id, page_num, departure)
        page.last_value = 110.0 - 10 * page_num
        page.ids = [f"{page_num}-{n}" for n in range(PAGE_SIZE)]
        page.values = [page.last_value] * PAGE_SIZE
        return page


def test_a_seller_ends_once_it_hides_no_better_video_than_the_best() -> None:
    api = Priced(lambda *_where: PAGE_SIZE)
    journal, _ = crawl(api, ["s0"], LookaheadRule(), policies=Policies(top=Top(25)))
    assert journal.endings == {"s0": Ending(SellerStatus.PARTIAL, StopReason.TOP)}
    assert api.sent == [("s0", 1), ("s0", 2), ("s0", 3)]
