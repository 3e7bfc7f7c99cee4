"""The API down or some sellers sick, with many pages in flight: what that costs, and who is at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from test_ahead import Answer, Api, crawl, rows

from crawler.models.api import PAGE_SIZE
from crawler.models.errors import ApiDownError, RefusedError, ThrottledError, UnavailableError
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason
from crawler.nightly.choosing import is_address_proven
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.recovery import HARD_ATTEMPTS
from crawler.store.journal import Journal
from crawler.store.records import Record

ATTEMPTS = 6


def sizes(deep: int, shallow: int) -> dict[str, int]:
    """Sellers and their rows: some of 401 pages, the others of one."""
    return {f"deep{n}": 4005 for n in range(deep)} | {f"s{n}": 5 for n in range(shallow)}


def known(sizes_of: dict[str, int]) -> LookaheadRule:
    return LookaheadRule("history", 10, 100_000, {s: n // 10 for s, n in sizes_of.items() if n > 100})


def down(sizes_of: dict[str, int], begin: float, end: float) -> Callable[[str, int, float], Answer]:
    def answer(seller: str, page_num: int, at: float) -> Answer:
        return UnavailableError("500") if begin <= at < end else rows(sizes_of[seller], page_num)

    return answer


def failed(api: Api, wanted: dict[str, int]) -> int:
    """Requests beyond one for each page there is."""
    return len(api.sent) - sum(size // 10 + 1 for size in wanted.values())


@pytest.mark.parametrize("deep", [1, 2, 4])
def test_an_outage_under_deep_sellers_costs_what_was_in_flight_and_some_attempts(deep: int) -> None:
    listed = sizes(deep, 0)
    api = Api(down(listed, 3, 15), lambda _seller, _page: 0.5)
    journal, _ = crawl(api, listed, known(listed), workers=128)
    assert {ending.status for ending in journal.endings.values()} == {SellerStatus.COMPLETE}
    assert len(journal.endings) == deep
    # One page past the end of each may have been asked for.
    assert failed(api, listed) <= 128 + deep * (ATTEMPTS + 1)


@pytest.mark.parametrize("deep", [1, 4])
def test_an_outage_that_lasts_costs_no_more(deep: int) -> None:
    """Others are listed too: the run finds that nobody is answered, waits, and goes on."""
    listed = sizes(deep, 1500)
    api = Api(down(listed, 3, 600), lambda _seller, _page: 0.5)
    journal, job = crawl(api, listed, known(listed), workers=128)
    assert job._stop.reason is None
    assert {ending.status for ending in journal.endings.values()} == {SellerStatus.COMPLETE}
    assert len(journal.endings) == deep + 1500
    assert failed(api, listed) <= 128 + 40


def test_look_ahead_goes_on_at_full_speed_after_an_outage() -> None:
    """Some 1,200 pages at 200 a second, and an outage of 10 s."""
    listed = sizes(3, 0)
    api = Api(down(listed, 3, 13), lambda _seller, _page: 0.5)
    crawl(api, listed, known(listed), workers=128)
    assert api.ended <= 13 + 16 + 1200 / 200 + 3


@pytest.mark.parametrize("sick_from", [1, 20])
@pytest.mark.parametrize("workers", [10, 128])
@pytest.mark.parametrize("before", [0, 100])
def test_five_sellers_who_always_fail_neither_end_the_run_nor_hold_it_up(
    sick_from: int, workers: int, before: int
) -> None:
    others = 300 * (1 if sick_from == 1 else 5)
    listed = sizes(5, others)
    names = list(listed)
    names = [*names[5 : 5 + before], *names[:5], *names[5 + before :]]

    def answer(seller: str, page_num: int, _at: float) -> Answer:
        if seller.startswith("deep") and page_num >= sick_from:
            return UnavailableError("500")
        return rows(listed[seller], page_num)

    api = Api(answer, lambda seller, _page: 0.2 if seller.startswith("deep") else 0.5)
    journal, job = crawl(api, names, known(listed), workers=workers)
    ends = Counter((seller[0], ending.status) for seller, ending in journal.endings.items())
    assert job._stop.reason is None
    assert ends == {("d", SellerStatus.FAILED): 5, ("s", SellerStatus.COMPLETE): others}
    assert len(api.sent) <= others + 5 * (sick_from + ATTEMPTS) + workers + 15
    assert max(Counter(api.sent).values()) <= HARD_ATTEMPTS


def test_attempts_while_nobody_was_answered_do_not_count_once_somebody_is() -> None:
    """Three sellers fail for a minute while a fourth waits for its answer, which comes in the end."""

    def answer(seller: str, _page_num: int, at: float) -> Answer:
        return UnavailableError("500") if seller != "slow" and at < 60 else 5

    api = Api(answer, lambda seller, _page: 70.0 if seller == "slow" else 0.1)
    journal, _ = crawl(api, ["slow", "a", "b", "c"], LookaheadRule())
    assert {ending.status for ending in journal.endings.values()} == {SellerStatus.COMPLETE}
    assert max(Counter(api.sent).values()) <= HARD_ATTEMPTS


def test_a_seller_who_fails_while_others_are_answered_is_given_up_after_its_attempts() -> None:
    def answer(seller: str, _page_num: int, _at: float) -> Answer:
        return UnavailableError("500") if seller == "sick" else 10

    api = Api(lambda seller, page_num, at: answer(seller, page_num, at) if page_num < 300 else 5)
    journal, _ = crawl(api, ["sick", "well"], LookaheadRule(), workers=2)
    assert journal.endings["sick"].status is SellerStatus.FAILED
    assert api.sent.count(("sick", 1)) == ATTEMPTS


def gone(*_where: object) -> Answer:
    return RefusedError("404", "404", of_address=True)


@pytest.mark.parametrize("workers", [1, 5, 100])
@pytest.mark.parametrize("count", [5, 24, 25, 26, 90, 5000])
def test_a_wrong_path_is_found_out_by_sellers_spread_over_the_list(workers: int, count: int) -> None:
    listed = [f"s{n}" for n in range(count)]
    api = Api(gone)
    journal, job = crawl(api, listed, LookaheadRule(), workers=workers, spread=25)
    assert isinstance(job._stop.reason, ApiDownError)
    asked = [int(seller[1:]) for seller, _ in api.sent]
    assert f"every one of {len(asked)} sellers was answered 404, none otherwise" in str(job._stop.reason)
    # The fifth refusal finds others in flight, at 200 a second and 0.1 s each; none that waits to leave.
    assert min(25, count) <= len(asked) == len(set(asked)) <= min(25 + min(workers - 1, 22), count)
    if count == 5000:
        assert max(late - early for early, late in pairwise([*sorted(asked), count])) <= count / 12
    assert not journal.endings


@pytest.mark.parametrize("workers", [1, 5, 64])
def test_dead_sellers_at_the_head_of_a_good_list_fail_and_cost_one_request_each(workers: int) -> None:
    listed = [f"s{n}" for n in range(200)]
    dead = {f"s{n}" for n in (*range(12), 150, 199)}
    api = Api(lambda seller, *_where: gone() if seller in dead else 5)
    journal, job = crawl(api, listed, LookaheadRule(), workers=workers, spread=25)
    assert job._stop.reason is None
    assert {s for s, ending in journal.endings.items() if ending.status is SellerStatus.FAILED} == dead
    assert not any(ending.retriable for ending in journal.endings.values())
    assert sorted(api.sent) == sorted((seller, 1) for seller in listed)


@pytest.mark.parametrize("other", [UnavailableError("500"), ThrottledError("429", 1.0), RefusedError("400")])
def test_what_else_is_answered_beside_a_404(other: Answer) -> None:
    """A 400 proves the address; errors that may pass neither prove it nor hold the run up."""
    api = Api(lambda seller, _page, at: other if seller == "s3" and at < 100 else gone())
    journal, job = crawl(api, [f"s{n}" for n in range(30)], LookaheadRule(), spread=25)
    if isinstance(other, RefusedError):
        assert job._stop.reason is None
        assert len(journal.endings) == 30
    else:
        assert isinstance(job._stop.reason, ApiDownError)
        assert not any(ending.error == "404" for ending in journal.endings.values())


def test_an_address_that_brought_pages_of_this_date_is_proven_for_later_runs(tmp_path: Path) -> None:
    """Also where the run that received them was killed, or a wrong address was asked in between."""
    page = Page("7", 1, b"{}", 0, 0, 0, "")
    seen = []
    for url, brings in (("right", 0), ("right", 1), ("wrong", 0), ("wrong", 0), ("right", 0)):
        with Journal(tmp_path / "journal.sqlite", survive_power_loss=False) as journal:
            seen.append(is_address_proven(journal, url))
            journal.write([Record("7", "run", 1, page, None)] * brings)
    assert seen == [False, False, False, False, True]


def test_too_few_dead_sellers_to_tell_fail_and_may_be_tried_again() -> None:
    journal, job = crawl(Api(gone), ["a", "b", "c", "d"], LookaheadRule(), spread=25)
    assert job._stop.reason is None
    assert [(e.status, e.retriable) for e in journal.endings.values()] == [(SellerStatus.FAILED, True)] * 4


@pytest.mark.parametrize("first", ["404", "page"])
def test_a_deep_seller_whose_pages_are_refused_fails_once(first: str) -> None:
    """Its pages are asked for concurrently; the first answer of another seller proves the address."""
    listed = {**sizes(1, 0), "last": 5}
    api = Api(
        lambda seller, *_where: gone() if seller == "deep0" else 5,
        lambda seller, _page: 5.0 if (seller == "last") == (first == "404") else 0.1,
    )
    journal, job = crawl(api, listed, known(listed), spread=25)
    assert job._stop.reason is None
    assert journal.endings["deep0"] == Ending(SellerStatus.FAILED, StopReason.ERROR, "404", retriable=False)
    assert journal.endings["last"].status is SellerStatus.COMPLETE


def test_a_deep_seller_whose_turn_came_while_a_refusal_of_it_was_in_doubt_is_read_on() -> None:
    """It is resumed by two workers; one asks for page 38, is refused, and takes the seller's next turn."""
    seller = SellerProgress("deep0")
    for page_num in range(1, 13):
        seller.received(Page("deep0", page_num, b"", PAGE_SIZE, page_num, 0, ""))
    api = Api(
        lambda _seller, page_num, _at: gone() if page_num == 38 else PAGE_SIZE,
        lambda _seller, page_num: 0.1 if page_num == 38 else 1.0,
    )
    journal, _ = crawl(
        api, [], LookaheadRule("history", 10, 100_000, {"deep0": 40}), workers=2, begun=[seller]
    )
    assert api.sent[:2] == [("deep0", 13), ("deep0", 38)]
    assert {page_num for _, page_num in journal.pages} >= set(range(13, 38))
    assert journal.endings["deep0"] == Ending(SellerStatus.FAILED, StopReason.ERROR, "404", retriable=False)


