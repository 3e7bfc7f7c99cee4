"""One seller's life: its states, what may happen in each of them, and what it answers to that.

Open it to learn when a seller's next page is asked for, and where a seller ends. Everything here is pure:
`TRANSITIONS` says which method decides, `Seller.on` applies it, and the pool carries out the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from crawler.models.page import NO_NOTES, Gap, KnownFirstPage, Match, Page, PageNotes
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus, StopReason
from crawler.rules.best_first import Top
from crawler.rules.drift import Repair, gap_before
from crawler.rules.lookahead import Ahead, LookaheadRule
from crawler.rules.paging import PagingRule, ShortPageProbes, Step


class SellerState(StrEnum):
    """What a seller is doing."""

    WAITING = "waiting for its turn"
    """Nothing of it is in flight."""
    IN_TURN = "reading in turn"
    """One page has been asked for, which is in flight, parked or being kept."""
    PROBING = "probing"
    """The same for the page after a short one, to learn whether short pages end a list."""
    AHEAD = "reading ahead"
    """Any number of its pages are in flight, parked or being kept."""
    SUSPECT = "suspect"
    """It reads ahead, and its latest request brought no answer: one request at a time is tried."""
    CLOSING = "closing"
    """Its ending is known; pages that were asked for before may still come, and are kept."""
    ENDED = "ended"
    """The frontier may still have it, and another page of it be on the way to the disk."""
    REPAIRING = "repairing"
    """It has ended; pages around its gaps are read again, one at a time."""


class Event(StrEnum):
    """What happened; some events come with a page, or with the request that they are about."""

    TURN = "turn"
    """The frontier gives the seller: it may ask for a page."""
    PASSED_OVER = "passed over"
    """The same, but it must not ask: a refusal of it is in doubt."""
    PAGE_CAME = "page came"
    """With the page; its `data` may be null."""
    KEPT = "page kept"
    """A page of the seller is durable."""
    NO_ANSWER = "no answer"
    """With a request that brought no usable answer, and may be repeated."""
    DEFERRED = "deferred"
    """With a request that has not failed: a 429 came, or it was not sent (API down, address in doubt)."""
    REFUSED = "refused"
    """The API refuses a page. That is an answer; `UNOBTAINABLE` follows where it is the seller's fault."""
    UNOBTAINABLE = "unobtainable"
    """With a request whose page cannot be had; its `reason` says why."""
    DUE = "due"
    """With a request that was parked or deferred, and may be sent."""
    STOPPED = "stopped"
    """The run is over: nothing in flight is left."""


class Park(NamedTuple):
    """Keep a request that failed until its next attempt is due."""

    request: PageRequest


class Defer(NamedTuple):
    """Keep a request that did not fail until it may be sent."""

    request: PageRequest


class Offer(NamedTuple):
    """Put the seller into the frontier."""


class Keep(NamedTuple):
    """Journal a page, and with the last one how its seller ended."""

    page: Page
    notes: PageNotes
    ending: Ending | None


Action = PageRequest | Park | Defer | Offer | Keep | Ending
"""What is to be done: a request is to be sent, an ending to be journaled."""

Answer = tuple[Action, ...]
"""What a seller answers to an event; at most the last part is to be awaited."""

Decision = tuple[SellerState, Answer]

# --- The table: in these states, at this event, a method decides; it may leave the state for those named.
# A later row for the same state and event counts.

