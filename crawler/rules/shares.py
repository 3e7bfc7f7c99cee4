"""The ceiling divided over many attempts: who holds how many of its slots, and when they may be others'."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from crawler.rules.fair_share import Claim, fair_shares
from crawler.rules.windows import slots_of, window_of

TRANSFER_MARGIN = 0.25
"""Seconds beyond the window before a slot that was given back is granted again: clocks and networks vary."""

SILENT_S = 2.5
"""Seconds without a renewal after which nothing is expected of an attempt until its lease ends."""

_PLAN_S = 0.1
"""Seconds between two plans, unless attempts have come or gone."""

_TURN_WINDOWS = 10.0
"""Windows that an attempt keeps its slot where there are fewer slots than attempts that want one."""

_HALF_LIFE_S = 4.0
"""Seconds in which half of what an attempt wanted is forgotten: demand varies, and moved slots are idle."""

_KEEPS_IDLE = 8
"""An attempt that has just used its slots keeps this part of an equal share for some seconds."""

_TOLERANCE = 0.05
"""An attempt is short of slots only where it holds less than its fair share by more than this part."""


@dataclass(frozen=True, slots=True)
class Share:
    """Slots of an attempt, one number a key; a share of a higher version replaces it, a lower one is late."""

    version: int
    slots: tuple[int, ...]


@dataclass(slots=True)
class _Holding:
    """What an attempt holds. `issued` has every share that it may still use; the last is the newest."""

    wants: int
    heard_at: float
    turn_began: float
    issued: list[Share]
    keeps_idle: int = 0
    goal: int | None = None
    fair: int = 0
    target: int = 0

    @property
    def newest(self) -> Share:
        return self.issued[-1]

    @property
    def held(self) -> int:
        """Slots of the newest share."""
        return sum(self.newest.slots)

    @property
    def surplus(self) -> int:
        """Slots beyond its fair share."""
        return max(0, self.held - self.fair)

    @property
    def shortage(self) -> int:
        """Slots below its fair share, where it is short of them."""
        missing = self.fair - self.held
        return missing if missing > self.fair * _TOLERANCE else 0

    def hear(self, wants: int, now: float) -> None:
        """Note what it wants; what it wanted is forgotten by and by, most of it at once where it is idle."""
        remembered = self.wants * 0.5 ** ((now - self.heard_at) / _HALF_LIFE_S)
        most = self.held if wants else self.keeps_idle
        self.wants = max(wants, min(most, self.held, int(remembered)))
        self.heard_at = now

    def claim(self, turn_over: float) -> Claim:
        """What its fair share is found by; a turn that began before `turn_over` has ended."""
        return Claim(self.wants, self.held, self.turn_began, has_had_turn=self.turn_began < turn_over)

    def may_use(self) -> tuple[int, ...]:
        """The most that it may use of each key, whichever of its shares it has got."""
        if len(self.issued) == 1:
            return self.issued[0].slots
        return tuple(map(max, *(share.slots for share in self.issued)))


class _Pool:
    """Slots that exist, by key and `in_all`, and those of them that somebody may still be using."""

    def __init__(self, of_key: list[int], in_all: int, rest_s: float) -> None:
        self.of_key = of_key
        self._in_all = in_all
        self._rest_s = rest_s
        self._used = [0] * len(of_key)
        self._resting: deque[tuple[float, tuple[int, ...]]] = deque()

    @property
    def size(self) -> int:
        return min(self._in_all, sum(self.of_key))

    @property
    def resting(self) -> int:
        """Slots that were given back, and are not free yet."""
        return sum(sum(slots) for _, slots in self._resting)

    @property
    def free_of_key(self) -> list[int]:
        """Free slots by key; their sum may be more than `free`."""
        return [max(0, most - used) for most, used in zip(self.of_key, self._used, strict=True)]

    @property
    def free(self) -> int:
        return min(sum(self.free_of_key), max(0, self._in_all - sum(self._used)))

    def take(self, slots: Sequence[int]) -> None:
        self._used = list(_plus(self._used, slots))

    def give_back(self, slots: tuple[int, ...], now: float) -> None:
        """Let slots rest that nobody uses any more."""
        if any(slots):
            self._resting.append((now + self._rest_s, slots))

    def end_rests(self, now: float) -> None:
        """Free the slots that have rested long enough."""
        while self._resting and self._resting[0][0] <= now:
            self._used = list(_less(self._used, self._resting.popleft()[1]))


class Shares:
    """Divides the slots of a ceiling over attempts, known by their fences; `keys`: the QPS of several keys.

    For each key and in sum, the slots that attempts may still be using never exceed the ceiling's: those of a
    share count until a later share was applied, or the attempt is over, and a window and `TRANSFER_MARGIN`
    longer. Without keys all slots are of key 0. Times are seconds on one clock that never goes back.
    """

    def __init__(self, qps: float, keys: Sequence[float] = ()) -> None:
        of_key = list(map(slots_of, keys or [qps]))
        window = max(map(window_of, [qps, *keys]))
        self._pool = _Pool(of_key, slots_of(qps), window + TRANSFER_MARGIN)
        self._turn_s = _TURN_WINDOWS * window
        self._held: dict[int, _Holding] = {}
        self._planned_at = float("-inf")
        self._versions = 0

    def join(self, fence: int, now: float) -> Share:
        """Begin to count an attempt in, with no slots; its first renewal brings some, if they are free."""
        none = Share(self._next_version(), (0,) * len(self._pool.of_key))
        self._held[fence] = _Holding(self._pool.size, now, now, [none])
        self._planned_at = float("-inf")
        return none

    def renew(self, fence: int, applied: int, wants: int, now: float) -> Share:
        """The share of an attempt from now on. KeyError where it has not joined, or is over.

        `applied`: the version of the share that it used when it asked; `wants`: the slots that it could use.
        """
        holding = self._held[fence]
        self._pool.end_rests(now)
        self._confirm(holding, applied, now)
        holding.hear(wants, now)
        if now - self._planned_at >= _PLAN_S:
            self._plan(now)
        self._adjust(holding, now)
        return holding.newest

    def leave(self, fence: int, now: float) -> None:
        """Note that an attempt has ended and sends nothing more; nothing where it is over already."""
        holding = self._held.pop(fence, None)
        if holding is not None:
            self._pool.give_back(holding.may_use(), now)
            self._planned_at = float("-inf")

    def hand_over(self, fence: int, to: int) -> Share:
        """Let an attempt have the share of an earlier one of the same process, which knows what that used."""
        self._held[to] = self._held.pop(fence)
        return self._held[to].newest

    def lapse(self, fence: int, now: float) -> None:
        """Note that an attempt's lease has ended: it may have sent until now."""
        self.leave(fence, now)

    def retire(self, key: int) -> None:
        """Grant no slot of a key any more; each attempt loses its slots of it with its next renewal."""
        self._pool.of_key[key] = 0
        self._planned_at = float("-inf")

    def held(self) -> dict[int, tuple[int, ...]]:
        """Slots of each attempt by its fence, as granted last."""
        return {fence: holding.newest.slots for fence, holding in self._held.items()}

    def _next_version(self) -> int:
        self._versions += 1
        return self._versions

    def _confirm(self, holding: _Holding, applied: int, now: float) -> None:
        """Let what only shares before the applied one had rest."""
        later = [share for share in holding.issued if share.version >= applied]
        if later and len(later) < len(holding.issued):
            before, holding.issued = holding.may_use(), later
            self._pool.give_back(_less(before, holding.may_use()), now)

    def _plan(self, now: float) -> None:
        """Find each attempt's fair share, and who gives slots to those that are short of them."""
        self._planned_at = now
        silent = [each for each in self._held.values() if now - each.heard_at > SILENT_S]
        heard = [each for each in self._held.values() if now - each.heard_at <= SILENT_S]
        slots = max(0, self._pool.size - sum(sum(each.may_use()) for each in silent))
        claims = [each.claim(now - self._turn_s) for each in heard]
        for holding, (fair, target) in zip(heard, fair_shares(claims, slots), strict=True):
            holding.fair, holding.target, holding.goal = fair, target, None
            holding.keeps_idle = slots // len(heard) // _KEEPS_IDLE
        coming = self._pool.resting + sum(sum(each.may_use()) - each.held for each in heard)
        short = sum(each.shortage for each in heard) - self._pool.free - coming
        for holding in sorted(heard, key=attrgetter("surplus"), reverse=True):
            if short <= 0:
                break
            given = min(short, holding.surplus)
            holding.goal = holding.held - given
            short -= given

    def _adjust(self, holding: _Holding, now: float) -> None:
        """Issue a share with fewer slots, or with more where some are free."""
        used = zip(holding.newest.slots, self._pool.of_key, strict=True)
        slots = tuple(min(count, most) for count, most in used)
        held = sum(slots)
        if holding.goal is not None:
            slots = _less(slots, _split(max(0, held - holding.goal), slots))
        elif holding.target > held:
            granted = min(holding.target - held, self._pool.free)
            slots = _plus(slots, _split(granted, self._pool.free_of_key))
        if slots == holding.newest.slots:
            return
        if not any(slots) or not holding.held:
            holding.turn_began = now
        before, holding.goal = holding.may_use(), None
        holding.issued.append(Share(self._next_version(), slots))
        self._pool.take(_less(holding.may_use(), before))


def _less(slots: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a - b for a, b in zip(slots, other, strict=True))


def _plus(slots: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(slots, other, strict=True))


def _split(count: int, parts: Sequence[int]) -> list[int]:
    """So many slots taken from the parts, in proportion to them; their sum is at least as many."""
    left, rest, taken = count, sum(parts), []
    for part in parts:
        of_part = -(-left * part // rest) if rest else 0
        taken.append(of_part)
        left, rest = left - of_part, rest - part
    return taken
