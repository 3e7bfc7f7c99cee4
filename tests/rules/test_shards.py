from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crawler.models.page import Gap, Page, PageNotes
from crawler.models.seller import Ending, PageRange, SellerProgress, SellerStatus, StopReason
from crawler.rules.shards import SHARDS_A_WORKER, Shard, cut, dealt, pages_a_shard, shards_to_repair

COMPLETE = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
COUNTS = st.lists(st.integers(1, 400), max_size=60)


def sellers(count: int) -> list[SellerProgress]:
    return [SellerProgress(str(number)) for number in range(count)]


@given(COUNTS, st.integers(1, 500))
def test_shards_hold_every_seller_once_and_are_no_larger_than_wanted(counts: list[int], size: int) -> None:
    expected = {str(number): count for number, count in enumerate(counts)}
    shards = list(cut(sellers(len(counts)), lambda ids: [expected[i] for i in ids], size))
    assert [s.seller_id for shard in shards for s in shard] == [str(n) for n in range(len(counts))]
    for shard in shards:
        assert len(shard) == 1 or sum(expected[s.seller_id] for s in shard) <= size
    for first, second in pairwise(shards):
        assert sum(expected[s.seller_id] for s in first) + expected[second[0].seller_id] > size


@given(st.integers(0, 50), st.integers(1, 9))
def test_dealt_shards_differ_by_one_seller_at_most(count: int, shards: int) -> None:
    found = dealt(sellers(count), shards)
    assert sorted(int(s.seller_id) for shard in found for s in shard) == list(range(count))
    sizes = [len(shard) for shard in found]
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(st.integers(0, 10**7), st.integers(1, 200), st.floats(0.1, 10_000))
def test_there_is_work_for_every_worker_and_not_much_more_than_enough_shards(
    pages: int, workers: int, qps: float
) -> None:
    size = pages_a_shard(pages, workers, qps)
    assert size >= 1
    assert size <= 10_000
    assert size == 10_000 or pages / size <= SHARDS_A_WORKER * workers
    assert pages <= workers or (size - 1) * workers < pages


def page(seller_id: str, number: int, rows: int = 10) -> Page:
    return Page(seller_id, number, b"", rows, number, 0, "", last_value=1.0)


@given(st.permutations(range(1, 8)))
def test_a_shard_knows_which_page_of_a_seller_is_next(order: list[int]) -> None:
    shard = Shard(1, {"s": SellerProgress("s")})
    for count, number in enumerate(order, 1):
        shard.received(page("s", number))
        seller, came = shard.sellers["s"], {*order[:count]}
        first_missing = next(n for n in range(1, 9) if n not in came)
        assert seller.next_page == first_missing
        assert {*(seller.early_pages or {})} == {n for n in came if n > first_missing}
    shard.ended("s", COMPLETE)
    assert not shard.sellers
    assert not shard.drifted


def test_a_shard_knows_the_sellers_that_are_complete_but_for_gaps() -> None:
    shard = Shard(1, {each: SellerProgress(each, drifted=each == "begun") for each in ("s", "cut", "begun")})
    for each in ("s", "cut"):
        shard.received(page(each, 1))
        shard.received(page(each, 2), PageNotes((Gap(2, 3),)))
        shard.received(page(each, 3))
    shard.ended("cut", Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES))
    shard.ended("s", COMPLETE)
    shard.ended("begun", COMPLETE)
    assert shard.drifted == ["s", "begun"]
    (repair,) = shards_to_repair(shard.drifted, 1, 100.0, [7])
    assert [repair.number, *repair.sellers] == [7, "s", "begun"]
    repair.received(page("s", 1), PageNotes(repaired_beyond=1))
    assert repair.pages == 1
    assert repair.sellers["s"] == SellerProgress("s")


RANGES = st.sampled_from(
    [
        (PageRange(1, 3),),
        (PageRange(2, 4), PageRange(9, None)),
        (PageRange(1, 2), PageRange(5, 6), PageRange(8, 8)),
        (PageRange(5, None),),
    ]
)


@given(RANGES, st.data())
def test_of_stretches_what_is_left_is_what_has_not_come(
    ranges: tuple[PageRange, ...], data: st.DataObject
) -> None:
    end = 12
    wanted = [n for first, last in ranges for n in range(first, (last or end) + 1)]
    shard = Shard(1, {"s": SellerProgress("s", next_page=ranges[0].first, stretches=ranges)})
    came = data.draw(st.lists(st.sampled_from(wanted), unique=True))
    for number in came:
        is_done = shard.received(page("s", number, 4 if number == end else 10))
        if is_done:
            assert "s" not in shard.sellers
            break
    left = shard.sellers.get("s")
    missing = [n for n in wanted if n not in came]
    if left is None:
        assert not missing or end in came
        return
    found = [n for first, last in left.stretches for n in range(first, (last or end) + 1)]
    assert found == missing or (end in came and {*found} <= {*missing})
    assert left.next_page == left.stretches[0].first