WAITING, IN_TURN, PROBING, AHEAD, SUSPECT, CLOSING, ENDED, REPAIRING = SellerState
_Row = tuple[str, tuple[SellerState, ...]]
_TABLE: dict[tuple[SellerState, ...], dict[Event, _Row]] = {
    (WAITING,): {Event.TURN: ("first_turn", (IN_TURN, PROBING, AHEAD, ENDED))},
    (IN_TURN, PROBING, REPAIRING): {
        Event.NO_ANSWER: ("park", ()),
        Event.DEFERRED: ("defer", ()),
        Event.REFUSED: ("stay", ()),
        Event.DUE: ("retry", ()),
        Event.STOPPED: ("stay", ()),
    },
    (IN_TURN, PROBING): {
        Event.PAGE_CAME: ("read_in_turn", (WAITING, ENDED)),
        Event.KEPT: ("wait_for_turn", (WAITING,)),
        Event.UNOBTAINABLE: ("fail", (ENDED,)),
    },
    (PROBING,): {Event.PAGE_CAME: ("read_in_turn", (ENDED,))},
    (AHEAD, SUSPECT): {
        Event.PASSED_OVER: ("pass_turn", ()),
        Event.PAGE_CAME: ("read_ahead", (AHEAD, CLOSING, ENDED)),
        Event.KEPT: ("offer", ()),
        Event.NO_ANSWER: ("suspect", (SUSPECT,)),
        Event.REFUSED: ("clear", (AHEAD,)),
        Event.UNOBTAINABLE: ("fail_ahead", (SUSPECT, CLOSING, ENDED)),
        Event.STOPPED: ("stay", ()),
    },
    (AHEAD,): {
        Event.TURN: ("turn_ahead", (ENDED,)),
        Event.DEFERRED: ("defer", ()),
        Event.DUE: ("retry_ahead", ()),
    },
    (SUSPECT,): {
        Event.TURN: ("turn_suspect", (ENDED,)),
        Event.DEFERRED: ("defer_suspect", ()),
        Event.DUE: ("retry_suspect", ()),
    },
    (CLOSING,): {
        Event.TURN: ("stay", ()),
        Event.PASSED_OVER: ("stay", ()),
        Event.PAGE_CAME: ("read_ahead", (ENDED,)),
        Event.KEPT: ("stay", ()),
        Event.NO_ANSWER: ("drop", (ENDED,)),
        Event.DEFERRED: ("drop", (ENDED,)),
        Event.REFUSED: ("stay", ()),
        Event.UNOBTAINABLE: ("drop", (ENDED,)),
        Event.DUE: ("drop", (ENDED,)),
        Event.STOPPED: ("end", (ENDED,)),
    },
    (ENDED,): {Event.TURN: ("stay", ()), Event.KEPT: ("stay", ())},
    (REPAIRING,): {
        Event.TURN: ("ask_to_repair", (ENDED,)),
        Event.PAGE_CAME: ("read_again", (ENDED,)),
        Event.KEPT: ("offer", ()),
        Event.UNOBTAINABLE: ("end", (ENDED,)),
    },
}
TRANSITIONS = {
    (state, event): row for states, rows in _TABLE.items() for state in states for event, row in rows.items()
}
"""A pair of state and event that is not here is a fault of the program."""


class UnknownEventError(AssertionError):
    """An event came in a state that does not know it, or led to one that the table does not name."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What decides over pages, the same for all sellers.

    `known_first_page` is what an earlier snapshot has of a seller, `digest_of` makes the same of a page.
    """

    paging: PagingRule = field(default_factory=PagingRule)
    lookahead: LookaheadRule = field(default_factory=LookaheadRule)
    probes: ShortPageProbes = field(default_factory=ShortPageProbes)
    top: Top | None = None
    known_first_page: Callable[[str], KnownFirstPage | None] = lambda _seller: None
    digest_of: Callable[[Page], int | None] = lambda _page: None

    def ending_without_asking(self, progress: SellerProgress) -> Ending | None:
        """How a seller ends whose next page is not wanted; None where it goes on."""
        if self.top is not None and progress.max_remaining_value <= self.top.threshold:
            return Ending(SellerStatus.PARTIAL, StopReason.TOP)
        return self.paging.ended(progress)

    def match(self, first: Page) -> Match | None:
        """Compare a seller's first page with its last snapshot; None where they differ, or it has none."""
        known = self.known_first_page(first.seller_id)
        return known.match if known is not None and self.digest_of(first) == known.digest else None


_NO_REPAIR = Repair((), {})


