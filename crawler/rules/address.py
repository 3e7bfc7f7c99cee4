"""Whether the API's address is wrong: then every seller gets the answer that an unknown path gets."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from crawler.models.seller import PageRequest

FIRST_REFUSED = 5
"""Sellers refused as by a wrong path, and nobody answered otherwise, before others are asked out of turn."""

SPREAD_REFUSED = 20
"""Sellers spread over the list that must be refused alike, where there are as many."""

MOST_ASKED = FIRST_REFUSED + SPREAD_REFUSED
"""Sellers to spread over the list: the first ones may be among them."""


class AddressCheck:
    """Holds the refusals that a wrong path would cause too, until it is known whose fault they are.

    Any other answer proves the address: the sellers held so far are then at fault themselves, and later
    ones at once. Refused sellers that are held are not asked for again.

    `is_proven`: the address is right, as far as answers tell. `at_fault`: refused requests whose sellers
    are to fail, each with whether a later run may try it again. `doubt`: what speaks against the address.
    """

    def __init__(self, url: str = "", *, is_proven: bool = False) -> None:
        self._url = url
        self._held: dict[str, list[PageRequest]] = {}
        self._statuses: Counter[str] = Counter()
        self._spread: set[str] = set()
        self.is_proven = is_proven
        self.doubt = ""
        self.at_fault: deque[tuple[PageRequest, bool]] = deque()

    def hold(self, request: PageRequest, status: str) -> None:
        """Keep a refused request; its `reason` says how it was refused."""
        requests = self._held.setdefault(request.seller.seller_id, [])
        self._statuses[status] += not requests
        requests.append(request)

    def holds(self, seller_id: str) -> bool:
        """Whether a refusal of the seller is held."""
        return seller_id in self._held

    def prove(self) -> None:
        """Note an answer that only the right address gives."""
        self.is_proven = True
        if self._held:
            self._release(retriable=False)

    @property
    def is_doubtful(self) -> bool:
        """Whether any refusal is held."""
        return bool(self._held)

    @property
    def is_suspect(self) -> bool:
        """Whether sellers spread over the list are to be asked instead of the next ones."""
        return len(self._held) >= FIRST_REFUSED

    @property
    def may_ask(self) -> bool:
        """Whether one more seller may be asked while the address is suspect."""
        return self.asked < SPREAD_REFUSED

    @property
    def asked(self) -> int:
        """How many sellers were asked because the address is suspect."""
        return len(self._spread)

    def holds_back(self, request: PageRequest) -> bool:
        """Whether a request that was to be the first for its page must not leave now."""
        is_first = request.sent == 0
        return is_first and self.is_suspect and request.seller.seller_id not in self._spread

    def asks(self, seller_id: str) -> None:
        """Note a seller that is asked because the address is suspect."""
        self._spread.add(seller_id)

    def conclude(self) -> bool:
        """Decide when nobody is left to ask: True where the address is wrong; `doubt` says why.

        Where too few were refused to tell, their sellers fail, and a later run tries them again.
        """
        last = list(self._held.values())[-1][-1]
        self.doubt = (
            f"every one of {len(self._held)} sellers was answered {' or '.join(self._statuses)}, "
            f"none otherwise: is --api-url right? requests went to {self._url}; "
            f"the last answer: {last.reason}"
        )
        if self.is_suspect:
            return True
        self._release(retriable=True)
        return False

    def _release(self, *, retriable: bool) -> None:
        self.at_fault += ((request, retriable) for request in self._requests())
        self._held.clear()

    def _requests(self) -> Iterator[PageRequest]:
        for requests in self._held.values():
            yield from requests
