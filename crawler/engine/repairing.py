"""Reads pages of ended sellers again, around their gaps (`--repair-drift`)."""

from __future__ import annotations

from collections.abc import Callable

from crawler.engine import actions, events
from crawler.engine.gates import Gates, GaveUpError
from crawler.engine.seller import Policies, Seller
from crawler.engine.stop import Stop
from crawler.models.errors import RefusedError
from crawler.models.page import Page
from crawler.models.seller import PageRequest, SellerProgress
from crawler.ports import Journal
from crawler.rules.address import AddressCheck
from crawler.rules.drift import Repair


class Repairer:
    """Repairs one seller at a time; credits whose page was not kept are left in `unreported`."""

    def __init__(
        self,
        gates: Gates,
        journal: Journal,
        address: AddressCheck,
        stop: Stop,
        policies: Policies,
        on_page: Callable[[Page], None],
        unreported: list[SellerProgress],
    ) -> None:
        self._gates = gates
        self._journal = journal
        self._address = address
        self._stop = stop
        self._policies = policies
        self._on_page = on_page
        self._unreported = unreported

    async def repair(self, seller_id: str) -> None:
        """Read pages of an ended seller again, until it wants no more or the run stops."""
        progress = SellerProgress(seller_id)
        seller = Seller(progress, self._policies, Repair(*await self._journal.drifted(seller_id)))
        try:
            answer = seller.on(events.Turn())
            while answer:
                (action,) = answer
                answer = seller.on(await self._step(progress, action))
        finally:
            if progress.credits:
                self._unreported.append(progress)

    async def _step(self, progress: SellerProgress, action: actions.Action) -> events.Event:
        """Carry out one answer of a seller that is repaired; returns what happened."""
        if isinstance(action, actions.Keep):
            await self._journal.append(action.page, progress.take_unreported_credits(), None, action.notes)
            self._on_page(action.page)
            return events.Kept()
        if not isinstance(action, actions.Ask) or self._stop.reason is not None:
            return events.Stopped()
        try:
            page, _ = await self._gates.fetch(PageRequest(progress, action.page_num))
        except GaveUpError as failure:
            return events.GaveUp(action.page_num, str(failure))
        except RefusedError:
            return events.Refused()
        self._address.prove()
        return events.of_page(page)