def test_five_sellers_and_nobody_else_answered_is_an_api_that_is_down() -> None:
    api = Api(lambda *_where: UnavailableError("500"))
    journal, job = crawl(api, sizes(0, 30), LookaheadRule())
    assert isinstance(job._stop.reason, ApiDownError)
    assert not journal.endings


def test_gaps_are_waited_for_as_pages_are_while_the_api_is_down() -> None:
    """One seller is answered, four are given up, the first to be repaired as well; then the API is back."""

    def answer(seller: str, _page_num: int, at: float) -> Answer:
        if seller == "well":
            return 5
        return UnavailableError("500") if at < 400 or seller.startswith("s") else PAGE_SIZE

    api = Api(answer)
    listed = ["well", *sizes(0, 4)]
    journal, job = crawl(api, listed, LookaheadRule(), workers=1, to_repair=["m0", "m1", "m2"])
    assert job._stop.reason is None
    assert {seller for seller, _ in journal.pages} == {"well", "m1", "m2"}


@pytest.mark.parametrize("few", [1, 2, 4])
@pytest.mark.parametrize("patience", [0.0, 60.0, 900.0])
def test_few_sellers_are_not_blamed_where_nobody_has_been_answered(few: int, patience: float) -> None:
    api = Api(lambda *_where: UnavailableError("500"))
    journal, job = crawl(api, sizes(0, few), LookaheadRule(), patience=patience)
    assert isinstance(job._stop.reason, ApiDownError)
    assert not journal.endings
    # The last trial is sent when patience ends; the first five attempts take up to 16 s.
    assert patience <= api.ended <= max(patience, 16) + 1
    assert max(Counter(api.sent).values()) <= HARD_ATTEMPTS


