"""Credits and pace of a run, by its key or by its keys: only here one key and several differ."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from crawler import events
from crawler.engine.credits import Credits
from crawler.engine.key_credits import KeyCredits
from crawler.engine.key_lane import KeyLane
from crawler.engine.key_ring import KeyRing
from crawler.engine.pace import Pace
from crawler.engine.stop import Stop
from crawler.models.keys import Retirement
from crawler.nightly.account import LedgerPort
from crawler.nightly.opening import Opened
from crawler.report.run_report import KeyUse

_WHY = {Retirement.REFUSED: "is refused", Retirement.USED_UP: "is used up"}


class RunKeys:
    """The credits and the pace of one run; `lanes` are its keys where it has several.

    Leases are written by `counter`.
    """

    def __init__(self, opened: Opened, counter: Executor, stop: Stop) -> None:
        settings = opened.night.settings
        port = LedgerPort(opened.account, settings.qps, counter)
        self._opened, self._counter, self._stop = opened, counter, stop
        self.lanes = [KeyLane(key, settings.api.retry_after_cap) for key in settings.api.keys or ()]
        self.credits: Credits | KeyCredits = (
            KeyCredits(self.lanes, port, stop, self._tell) if self.lanes else Credits(port, stop)
        )

    def pace(self) -> Pace:
        """What grants requests their places; the first does not come too soon after an earlier run's last."""
        opened, stop = self._opened, self._stop
        qps, cap = opened.night.run.qps, opened.night.settings.api.retry_after_cap
        if isinstance(self.credits, Credits):
            pace = Pace(qps, cap, stop)
        else:
            pace = KeyRing(qps, cap, stop, self.credits)
        pace.pause(opened.initial_pause_s(qps))
        now = asyncio.get_running_loop().time()
        for lane in self.lanes:
            lane.pause_until(now + opened.initial_pause_s(lane.limits.qps))
        return pace

    async def return_unused_credits(self) -> None:
        """Return to the ledger what no request has taken; nobody sends any more."""
        if isinstance(self.credits, KeyCredits):
            await self.credits.settle()
        await return_unused(self._opened, self._counter, self.credits.charged)

    def _tell(self, lane: KeyLane, _left: Sequence[KeyLane]) -> None:
        note_retired(self._opened, lane, self.lanes)


async def return_unused(opened: Opened, counter: Executor, charged: int | Mapping[str, int]) -> None:
    """Return to the ledger what a run has reserved beyond what is charged, in sum or by several keys."""
    loop, ledger, run_id = asyncio.get_running_loop(), opened.ledger, opened.run_id
    if isinstance(charged, int):
        await loop.run_in_executor(counter, ledger.return_unused_credits, run_id, charged)
        return
    for name, spent in charged.items():
        await loop.run_in_executor(counter, ledger.return_unused_of_key, run_id, name, spent)


def note_retired(opened: Opened, lane: KeyLane, lanes: Sequence[KeyLane]) -> None:
    """Note that a key is not used any more, and which are left."""
    opened.notes.add(_retired(lane, [other.limits.name for other in lanes if other.why is None]))


def uses_of(opened: Opened, lanes: Sequence[KeyLane]) -> list[KeyUse]:
    """What the run did with each of several keys, and what each has cost; nothing where there is one."""
    ledger, account, by_name = opened.ledger, opened.account, {lane.limits.name: lane for lane in lanes}
    month, uses = account.month, []
    for key in opened.night.settings.api.keys or ():
        lane, of_key = by_name.get(key.name), account.account_of(key)
        use = KeyUse(
            name=key.name,
            qps=key.qps,
            sent=0 if lane is None else lane.taken,
            by_status={} if lane is None else dict(lane.sent),
            daily_budget=key.daily_budget,
            spent_for_day=ledger.spent_since(of_key.today, month.lease_day, key.name),
            monthly_budget=key.monthly_budget,
            spent_for_month=ledger.spent_since(month.began, month.lease_day, key.name),
            retired=None if lane is None else lane.why,
            reason="" if lane is None or lane.why is None else lane.detail,
        )
        uses.append(use)
    return uses


def _retired(lane: KeyLane, left: list[str]) -> events.Sentence:
    assert lane.why is not None, "a key that is used is not reported as retired"  # noqa: S101 - an invariant
    name, words = lane.limits.name, ", ".join(left) or "none"
    if lane.why is Retirement.BUDGET:
        return events.KEY_SPENT(key=name, reason=lane.detail, left=left, left_words=words)
    return events.KEY_RETIRED(
        key=name, why=lane.why, why_words=_WHY[lane.why], reason=lane.detail, left=left, left_words=words
    )
