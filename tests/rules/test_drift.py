"""Lists that move while they are read: seen at the gaps, and read again where rows may be missing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from conftest import SMALL, Night
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Gap, Page
from crawler.models.seller import Ending, SellerProgress
from crawler.rules.drift import Repair, gap_before
from crawler.rules.paging import PagingRule
from crawler.simulator.server import Simulator, SimulatorOptions

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
Move = tuple[int, float, float]
"""After how many requests a row rises, and from where to where in the list, as shares of it."""


class MovingList:
    """A seller's list in which, after some requests, a row rises or (from beyond the end) comes in."""

    def __init__(self, rows: int, moves: list[Move]) -> None:
        self.ids = [f"v{n}" for n in range(rows)]
        self.seen: set[str] = set()
        self._moves = sorted(moves)
        self._requests = 0
        self._new = count(rows)

    def page(self, page_num: int) -> Page:
        while self._moves and self._moves[0][0] <= self._requests:
            _, start, end = self._moves.pop(0)
            place = int(start * (len(self.ids) + 1))
            row = self.ids.pop(place) if place < len(self.ids) else f"v{next(self._new)}"
            self.ids.insert(int(end * place), row)
        self._requests += 1
        ids = self.ids[(page_num - 1) * PAGE_SIZE : page_num * PAGE_SIZE]
        self.seen.update(ids)
        return Page("s", page_num, b"", len(ids), hash(tuple(ids)), 0, "", 0.0, 1.0, ids, [1.0] * len(ids))


def read(shelf: MovingList) -> tuple[list[Gap], dict[int, int]]:
    seller, gaps, readings = SellerProgress("s"), list[Gap](), dict[int, int]()
    while True:
        page = shelf.page(seller.next_page)
        step = PagingRule().after(seller, page)
        gap = gap_before(seller, page)
        gaps += [gap] if gap else []
        readings[page.page_num] = page.fingerprint
        seller.received(page)
        if isinstance(step, Ending):
            return gaps, readings


MOVES = st.lists(st.tuples(st.integers(0, 12), st.floats(0, 1), st.floats(0, 1)), max_size=4)


@example(rows=23, moves=[(1, 1.0, 0.0), (1, 0.375, 0.0)])
@given(rows=st.integers(0, 120), moves=MOVES)
def test_no_row_that_rose_is_missing_after_the_repair(rows: int, moves: list[Move]) -> None:
    shelf = MovingList(rows, moves)
    gaps, readings = read(shelf)
    repair, again = Repair(gaps, readings), list[int]()
    shelf._moves.clear()
    repaired_beyond = None
    while repair.page_num is not None:
        again.append(repair.page_num)
        repaired_beyond = repair.after(shelf.page(repair.page_num))
    assert set(shelf.ids) <= shelf.seen
    assert len(again) == len(set(again))
    assert bool(again) == bool(gaps)
    assert not gaps or (repaired_beyond is not None and repaired_beyond < min(gap.page_num for gap in gaps))


@given(st.integers(0, 200))
def test_a_list_that_stands_still_has_no_gap(rows: int) -> None:
    assert read(MovingList(rows, [])) == ([], read(MovingList(rows, []))[1])


@given(rows=st.integers(21, 120), new=st.integers(1, 9))
def test_the_overlap_is_how_far_the_list_moved(rows: int, new: int) -> None:
    gaps, _ = read(MovingList(rows, [(2, 1.0, 0.0)] * new))
    assert gaps == [Gap(3, new)]


def test_rows_worth_more_than_what_came_before_tell_of_a_move() -> None:
    def page(page_num: int, first: float, last_value: float) -> Page:
        ids, values = [f"{page_num}.{n}" for n in range(10)], [first] + [last_value] * 9
        return Page("s", page_num, b"", 10, page_num, 0, "", 0.0, last_value, ids, values)

    seller = SellerProgress("s")
    seller.received(page(1, 100, 50))
    assert gap_before(seller, page(2, 50, 20)) is None
    assert gap_before(seller, page(2, 51, 20)) == Gap(2, 0)


def moved(simulator: Simulator, sellers: list[str], job: Night) -> set[tuple[str, str]]:
    """Videos that the stand-in has by now and the snapshot has not."""
    catalogue = simulator.catalogue
    truth = set()
    for seller in sellers:
        shift = simulator._by_seller[seller] // simulator._options.drift
        pages = (catalogue.page(seller, 1, 1, n, 10, shift) for n in range(1, 40))
        truth |= {(seller, row["video_id"]) for page in pages for row in page}
    return truth - set(job.ids())


@pytest.fixture
def drifting(night: Begin) -> tuple[Night, Simulator, list[str]]:
    """Sellers of 7 to 12 pages, each of which gets a video after its 6th request, and then none for long."""
    job, simulator = night(SimulatorOptions(SMALL, drift=6))
    ids = [s for s in simulator.catalogue.seller_ids(800) if 60 <= simulator.catalogue.size(s) < 110]
    return job, simulator, ids[:40]


def test_repair_finds_what_slipped_through(drifting: tuple[Night, Simulator, list[str]]) -> None:
    job, simulator, ids = drifting
    source = job.sellers(ids)
    plain = job.run(source, "--lookahead", "off")
    lost, sent = moved(simulator, ids, job), simulator.stats.requests
    drift = plain["drift"]
    assert drift["overlap"] >= drift["sellers"] > 5
    assert plain["rows"]["duplicate"] == drift["overlap"]
    assert any("--repair-drift" in note for note in plain["notes"])
    rows = job.seller_rows()
    assert sum(row["overlap"] for row in rows.values()) == drift["overlap"]
    assert {row["seller_id"] for row in rows.values() if row["drift"]} >= {seller for seller, _ in lost}
    repaired = job.run(source, "--lookahead", "off", "--repair-drift")
    assert simulator.stats.requests > sent
    assert repaired["drift"]["gaps"] == 0
    assert repaired["drift"]["overlap"] == drift["overlap"]
    # The repair itself is read while videos come in: what it can miss is what came since.
    assert len(moved(simulator, ids, job) & lost) == 0
    assert repaired["sellers"]["complete"] == len(ids)
    again = simulator.stats.requests
    job.run(source, "--lookahead", "off", "--repair-drift")
    assert simulator.stats.requests == again


@pytest.mark.long
def test_repair_in_the_same_run_comes_last_and_keeps_the_budget(
    drifting: tuple[Night, Simulator, list[str]],
) -> None:
    job, simulator, ids = drifting
    pages = sum((simulator.catalogue.size(s) + 1) // 10 + 1 for s in ids)
    budget = pages + len(ids) // 4
    report = job.run(
        job.sellers(ids), "--repair-drift", "--lookahead", "off", "--budget", str(budget), code=3
    )
    assert simulator.stats.requests == budget
    assert report["sellers"]["complete"] == len(ids)
    assert report["drift"]["gaps"] > 0
    report = job.run(job.sellers(ids), "--repair-drift", "--lookahead", "off")
    assert report["drift"]["gaps"] == 0
