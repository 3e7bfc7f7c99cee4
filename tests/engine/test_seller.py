"""One seller's life: each pair of state and event is in the table or refused, and the docs show the table."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.engine.seller import (
    _DECIDE,
    TRANSITIONS,
    Defer,
    Event,
    Keep,
    Park,
    Policies,
    Seller,
    SellerState,
    UnknownEventError,
)
from crawler.models.api import PAGE_SIZE
from crawler.models.page import NO_NOTES, KnownFirstPage, Match, Page, PageNotes
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus, StopReason
from crawler.rules.best_first import Top
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.paging import PagingRule, ShortPageProbes

DOCS = Path(__file__).parents[2] / "docs" / "engine.md"


def seller(state: SellerState) -> Seller:
    policies = Policies(PagingRule(), LookaheadRule(), ShortPageProbes(0.0, lambda: 0))
    made = Seller(SellerProgress("s"), policies)
    made.state = state
    return made


def draw() -> str:
    """The table as a Mermaid state diagram, without the events that leave the state as it is."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (state, event), (_, following) in TRANSITIONS.items():
        for after in following:
            if after is not state:
                arrows[state.name, after.name].append(event)
    lines = ["stateDiagram-v2", *(f"    {state.name}: {state.value}" for state in SellerState)]
    lines += ["    [*] --> WAITING", "    [*] --> REPAIRING: an ended seller with gaps"]
    lines += [f"    {before} --> {after}: {', '.join(named)}" for (before, after), named in arrows.items()]
    return "\n".join(["```mermaid", *lines, "    ENDED --> [*]", "```"])


@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in product(SellerState, Event) if pair not in TRANSITIONS],
)
def test_an_event_that_a_state_does_not_know_is_an_error(state: SellerState, event: Event) -> None:
    it = seller(state)
    with pytest.raises(UnknownEventError, match=state.value):
        it.on(event)
    assert it.state is state


def test_every_state_can_be_reached_and_left() -> None:
    entered = {after for _, following in TRANSITIONS.values() for after in following}
    assert entered | {SellerState.REPAIRING} == set(SellerState)
    for state in set(SellerState) - {SellerState.ENDED}:
        assert {
            after for (s, _), (_, following) in TRANSITIONS.items() if s is state for after in following
        } - {state}


def test_a_state_that_the_table_does_not_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    it = seller(SellerState.WAITING)
    monkeypatch.setitem(_DECIDE, (SellerState.WAITING, Event.TURN), (Seller._first_turn, ()))
    with pytest.raises(UnknownEventError, match="led to reading in turn"):
        it.on(Event.TURN)


@pytest.mark.parametrize(("max_pages", "is_probed"), [(1, False), (2, True)])
def test_a_short_page_is_probed_where_one_more_page_is_allowed(max_pages: int, *, is_probed: bool) -> None:
    """Else the seller would end as cut off by the limit, though it is complete."""
    policies = Policies(PagingRule(max_pages=max_pages), LookaheadRule(), ShortPageProbes(1.0, lambda: 1))
    it, page = Seller(SellerProgress("s"), policies), Page("s", 1, b"", 3, 1, 0, "")
    it.on(Event.TURN)
    ending = None if is_probed else Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
    assert it.on(Event.PAGE_CAME, page) == (Keep(page, NO_NOTES, ending),)
    if is_probed:
        it.on(Event.KEPT)
        it.on(Event.TURN)
        assert it.state is SellerState.PROBING


def suspect(*page_nums: int) -> tuple[Seller, list[PageRequest]]:
    """A deep seller whose requests for these pages have failed, one after another; returns them too."""
    progress = SellerProgress("s")
    for page_num in range(1, 5):
        progress.received(Page("s", page_num, b"", PAGE_SIZE, page_num, 0, ""))
    lookahead = LookaheadRule("history", 4, 100, {"s": 40})
    it = Seller(progress, Policies(PagingRule(), lookahead, ShortPageProbes(0.0, lambda: 0)))
    it.on(Event.TURN)
    requests = [PageRequest(progress, page_num, due=float(page_num)) for page_num in page_nums]
    for request in requests:
        it._reads_ahead.in_flight.add(request.page_num)
    return it, requests


