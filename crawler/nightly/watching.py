"""Watching a night's canaries: choosing them from history, and stopping the run by their first pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, islice
from typing import Self

from crawler.engine.stop import Stop
from crawler.history.judging import past_measures
from crawler.history.known_sellers import KnownSellers
from crawler.models.errors import ImplausibleError
from crawler.models.page import Page
from crawler.nightly.opening import Opened
from crawler.nightly.suspicion import Suspicion, figures_of
from crawler.rules.best_first import BestFirst
from crawler.rules.canaries import CANARIES, Canaries, Decision, FirstPage, choose_canaries, still_rates
from crawler.rules.order import Frontier
from crawler.rules.plausibility import still_band
from crawler.sellers.listing import SellerList
from crawler.store.held import is_accepted

_CANDIDATES = 12 * CANARIES


@dataclass(slots=True)
class Watch:
    """Tests the first pages of canaries; `compares` them with history's figures as well."""

    canaries: Canaries = field(default_factory=partial(Canaries, ()))
    compares: bool = False

    @classmethod
    def choose(cls, opened: Opened, frontier: Frontier | BestFirst, fresh: SellerList) -> Self:
        """Choose the canaries of a run among its new sellers, and note them in the journal.

        Where no budget may end the run, any order serves: they are spread over regions and asked first. Else
        they are the first that the strategy asks for. A run before that was cut off has its own asked first.
        There are none where a person has accepted the date.
        """
        if is_accepted(opened.journal):
            return cls()
        night, credit = opened.night, opened.night.settings.credits
        known = KnownSellers(night.data, night.crawl_date)
        ids = [str(i) for i in fresh.ids.slice(0, _CANDIDATES).to_pylist()]
        is_free = credit.budget is None and credit.monthly_budget is None
        if not is_free and isinstance(frontier, BestFirst):
            ids = frontier.best_known(_CANDIDATES) or ids
        history = known.canaries(ids)
        if is_free:
            chosen = choose_canaries(ids, history)
        else:
            chosen = list(islice((history[i] for i in ids if i in history), CANARIES))
        limits = night.settings.plausibility
        still = still_rates(still_band(past_measures(night.data, night.crawl_date), limits))
        if still is not None:
            figures = known.figures([canary.seller_id for canary in chosen], night.sorting)
            chosen = [canary._replace(figures=figures.get(canary.seller_id)) for canary in chosen]
        if not chosen:
            return cls()
        begun = Suspicion.begin(opened.journal, chosen, still, opened.store.suspicion)
        if is_free:
            frontier.ask_first(compress(begun.canaries.waiting, fresh.contains([*begun.canaries.waiting])))
        return cls(begun.canaries, begun.still is not None)

    def read(self, page: Page, stop: Stop, sent: Callable[[], int]) -> None:
        """Note a page that is in the journal; stops the run where chance does not explain the answers."""
        if page.page_num != 1 or self.canaries.decision is not Decision.UNDECIDED:
            return
        figures = figures_of(page.seller_id, page.body) if self.compares else None
        kept = (page.row_count or 0) - page.rejected
        first = FirstPage(page.seller_id, kept, page.fingerprint, figures, page.received_at / 1000)
        if self.canaries.answered(first) is Decision.STOP:
            stop.set(
                ImplausibleError(
                    f"stopped after {sent()} requests, since the first answers cannot be believed. "
                    "Nothing is published; look at the API, then run the same "
                    "command again: it asks for these sellers again",
                    [self.canaries.reason],
                )
            )
