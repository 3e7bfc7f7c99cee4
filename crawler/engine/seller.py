"""One seller's life: its states, what may happen in each of them, and what is to be done then.

Open this file to learn when a seller's next page is asked for, and where a seller ends. Everything here is
pure: `TRANSITIONS` says which method decides, `Seller.on` applies it, and the pool carries out the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from crawler.engine import actions, events
from crawler.models.api import MAX_PAGE_NUM
from crawler.models.page import NO_NOTES, Gap, Match, Page, PageNotes
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason
from crawler.rules.drift import Repair, gap_before
from crawler.rules.lookahead import Ahead, LookaheadRule
from crawler.rules.paging import PagingRule, Step
from crawler.rules.probing import ShortPageProbes
from crawler.rules.top import Top


class SellerState(StrEnum):
    """What a seller is doing."""

    WAITING = "waiting for its turn"
    IN_TURN = "reading in turn"
    PROBING = "probing"
    """It reads the page after a short one, to learn whether short pages end a list."""
    AHEAD = "reading ahead"
    """Several of its pages may be asked for at once."""
    SUSPECT = "suspect"
    """It reads ahead, and its latest request brought no answer: nothing new is asked for beside what is."""
    CLOSING = "closing"
    """Its ending is known; pages that were asked for before may still come, and are kept."""
    ENDED = "ended"
    REPAIRING = "repairing"
    """It has ended; pages around its gaps are read again."""


Decision = tuple[SellerState, actions.Answer]

# --- The table: state and event; the method that decides, and the states it may lead to.

WAITING, IN_TURN, PROBING, AHEAD, SUSPECT, CLOSING, ENDED, REPAIRING = SellerState
_OPEN_OR_OVER = (AHEAD, CLOSING, ENDED)
_STILL_SUSPECT = (SUSPECT, CLOSING, ENDED)

TRANSITIONS: dict[tuple[SellerState, type[events.Event]], tuple[str, tuple[SellerState, ...]]] = {
    # Nothing of it is in flight.
    (WAITING, events.Turn): ("first_turn", (IN_TURN, PROBING, AHEAD, ENDED)),
    # One page has been asked for, which is in flight, parked or being kept.
    (IN_TURN, events.PageCame): ("read_in_turn", (IN_TURN, ENDED)),
    (IN_TURN, events.NullData): ("read_in_turn", (IN_TURN, WAITING, ENDED)),
    (IN_TURN, events.Kept): ("wait_for_turn", (WAITING,)),
    (IN_TURN, events.NoAnswer): ("park", (IN_TURN,)),
    (IN_TURN, events.Throttled): ("defer", (IN_TURN,)),
    (IN_TURN, events.HeldBack): ("defer", (IN_TURN,)),
    (IN_TURN, events.Refused): ("stay", (IN_TURN,)),
    (IN_TURN, events.GaveUp): ("fail", (ENDED,)),
    (IN_TURN, events.FoundAtFault): ("fail", (ENDED,)),
    (IN_TURN, events.Due): ("retry", (IN_TURN,)),
    (IN_TURN, events.Stopped): ("stay", (IN_TURN,)),
    # The same, beyond a short page.
    (PROBING, events.PageCame): ("read_in_turn", (PROBING, ENDED)),
    (PROBING, events.NullData): ("read_in_turn", (ENDED,)),
    (PROBING, events.Kept): ("wait_for_turn", (WAITING,)),
    (PROBING, events.NoAnswer): ("park", (PROBING,)),
    (PROBING, events.Throttled): ("defer", (PROBING,)),
    (PROBING, events.HeldBack): ("defer", (PROBING,)),
    (PROBING, events.Refused): ("stay", (PROBING,)),
    (PROBING, events.GaveUp): ("fail", (ENDED,)),
    (PROBING, events.FoundAtFault): ("fail", (ENDED,)),
    (PROBING, events.Due): ("retry", (PROBING,)),
    (PROBING, events.Stopped): ("stay", (PROBING,)),
    # Pages of any number are in flight, parked or being kept.
    (AHEAD, events.Turn): ("turn_ahead", (AHEAD, ENDED)),
    (AHEAD, events.PageCame): ("read_ahead", _OPEN_OR_OVER),
    (AHEAD, events.NullData): ("read_ahead", _OPEN_OR_OVER),
    (AHEAD, events.Kept): ("offer", (AHEAD,)),
    (AHEAD, events.NoAnswer): ("suspect", (SUSPECT,)),
    (AHEAD, events.Throttled): ("defer", (AHEAD,)),
    (AHEAD, events.HeldBack): ("defer", (AHEAD,)),
    (AHEAD, events.Refused): ("stay", (AHEAD,)),
    (AHEAD, events.GaveUp): ("fail_ahead", _STILL_SUSPECT),
    (AHEAD, events.FoundAtFault): ("fail_ahead", _OPEN_OR_OVER),
    (AHEAD, events.Due): ("retry_ahead", (AHEAD,)),
    (AHEAD, events.Stopped): ("stay", (AHEAD,)),
    # The same, and no new page is asked for while any is in flight.
    (SUSPECT, events.Turn): ("turn_suspect", (SUSPECT, ENDED)),
    (SUSPECT, events.PageCame): ("read_ahead", _OPEN_OR_OVER),
    (SUSPECT, events.NullData): ("read_ahead", _OPEN_OR_OVER),
    (SUSPECT, events.Kept): ("offer", (SUSPECT,)),
    (SUSPECT, events.NoAnswer): ("park", (SUSPECT,)),
    (SUSPECT, events.Throttled): ("defer", (SUSPECT,)),
    (SUSPECT, events.HeldBack): ("defer", (SUSPECT,)),
    (SUSPECT, events.Refused): ("clear", (AHEAD,)),
    (SUSPECT, events.GaveUp): ("fail_ahead", _STILL_SUSPECT),
    (SUSPECT, events.FoundAtFault): ("fail_ahead", _STILL_SUSPECT),
    (SUSPECT, events.Due): ("retry_ahead", (SUSPECT,)),
    (SUSPECT, events.Stopped): ("stay", (SUSPECT,)),
    # What comes before its ending is journaled is kept, nothing more is asked for.
    (CLOSING, events.Turn): ("pass_turn", (CLOSING,)),
    (CLOSING, events.PageCame): ("read_ahead", (CLOSING, ENDED)),
    (CLOSING, events.NullData): ("read_ahead", (CLOSING, ENDED)),
    (CLOSING, events.Kept): ("stay", (CLOSING,)),
    (CLOSING, events.NoAnswer): ("park", (CLOSING,)),
    (CLOSING, events.Throttled): ("defer", (CLOSING,)),
    (CLOSING, events.HeldBack): ("defer", (CLOSING,)),
    (CLOSING, events.Refused): ("stay", (CLOSING,)),
    (CLOSING, events.GaveUp): ("fail_ahead", (CLOSING, ENDED)),
    (CLOSING, events.FoundAtFault): ("fail_ahead", (CLOSING, ENDED)),
    (CLOSING, events.Due): ("drop", (CLOSING, ENDED)),
    (CLOSING, events.Stopped): ("end", (ENDED,)),
    # The frontier may still hold it, and another page of it be on the way to the disk.
    (ENDED, events.Turn): ("stay", (ENDED,)),
    (ENDED, events.Kept): ("stay", (ENDED,)),
    # One page at a time; where one cannot be had, the gaps that are left remain.
    (REPAIRING, events.Turn): ("ask_to_repair", (REPAIRING, ENDED)),
    (REPAIRING, events.PageCame): ("repair", (REPAIRING,)),
    (REPAIRING, events.Kept): ("ask_to_repair", (REPAIRING, ENDED)),
    (REPAIRING, events.NullData): ("leave_gaps", (ENDED,)),
    (REPAIRING, events.GaveUp): ("leave_gaps", (ENDED,)),
    (REPAIRING, events.Refused): ("leave_gaps", (ENDED,)),
    (REPAIRING, events.Stopped): ("leave_gaps", (ENDED,)),
}
"""A pair of state and event that is not here is a fault of the program."""


class UnknownEventError(AssertionError):
    """An event came in a state that does not know it, or led to one that the table does not name."""


@dataclass(frozen=True, slots=True)
class Policies:
    """What decides over pages, the same for every seller of a crawl.

    `top` ends sellers that hide nothing better than what is certain; `match` compares first pages with an
    earlier snapshot.
    """

    paging: PagingRule
    lookahead: LookaheadRule
    probes: ShortPageProbes
    top: Top | None = None
    match: Callable[[Page], Match | None] = lambda _page: None

    def ending_without_asking(self, progress: SellerProgress) -> Ending | None:
        """How a seller ends whose next page is not wanted; None where it goes on."""
        if self.top is not None and progress.max_remaining_value <= self.top.threshold:
            return Ending(SellerStatus.PARTIAL, StopReason.TOP)
        return self.paging.ended(progress)


class Seller:
    """A seller that is being read, from its turn on: `on` takes what happened, and says what to do.

    Where it goes back to wait for its turn with nothing in flight, only its `progress` needs to be kept.
    It has more methods than other classes have: one for each decision in the table.
    """

    __slots__ = ("_ahead", "_ending", "_is_queued", "_policies", "_repair", "progress", "state")

    def __init__(self, progress: SellerProgress, policies: Policies, repair: Repair | None = None) -> None:
        self.progress = progress
        self.state = ENDED if progress.ended else WAITING if repair is None else REPAIRING
        self._policies = policies
        self._repair = repair
        self._ahead: Ahead | None = None
        self._ending: Ending | None = None
        self._is_queued = False

    def on(self, event: events.Event) -> actions.Answer:
        """Take an event, and give what is to be done; raises `UnknownEventError`."""
        try:
            decide, allowed = _DECIDE[self.state, event.__class__]
        except KeyError:
            raise UnknownEventError(f"{event} while {self.state.value}") from None
        state, answer = decide(self, event)
        if state not in allowed:
            raise UnknownEventError(f"{event} while {self.state.value} led to {state.value}")
        self.state = state
        if state is ENDED:
            self.progress.ended = True
        return answer

    # --- in turn

    def first_turn(self, _: events.Turn) -> Decision:
        """Ask for the next page, or begin to read ahead."""
        progress, policies = self.progress, self._policies
        ending = policies.ending_without_asking(progress)
        if ending is not None:
            return ENDED, (actions.End(ending),)
        self._ahead = policies.lookahead.of(progress)
        if self._ahead is not None:
            return AHEAD, self._ask_ahead(self._ahead)
        state = PROBING if progress.probing else IN_TURN
        return state, (actions.Ask(progress.next_page, progress.null_seen),)

    def read_in_turn(self, event: events.PageCame | events.NullData) -> Decision:
        """Decide over the seller's next page."""
        notes, step = self._read(event.page, {})
        if step is Step.ASK_AGAIN:
            return WAITING, (_OFFER,)
        return self._conclude(step, self.state, event.page, notes)

    def wait_for_turn(self, _: events.Event) -> Decision:
        """Go back into the frontier."""
        return WAITING, (_OFFER,)

    def fail(self, event: events.Unobtainable) -> Decision:
        """End as failed: the next page cannot be had."""
        return self._conclude(_failed(event), self.state)

    # --- ahead

    def turn_ahead(self, _: events.Turn) -> Decision:
        """Ask for one more page, where one is known to exist or is worth a try."""
        self._is_queued = False
        ending = self._policies.ending_without_asking(self.progress)
        if ending is not None and not self._reads_ahead.in_flight:
            return ENDED, (actions.End(ending),)
        return self.state, self._ask_ahead(self._reads_ahead)

    def turn_suspect(self, event: events.Turn) -> Decision:
        """Ask for a page where none is in flight or parked."""
        if not self._reads_ahead.in_flight:
            return self.turn_ahead(event)
        return self.pass_turn(event)

    def pass_turn(self, _: events.Turn) -> Decision:
        """Ask for nothing now."""
        self._is_queued = False
        return self.state, ()

    def read_ahead(self, event: events.PageCame | events.NullData) -> Decision:
        """Decide over the seller's next page and those that waited for it; hold one before its turn."""
        ahead, progress, page = self._reads_ahead, self.progress, event.page
        ahead.landed(page.page_num)
        if page.page_num == progress.next_page:
            progress.null_seen |= page.page_num in ahead.nulls
            notes, step = self._read(page, ahead.held)
        else:
            ahead.hold(page)
            notes, step = NO_NOTES, Step.ASK_AGAIN if page.row_count is None else Step.NEXT_PAGE
        if step is Step.ASK_AGAIN:
            return self._conclude(Step.NEXT_PAGE, AHEAD)
        return self._conclude(step, AHEAD, page, notes)

    def fail_ahead(self, event: events.Unobtainable) -> Decision:
        """End as failed where the page is next; before its turn, wait whether it is wanted."""
        ahead, ending = self._reads_ahead, _failed(event)
        ahead.landed(event.page_num)
        ahead.hold(ending, event.page_num)
        step = ending if event.page_num == self.progress.next_page else Step.NEXT_PAGE
        return self._conclude(step, SUSPECT if isinstance(event, events.GaveUp) else self.state)

    def retry_ahead(self, event: events.Due) -> Decision:
        """Ask again for a page, unless an earlier one cannot be had."""
        return (self.state, (_RETRY,)) if self._reads_ahead.wants(event.page_num) else self.drop(event)

    def drop(self, event: events.Due) -> Decision:
        """Forget a page that is not wanted any more."""
        self._reads_ahead.landed(event.page_num)
        state, answer = self._conclude(Step.NEXT_PAGE, self.state)
        return state, (_DROP, *answer)

    def offer(self, _: events.Kept) -> Decision:
        """Go into the frontier, if not there."""
        return self.state, self._offer()

    def suspect(self, _: events.NoAnswer) -> Decision:
        """Ask for nothing new until the seller is answered."""
        return SUSPECT, (_PARK,)

    def clear(self, _: events.Refused) -> Decision:
        """Go on: the seller was answered."""
        return AHEAD, ()

    def end(self, _: events.Stopped) -> Decision:
        """End without the pages that were in flight."""
        ending = self._ending
        return ENDED, () if ending is None else (actions.End(ending),)

    # --- repair

    def ask_to_repair(self, _: events.Turn | events.Kept) -> Decision:
        """Read the next page again, or leave where all gaps are repaired."""
        page_num = self._repairs.page_num
        return (ENDED, ()) if page_num is None else (REPAIRING, (actions.Ask(page_num),))

    def repair(self, event: events.PageCame) -> Decision:
        """Keep a page that was read again."""
        notes = PageNotes(repaired_beyond=self._repairs.after(event.page))
        return REPAIRING, (actions.Keep(event.page, notes, None),)

    def leave_gaps(self, _: events.Event) -> Decision:
        """Leave the gaps that are left: a page cannot be had."""
        return ENDED, ()

    # --- without a change

    def stay(self, _: events.Event) -> Decision:
        """Do nothing."""
        return self.state, ()

    def park(self, _: events.Event) -> Decision:
        """Ask for the page again later."""
        return self.state, (_PARK,)

    def defer(self, _: events.Event) -> Decision:
        """Ask for the page later: nothing speaks against it."""
        return self.state, (_DEFER,)

    def retry(self, _: events.Due) -> Decision:
        """Ask for the page again."""
        return self.state, (_RETRY,)

    # --- helpers

    @property
    def _reads_ahead(self) -> Ahead:
        if self._ahead is None:
            raise UnknownEventError(f"no look-ahead while {self.state.value}")
        return self._ahead

    @property
    def _repairs(self) -> Repair:
        if self._repair is None:
            raise UnknownEventError(f"no repair while {self.state.value}")
        return self._repair

    def _ask_ahead(self, ahead: Ahead) -> actions.Answer:
        page_num = ahead.ask()
        if page_num is None:
            return ()
        again = page_num in ahead.nulls or (page_num == self.progress.next_page and self.progress.null_seen)
        return (*self._offer(), actions.Ask(page_num, again))

    def _offer(self) -> actions.Answer:
        if self._is_queued:
            return ()
        self._is_queued = True
        return (_OFFER,)

    def _read(self, page: Page, held: dict[int, Page | Ending]) -> tuple[PageNotes, Step | Ending]:
        """Decide over the next page, and over those in `held` that waited for it."""
        progress, policies = self.progress, self._policies
        gaps: list[Gap] = []
        arrival: Page | Ending | None = page
        step: Step | Ending = Step.NEXT_PAGE
        while arrival is not None and step is Step.NEXT_PAGE:
            if isinstance(arrival, Ending):
                return _notes(progress, gaps, None), arrival
            step = policies.paging.after(progress, arrival)
            if step is Step.ASK_AGAIN:
                progress.null_seen = True
                return NO_NOTES, step
            if not isinstance(step, Ending) or step.stop_reason is not StopReason.REPEATED_PAGE:
                gap = gap_before(progress, arrival)
                gaps += [] if gap is None else [gap]
            policies.probes.count(progress, arrival, policies.paging)
            progress.received(arrival)
            arrival = held.pop(progress.next_page, None)
        match = policies.match(page) if page.page_num == 1 and step is Step.NEXT_PAGE else None
        if match is not None and match.carried:
            step = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
        return _notes(progress, gaps, match), self._unless_probed(page, step)

    def _unless_probed(self, page: Page, step: Step | Ending) -> Step | Ending:
        """What follows: where the page after a short one is tried, the seller goes on."""
        if (
            isinstance(step, Ending)
            and step.stop_reason is StopReason.SHORT_PAGE
            and not self.progress.probing
            and self._ahead is None
            and page.page_num < MAX_PAGE_NUM
            and self._policies.probes.begin()
        ):
            self.progress.probing = True
            return Step.NEXT_PAGE
        return step

    def _conclude(
        self, step: Step | Ending, state: SellerState, page: Page | None = None, notes: PageNotes = NO_NOTES
    ) -> Decision:
        """Go on in `state`; end, where the ending is known and nothing is in flight, or close until then."""
        answer: actions.Answer = ()
        if isinstance(step, Ending):
            self._ending = self._ending or step
            if step.stop_reason is StopReason.ERROR:
                answer = (actions.ReportFailure(self.progress.next_page, step.error or ""),)
        ending = self._ending
        if ending is not None and self._ahead is not None and self._ahead.in_flight:
            state, ending = CLOSING, None
        elif ending is not None:
            state = ENDED
        if page is not None:
            return state, (*answer, actions.Keep(page, notes, ending))
        if ending is not None:
            return state, (*answer, actions.End(ending))
        return state, (*answer, *self._offer()) if state is not CLOSING else answer


def _failed(event: events.Unobtainable) -> Ending:
    retriable = event.retriable if isinstance(event, events.FoundAtFault) else True
    return Ending(SellerStatus.FAILED, StopReason.ERROR, event.reason, retriable)


def _notes(progress: SellerProgress, gaps: list[Gap], match: Match | None) -> PageNotes:
    progress.drifted |= bool(gaps)
    return PageNotes(tuple(gaps), match=match) if gaps or match is not None else NO_NOTES


_OFFER, _PARK, _DEFER = actions.Offer(), actions.Park(), actions.Defer()
_RETRY, _DROP = actions.Retry(), actions.Drop()
_Row = tuple[Callable[[Seller, Any], Decision], tuple[SellerState, ...]]
_DECIDE: dict[tuple[SellerState, type[events.Event]], _Row] = {
    pair: (getattr(Seller, method), states) for pair, (method, states) in TRANSITIONS.items()
}
