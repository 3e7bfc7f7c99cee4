"""What one worker met and the others are to know: bursts of 429s, refused keys, and that the API answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crawler.cluster.attempts import Attempt
from crawler.cluster.messages import End, Renew

OnRetired = Callable[[int, str, str], None]
"""Gets the number of a key that is used no more, why, and that in words."""


class News:
    """Collects what attempts report; `on_retired` gets each key once."""

    def __init__(self, on_retired: OnRetired) -> None:
        self._on_retired = on_retired
        self._bursts: list[tuple[int, Sequence[Any]]] = []
        self._retired: dict[int, tuple[str, str]] = {}
        self._answered_at: float | None = None
        self.is_address_proven = False
        self.proven_hosts = set[str]()
        """Those from which the address was answered as only the right one is."""
        self.clock: tuple[float, int] | None = None
        """Seconds that the API's clock is ahead, and from how many answers that is known."""

    @property
    def bursts(self) -> int:
        """How many bursts of 429s there were."""
        return len(self._bursts)

    @property
    def retired(self) -> list[list[Any]]:
        """The keys that are used no more: number, why, and in words."""
        return [[key, *why] for key, why in self._retired.items()]

    def note(self, attempt: Attempt, message: Renew | End, now: float) -> None:
        """Note what an attempt reports."""
        if message.has_answer:
            self._answered_at = attempt.answered_at = now
        if message.is_address_proven:
            self.is_address_proven = True
            # One that trusts others would say so of a way that fails.
            if not attempt.trusts_others:
                self.proven_hosts.add(attempt.host)
        if isinstance(message, End):
            return
        if message.clock is not None:
            ahead_s, answers = message.clock
            self.clock = ahead_s, int(answers)
        self._bursts += [(attempt.fence, slowed) for slowed in message.slowed]
        for key, why, detail in message.retired:
            if key not in self._retired:
                self._retired[key] = why, detail
                self._on_retired(key, why, detail)

    def bursts_for(self, attempt: Attempt) -> list[Sequence[Any]]:
        """Bursts that others have met since an attempt last got them, see `Slowdown`."""
        bursts = [slowed for fence, slowed in self._bursts[attempt.seen :] if fence != attempt.fence]
        attempt.seen = len(self._bursts)
        return bursts

    def proves_address(self, attempt: Attempt) -> bool:
        """Whether an attempt may take the address for right, by what its host or others were answered."""
        return attempt.host in self.proven_hosts or (attempt.trusts_others and self.is_address_proven)

    def have_others_answer(self, attempt: Attempt) -> bool:
        """Whether others were answered since this one was."""
        if self._answered_at is None or self._answered_at == attempt.answered_at:
            return False
        return attempt.answered_at is None or self._answered_at > attempt.answered_at
