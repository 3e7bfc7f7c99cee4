"""Whether the API's address is wrong: then every seller gets the answer that an unknown path gets."""

from __future__ import annotations

from collections import Counter, deque
from itertools import chain

from crawler.models.seller import PageRequest

FIRST_REFUSED = 5
"""Sellers refused as by a wrong path, and nobody answered otherwise, before others are asked out of turn."""

SPREAD_REFUSED = 20
"""Sellers spread over the list that must be refused alike, where there are as many."""

MOST_ASKED = FIRST_REFUSED + SPREAD_REFUSED
"""The first ones may be among those that are spread."""


class AddressCheck:
    """Keeps the refusals that a wrong path would cause too, until it is known whose fault they are.

    Any other answer proves the address: the sellers in doubt are then at fault themselves, and later
    ones at once. `doubt`: what speaks against the address.

    `is_part`: it knows only some sellers of the night, and leaves it to others whose fault refusals are.
    `in_doubt`: refused requests by seller. `at_fault`: those whose sellers are to fail. `asked`: sellers
    that are asked because the address is in doubt.
    """

    def __init__(self, url: str = "", *, is_proven: bool = False, is_part: bool = False) -> None:
        self._url, self._is_part = url, is_part
        self._statuses: Counter[str] = Counter()
        self.in_doubt: dict[str, list[PageRequest]] = {}
        self.asked: set[str] = set()
        self.is_proven = is_proven
        self.doubt = ""
        self.at_fault: deque[PageRequest] = deque()

    def keep_in_doubt(self, request: PageRequest, status: str) -> None:
        """Keep a refused request; its `reason` says how it was refused."""
        requests = self.in_doubt.setdefault(request.seller.seller_id, [])
        self._statuses[status] += not requests
        requests.append(request)

    def prove(self) -> None:
        """Note an answer that only the right address gives."""
        self.is_proven = True
        self._blame_sellers(retriable=False)

    @property
    def is_doubtful(self) -> bool:
        """Whether sellers spread over the list are to be asked instead of the next ones."""
        return len(self.in_doubt) >= FIRST_REFUSED

    @property
    def may_ask(self) -> bool:
        """Whether one more seller may be asked while the address is in doubt."""
        return len(self.asked) < SPREAD_REFUSED

    def defers(self, request: PageRequest) -> bool:
        """Whether a request that was to be the first for its page must not leave now."""
        return request.sent == 0 and self.is_doubtful and request.seller.seller_id not in self.asked

    def conclude(self) -> bool:
        """Decide when nobody is left to ask: True where the address may be wrong; `doubt` says why.

        Where too few were refused to tell, their sellers fail, and a later run tries them again.
        """
        last = list(self.in_doubt.values())[-1][-1]
        self.doubt = (
            f"every one of {len(self.in_doubt)} sellers was answered {' or '.join(self._statuses)}, "
            f"none otherwise: is --api-url right? requests went to {self._url}; "
            f"the last answer: {last.reason}"
        )
        if self.is_doubtful or self._is_part:
            return True
        self._blame_sellers(retriable=True)
        return False

    def _blame_sellers(self, *, retriable: bool) -> None:
        for request in chain.from_iterable(self.in_doubt.values()):
            request.retriable = retriable
            self.at_fault.append(request)
        self.in_doubt.clear()