def test_of_a_suspect_seller_one_page_is_tried_and_then_the_first() -> None:
    it, (seventh, fifth, ninth) = suspect(7, 5, 9)
    assert it.on(Event.NO_ANSWER, seventh) == (Park(seventh),)
    assert it.on(Event.NO_ANSWER, fifth) == ()
    assert it.on(Event.DEFERRED, ninth) == ()
    assert it.on(Event.TURN) == ()
    assert it.on(Event.DUE, seventh) == (seventh,)
    assert it.on(Event.DEFERRED, seventh) == (Defer(seventh),)
    assert it.on(Event.DUE, seventh) == (seventh,)
    assert it.on(Event.NO_ANSWER, seventh) == (Park(fifth),)
    assert fifth.due == seventh.due
    assert it.on(Event.DUE, fifth) == (fifth,)
    page = Page("s", 5, b"", PAGE_SIZE, 5, 0, "")
    assert it.on(Event.PAGE_CAME, page) == (Park(ninth), Park(seventh), Keep(page, NO_NOTES, None))
    assert it.state is SellerState.AHEAD


def test_a_seller_that_closes_drops_what_was_set_aside_and_what_still_fails() -> None:
    it, (seventh, sixth, ninth) = suspect(7, 6, 9)
    it._reads_ahead.landed(5)
    for request in (seventh, sixth):
        it.on(Event.NO_ANSWER, request)
    short = Page("s", 5, b"", 3, 5, 0, "")
    assert it.on(Event.PAGE_CAME, short) == (Keep(short, NO_NOTES, None),)
    assert it.state is SellerState.CLOSING
    assert it.on(Event.DUE, seventh) == ()
    ending = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
    assert it.on(Event.NO_ANSWER, ninth) == (ending,)
    assert it.progress.ended


@given(st.data())
def test_no_request_of_a_suspect_seller_is_lost(data: st.DataObject) -> None:
    """Whatever fails, comes or is deferred in whatever order: every page is had in the end."""
    it, flying = suspect(5, 6, 7, 8, 9)
    parked: list[PageRequest] = []
    left = 5
    events = data.draw(
        st.lists(st.sampled_from((Event.NO_ANSWER, Event.DEFERRED, Event.PAGE_CAME)), max_size=40)
    )
    for event in (*events, *[Event.PAGE_CAME] * 20):
        if flying:
            request = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            page = Page("s", request.page_num, b"", PAGE_SIZE, request.page_num, 0, "")
            left -= event is Event.PAGE_CAME
            answer = it.on(event, page if event is Event.PAGE_CAME else request)
        else:
            answer = it.on(Event.DUE, parked.pop()) if parked else ()
        parked += [action.request for action in answer if isinstance(action, Park | Defer)]
        flying += [action for action in answer if isinstance(action, PageRequest)]
        assert len(flying) + len(parked) + len(it._set_aside) == left
    assert not left


def full_page(page_num: int, fingerprint: int) -> Page:
    return Page("s", page_num, b"", PAGE_SIZE, fingerprint, 0, "")


def test_a_page_that_repeats_an_earlier_one_is_kept_as_the_last() -> None:
    it, (first, again) = Seller(SellerProgress("s"), Policies()), (full_page(1, 7), full_page(2, 7))
    it.on(Event.TURN)
    assert it.on(Event.PAGE_CAME, first) == (Keep(first, NO_NOTES, None),)
    it.on(Event.KEPT)
    it.on(Event.TURN)
    ending = Ending(SellerStatus.COMPLETE, StopReason.REPEATED_PAGE)
    assert it.on(Event.PAGE_CAME, again) == (Keep(again, NO_NOTES, ending),)


def test_a_seller_whose_rest_is_carried_ends_with_its_first_page() -> None:
    match = Match(date(2026, 11, 22), 40, carried=True)
    known = KnownFirstPage(5, match)
    policies = Policies(known_first_page=lambda _seller: known, digest_of=lambda _page: 5)
    it, page = Seller(SellerProgress("s"), policies), full_page(1, 7)
    it.on(Event.TURN)
    ending = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
    assert it.on(Event.PAGE_CAME, page) == (Keep(page, PageNotes(match=match), ending),)


def test_a_seller_read_ahead_ends_at_its_turn_once_the_best_videos_are_certain() -> None:
    it, _ = suspect()
    it._reads_ahead.landed(5)
    it.progress.max_remaining_value = -1.0
    top = Top(1)
    top.add([(("other", "video"), 0.0)])
    it._policies = Policies(top=top)
    assert it.on(Event.TURN) == (Ending(SellerStatus.PARTIAL, StopReason.TOP),)


def test_the_docs_show_the_table() -> None:
    """After a change of the table: `python tests/engine/test_seller.py` prints the new diagram."""
    assert draw() in DOCS.read_text()


if __name__ == "__main__":
    print(draw())  # noqa: T201
