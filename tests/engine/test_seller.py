"""One seller's life: each pair of state and event is in the table or refused, and the docs show the table."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from crawler.engine import events
from crawler.engine.seller import _DECIDE, TRANSITIONS, Policies, Seller, SellerState, UnknownEventError
from crawler.models.page import Page
from crawler.models.seller import SellerProgress
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.paging import PagingRule
from crawler.rules.probing import ShortPageProbes

DOCS = Path(__file__).parents[2] / "docs" / "engine.md"
EVENTS: tuple[events.Event, ...] = (
    events.Turn(),
    events.PageCame(Page("s", 1, b"", 10, 1, 0, "")),
    events.NullData(Page("s", 1, b"", None, 0, 0, "")),
    events.Kept(),
    events.NoAnswer(),
    events.Throttled(),
    events.HeldBack(),
    events.Refused(),
    events.GaveUp(1, "500"),
    events.FoundAtFault(1, "400", retriable=False),
    events.Due(1),
    events.Stopped(),
)


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
                arrows[state.name, after.name].append(event.__name__)
    lines = ["stateDiagram-v2", *(f"    {state.name}: {state.value}" for state in SellerState)]
    lines += ["    [*] --> WAITING", "    [*] --> REPAIRING: an ended seller with gaps"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    return "\n".join(["```mermaid", *lines, "    ENDED --> [*]", "```"])


def test_events_are_all_tried() -> None:
    assert [type(event) for event in EVENTS] == list(get_args(events.Event))


@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in product(SellerState, EVENTS) if (pair[0], type(pair[1])) not in TRANSITIONS],
)
def test_an_event_that_a_state_does_not_know_is_an_error(state: SellerState, event: events.Event) -> None:
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
    it = seller(SellerState.IN_TURN)
    monkeypatch.setitem(_DECIDE, (SellerState.IN_TURN, events.Turn), (Seller.stay, (SellerState.ENDED,)))
    with pytest.raises(UnknownEventError, match="led to reading in turn"):
        it.on(events.Turn())


def test_the_docs_show_the_table() -> None:
    """After a change of the table: `python tests/engine/test_seller.py` prints the new diagram."""
    assert draw() in DOCS.read_text()


if __name__ == "__main__":
    print(draw())  # noqa: T201
