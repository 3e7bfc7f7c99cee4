"""What the journal keeps of a run's canaries: open it to change what a run that was cut off is suspected of.

Who they are is noted before the first of them is asked, so that their answers, which are durable as all
pages are, say at any later time whether they can be believed: no kill comes between a run and its suspicion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import orjson
import pyarrow as pa

from crawler.history.carrying import page_digest
from crawler.rules.canaries import Canaries, Canary, Decision, FirstPage, Rates
from crawler.store.held import CANARIES, Held
from crawler.store.journal import Journal
from crawler.store.segments import SegmentWriter


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The canaries of a journal's latest runs, and what their answers say so far.

    Answers up to the page numbered `after` are of runs before. `still` has the rates of figures that stand
    still, where they are compared. `is_confirmed`: a run has noted that it stopped.
    """

    after: int
    asked: tuple[Canary, ...]
    still: Rates | None
    is_confirmed: bool
    canaries: Canaries

    @classmethod
    def of(cls, journal: Journal) -> Self | None:
        """What a journal has noted, with the answers that it has; None where it has noted nothing."""
        text = journal.meta(CANARIES)
        if not text:
            return None
        known = orjson.loads(text)
        asked = tuple(Canary(*values) for values in known["asked"])
        still = Rates(*known["still"]) if known["still"] else None
        canaries = Canaries(asked, still)
        _take_answers(journal, known["after"], canaries, still is not None)
        return cls(known["after"], asked, still, known["is_confirmed"], canaries)

    @classmethod
    def begin(
        cls, journal: Journal, chosen: Sequence[Canary], still: Rates | None, before: Self | None = None
    ) -> Self:
        """Note canaries before they are asked; a test `before` that is undecided goes on with them."""
        if before is None or before.canaries.decision is not Decision.UNDECIDED:
            begun = cls(journal.last_seq, tuple(chosen), still, False, Canaries(chosen, still))
        else:
            known = {canary.seller_id: canary for canary in (*before.asked, *chosen)}
            begun = replace(
                before, asked=tuple(known.values()), canaries=Canaries(known.values(), before.still)
            )
            _take_answers(journal, begun.after, begun.canaries, begun.still is not None)
        begun.note(journal)
        return begun

    @property
    def is_justified(self) -> bool:
        """Whether the answers cannot be believed."""
        return self.is_confirmed or self.canaries.decision is Decision.STOP

    @property
    def reason(self) -> str:
        """Why, in a sentence; empty where they can."""
        return self.canaries.reason

    def confirm(self, journal: Journal) -> None:
        """Note that a run stopped for these answers."""
        replace(self, is_confirmed=True).note(journal)

    def forget(self, segments: SegmentWriter, credits_left: int | None) -> int:
        """Forget answers, so that their sellers are asked again; returns how many these are.

        All of them where they cannot be believed; where that is undecided, those that speak against it, if
        there are credits to read them again: what was published of them would only be lost.
        """
        journal, facts = segments.journal, {CANARIES: ""}
        if self.is_justified:
            sellers = list(journal.sellers.answered_after(self.after))
        elif self.canaries.decision is Decision.UNDECIDED and self.canaries.suspects:
            if credits_left is not None and journal.reader.pages(self.canaries.suspects) > credits_left:
                return 0
            sellers, facts = [pa.array(sorted(self.canaries.suspects), pa.string())], {}
        else:
            return 0
        segments.flush()
        journal.previous.forget(sellers, **facts)
        return sum(map(len, sellers))

    def note(self, journal: Journal) -> None:
        """Note it in the journal, durably."""
        known = {
            "after": self.after,
            "asked": self.asked,
            "still": self.still,
            "is_confirmed": self.is_confirmed,
        }
        journal.note(**{CANARIES: orjson.dumps(known, default=list).decode()})


def why_held(journal: Journal) -> list[str]:
    """Why nothing of a journal may be published, in sentences; empty where it may."""
    held, suspicion = Held.of(journal), Suspicion.of(journal)
    if held is not None:
        return held.reasons
    return [suspicion.reason] if suspicion is not None and suspicion.is_justified else []


def _take_answers(journal: Journal, after: int, canaries: Canaries, compares: bool) -> None:
    """Let canaries take the answers that the journal has; of rows in segments no figures are compared."""
    waiting = set(canaries.waiting)
    figures: dict[int, int] = {}
    if compares:
        for page in journal.waiting():
            if page.seq > after and page.page_num == 1 and page.seller_id in waiting:
                figures[page.seq] = figures_of(page.seller_id, page.body)
    for seq, seller_id, rows, ids, received_at in journal.reader.first_pages_after(after):
        if seller_id in waiting:
            first = FirstPage(seller_id, rows, ids, figures.get(seq), received_at / 1000)
            if canaries.answered(first) is not Decision.UNDECIDED:
                return


def figures_of(seller_id: str, body: bytes) -> int:
    """The digest of a first page's figures, as history has them; 0 where it has no rows."""
    return page_digest(seller_id, body) or 0