@pytest.mark.parametrize("few", [1, 3])
@pytest.mark.parametrize("back", [10, 50, 300, 899])
def test_few_sellers_are_crawled_once_the_api_is_back(few: int, back: float) -> None:
    api = Api(lambda _seller, _page, at: UnavailableError("500") if at < back else 5)
    journal, job = crawl(api, sizes(0, few), LookaheadRule())
    assert job._stop.reason is None
    assert {ending.status for ending in journal.endings.values()} == {SellerStatus.COMPLETE}
    assert max(Counter(api.sent).values()) <= HARD_ATTEMPTS


def test_a_deep_seller_alone_is_waited_for_with_its_pages_in_flight() -> None:
    listed = sizes(1, 0)
    api = Api(down(listed, 0, 500))
    journal, job = crawl(api, listed, known(listed), workers=30)
    assert job._stop.reason is None
    assert journal.endings["deep0"].status is SellerStatus.COMPLETE
    assert max(Counter(api.sent).values()) <= HARD_ATTEMPTS


@pytest.mark.parametrize("answer", [5, RefusedError("400")])
def test_once_somebody_was_answered_few_sellers_who_fail_are_given_up(answer: Answer) -> None:
    """A 400 is an answer too."""
    api = Api(lambda seller, *_where: answer if seller == "s0" else UnavailableError("500"))
    journal, job = crawl(api, sizes(0, 4), LookaheadRule())
    assert job._stop.reason is None
    assert all(journal.endings[f"s{n}"].status is SellerStatus.FAILED for n in (1, 2, 3))
    assert api.ended < 60