class Seller:
    """A seller that is being read, from its turn on: `on` takes what happened, and says what to do.

    Where it goes back to wait for its turn with nothing in flight, only its `progress` needs to be kept.
    """

    __slots__ = (
        "_ahead", "_ending", "_is_queued", "_policies", "_repair", "_set_aside", "_tried",
        "progress", "state",
    )  # fmt: skip

    def __init__(self, progress: SellerProgress, policies: Policies, repair: Repair = _NO_REPAIR) -> None:
        self.progress = progress
        self.state = ENDED if progress.ended else WAITING if repair is _NO_REPAIR else REPAIRING
        self._policies = policies
        self._repair = repair
        self._ahead: Ahead | None = None
        self._ending: Ending | None = None
        self._is_queued = False
        self._tried: PageRequest | None = None
        self._set_aside: dict[int, PageRequest] = {}

    def on(self, event: Event, subject: Page | PageRequest | None = None) -> Answer:
        """Take an event and what it is about, and give what is to be done; raises `UnknownEventError`."""
        row = _DECIDE.get((self.state, event))
        if row is None:
            raise UnknownEventError(f"{event} while {self.state}")
        state, answer = row[0](self, subject)
        if state is not self.state:
            if state not in row[1]:
                raise UnknownEventError(f"{event} while {self.state} led to {state}")
            self.state = state
            if state is ENDED:
                self.progress.ended = True
        return answer

    # --- in turn

    def _first_turn(self, _: None) -> Decision:
        progress, policies = self.progress, self._policies
        ending = policies.ending_without_asking(progress)
        if ending is not None:
            return ENDED, (ending,)
        self._ahead = policies.lookahead.of(progress)
        if self._ahead is not None:
            return AHEAD, self._ask_ahead(self._ahead)
        request = PageRequest(progress, progress.next_page, again=progress.null_seen)
        return PROBING if progress.probing else IN_TURN, (request,)

    def _read_in_turn(self, page: Page) -> Decision:
        """Decide over the seller's next page; where the page after a short one is probed, go on."""
        gaps: list[Gap] = []
        step = self._receive(page, gaps)
        if step is Step.ASK_AGAIN:
            return WAITING, _OFFER
        notes, step = self._note(page, gaps, step)
        if self.progress.stretches and not self._is_read_whole(step):
            return self._go_on_with_stretch(step), (Keep(page, notes, None),)
        if not isinstance(step, Ending):
            return self.state, (Keep(page, notes, None),)
        if (
            step.stop_reason is StopReason.SHORT_PAGE
            and not self.progress.probing
            and self._policies.paging.allows(self.progress)
            and self._policies.probes.begin()
        ):
            self.progress.probing = True
            return self.state, (Keep(page, notes, None),)
        return ENDED, (Keep(page, notes, step),)

    def _is_read_whole(self, step: Step | Ending) -> bool:
        """Whether the list ends, and every page of it was read."""
        return isinstance(step, Ending) and self.progress.pages == self.progress.next_page - 1

    def _go_on_with_stretch(self, step: Step | Ending) -> SellerState:
        """The state after a page of a stretch: its seller ends with the list, or with its last stretch.

        No ending is kept: which pages are there says how fresh the seller is.
        """
        progress = self.progress
        if isinstance(step, Ending):
            return ENDED
        return ENDED if progress.has_read_stretch and not progress.begin_next_stretch() else self.state

    def _wait_for_turn(self, _: None) -> Decision:
        return WAITING, _OFFER

    def _park(self, request: PageRequest) -> Decision:
        return self.state, (Park(request),)

    def _defer(self, request: PageRequest) -> Decision:
        return self.state, (Defer(request),)

    def _retry(self, request: PageRequest) -> Decision:
        return self.state, (request,)

    def _fail(self, request: PageRequest) -> Decision:
        return ENDED, (failed(request),)

    # --- ahead

    def _turn_ahead(self, _: None) -> Decision:
        """Ask for one more page, where one is known to exist or is worth a try."""
        self._is_queued = False
        ending = self._policies.ending_without_asking(self.progress)
        if ending is not None and not self._reads_ahead.in_flight:
            return ENDED, (ending,)
        return self.state, self._ask_ahead(self._reads_ahead)

    def _turn_suspect(self, _: None) -> Decision:
        return self._pass_turn(None) if self._reads_ahead.in_flight else self._turn_ahead(None)

    def _pass_turn(self, _: None) -> Decision:
        """Ask for nothing now; what happens next puts the seller back into the frontier."""
        self._is_queued = False
        return self.state, ()

    def _offer(self, _: None) -> Decision:
        return self.state, self._offer_once()

    def _read_ahead(self, page: Page) -> Decision:
        """Decide over the seller's next page and those that came early; one before its turn waits."""
        ahead, progress = self._reads_ahead, self.progress
        ahead.landed(page.page_num)
        if page.page_num != progress.next_page:
            ahead.came_early(page)
            return self._conclude(Step.NEXT_PAGE, AHEAD, None if page.row_count is None else page)
        progress.null_seen |= page.page_num in ahead.nulls
        gaps: list[Gap] = []
        step = self._receive(page, gaps)
        if step is Step.ASK_AGAIN:
            return self._conclude(Step.NEXT_PAGE, AHEAD)
        while step is Step.NEXT_PAGE and (arrival := ahead.early.pop(progress.next_page, None)) is not None:
            step = arrival if isinstance(arrival, Ending) else self._receive(arrival, gaps)
        notes, step = self._note(page, gaps, step)
        return self._conclude(step, AHEAD, page, notes)

    def _suspect(self, request: PageRequest) -> Decision:
        """Try one request at a time, in the end the lowest page's: without it the others are of no use."""
        if not self._is_tried(request):
            return SUSPECT, ()
        lowest = min(self._set_aside, default=request.page_num)
        if lowest < request.page_num:
            self._set_aside[request.page_num] = request
            self._tried = self._set_aside.pop(lowest)
            self._tried.due = max(self._tried.due, request.due)
            request = self._tried
        return SUSPECT, (Park(request),)

    def _defer_suspect(self, request: PageRequest) -> Decision:
        return self._defer(request) if self._is_tried(request) else (SUSPECT, ())

    def _retry_suspect(self, request: PageRequest) -> Decision:
        return self._retry_ahead(request) if self._is_tried(request) else (SUSPECT, ())

    def _retry_ahead(self, request: PageRequest) -> Decision:
        return self._retry(request) if self._reads_ahead.wants(request.page_num) else self._drop(request)

    def _clear(self, _: None) -> Decision:
        return AHEAD, ()

    def _fail_ahead(self, request: PageRequest) -> Decision:
        """End as failed where the page is next; before its turn, wait whether it is wanted."""
        ahead, ending = self._reads_ahead, failed(request)
        ahead.landed(request.page_num)
        ahead.failed_early(request.page_num, ending)
        step = ending if request.page_num == self.progress.next_page else Step.NEXT_PAGE
        return self._conclude(step, SUSPECT if request.retriable else self.state)

    def _drop(self, request: PageRequest) -> Decision:
        self._reads_ahead.landed(request.page_num)
        return self._conclude(Step.NEXT_PAGE, self.state)

    def _end(self, _: None) -> Decision:
        return ENDED, () if self._ending is None else (self._ending,)

    # --- repair

    def _ask_to_repair(self, _: None) -> Decision:
        self._is_queued = False
        page_num = self._repair.page_num
        return (ENDED, ()) if page_num is None else (REPAIRING, (PageRequest(self.progress, page_num),))

    def _read_again(self, page: Page) -> Decision:
        if page.row_count is None:
            return ENDED, ()
        return REPAIRING, (Keep(page, PageNotes(repaired_beyond=self._repair.after(page)), None),)

    def _stay(self, _: None) -> Decision:
        return self.state, ()

    # --- helpers

    @property
    def _reads_ahead(self) -> Ahead:
        assert self._ahead is not None, "the states that read ahead begin with it"  # noqa: S101 - an invariant
        return self._ahead

    def _ask_ahead(self, ahead: Ahead) -> Answer:
        page_num = ahead.ask()
        if page_num is None:
            return ()
        again = page_num in ahead.nulls or (page_num == self.progress.next_page and self.progress.null_seen)
        return (*self._offer_once(), PageRequest(self.progress, page_num, again=again))

    def _offer_once(self) -> Answer:
        if self._is_queued:
            return ()
        self._is_queued = True
        return _OFFER

    def _is_tried(self, request: PageRequest) -> bool:
        """Whether the request is the one that is tried of a suspect seller; any other is set aside."""
        if self._tried is None:
            self._tried = request
        if self._tried is not request:
            self._set_aside[request.page_num] = request
        return self._tried is request

    def _receive(self, page: Page, gaps: list[Gap]) -> Step | Ending:
        """Decide over the next page and count it as read; a gap before it is added to `gaps`."""
        progress, policies = self.progress, self._policies
        step = policies.paging.after(progress, page)
        if step is Step.ASK_AGAIN:
            progress.null_seen = True
            return step
        gap = gap_before(progress, page)
        if gap is not None:
            gaps.append(gap)
        policies.probes.count(progress, page, policies.paging.stop)
        progress.received(page)
        return step

    def _note(self, page: Page, gaps: list[Gap], step: Step | Ending) -> tuple[PageNotes, Step | Ending]:
        """What is kept with a page; where the rest is carried, the seller ends with its first one."""
        match = self._policies.match(page) if page.page_num == 1 and step is Step.NEXT_PAGE else None
        if not gaps and match is None:
            return NO_NOTES, step
        self.progress.drifted |= bool(gaps)
        if match is not None and match.carried:
            step = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
        return PageNotes(tuple(gaps), match=match), step

    def _conclude(
        self, step: Step | Ending, state: SellerState, page: Page | None = None, notes: PageNotes = NO_NOTES
    ) -> Decision:
        """Go on in `state` with what was set aside; or end, at once or when nothing is in flight any more."""
        ahead, set_aside = self._reads_ahead, self._set_aside
        self._set_aside, self._tried = {}, None
        if isinstance(step, Ending) and self._ending is None:
            self._ending = step
        if self._ending is None:
            last = self._offer_once() if page is None else (Keep(page, notes, None),)
            return state, (*map(Park, set_aside.values()), *last)
        for page_num in set_aside:
            ahead.landed(page_num)
        if ahead.in_flight:
            return CLOSING, () if page is None else (Keep(page, notes, None),)
        return ENDED, (self._ending if page is None else Keep(page, notes, self._ending),)


def failed(request: PageRequest) -> Ending:
    """How a seller ends whose page cannot be had."""
    return Ending(SellerStatus.FAILED, StopReason.ERROR, request.reason, request.retriable, request.kind)


_OFFER = (Offer(),)
_Decide = Callable[[Seller, Any], Decision]
_DECIDE: dict[tuple[SellerState, Event], tuple[_Decide, tuple[SellerState, ...]]] = {
    pair: (getattr(Seller, f"_{method}"), states) for pair, (method, states) in TRANSITIONS.items()
}
