"""Holding a night back: open it to change what is noted of a night that is not published.

`rechecking` asks its sellers again, `by_hand` publishes it as it is, `suspicion` says what else is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from crawler.engine.stop import stop_reason_of, weightiest
from crawler.exit_codes import SELLERS_FAILED
from crawler.models.errors import CrawlerError, ImplausibleError
from crawler.nightly.opening import Opened
from crawler.nightly.suspicion import Suspicion
from crawler.nightly.tally import Tally
from crawler.store.held import Held, to_recheck

STAYS_HELD = "the night stays held back until the sellers that made it implausible are asked again"


def hold_back(
    opened: Opened,
    counted: Tally,
    reason: CrawlerError | None,
    reasons: Sequence[str],
    to_recheck: Sequence[pa.Array[Any]],
    shown_by: Sequence[str] | None = None,
    hits: int = 0,
) -> CrawlerError:
    """Keep the night in the journal alone; returns why the run ended, be it for another `reason`.

    `to_recheck` are the sellers to be asked again, the `hits` first; by what of their rows the reasons are
    seen stays as it was where `shown_by` is not given.
    """
    sellers, night = counted.counts.sellers, opened.night
    code = SELLERS_FAILED.number if sellers["failed"] else 0
    if reason is not None and not isinstance(reason, ImplausibleError):
        code = reason.exit_code
    sums = (sellers["total"], sellers["complete"], sellers["failed"])
    before = Held.of(opened.journal)
    differed = [] if before is None else before.differed
    if shown_by is None and before is not None:
        shown_by, hits = before.shown_by, before.hits
    seen = [*(shown_by or ())]
    held = Held(opened.run_id, [*reasons], code, stop_reason_of(reason), *sums, differed, seen, hits)
    held.note(opened.journal, to_recheck, counted.pending.ids)
    accept = night.commands.accept(night.crawl_date)
    return weightiest(
        reason, ImplausibleError(f"the night is not published; publish it as it is by: {accept}")
    )


def disbelieve(
    opened: Opened, counted: Tally, reason: CrawlerError | None, disbelief: ImplausibleError
) -> CrawlerError:
    """Hold back a night whose canaries said that it cannot be believed; returns why the run ended."""
    if not disbelief.to_recheck and (suspicion := Suspicion.of(opened.journal)) is not None:
        suspicion.confirm(opened.journal)
    to_recheck = [pa.array(disbelief.to_recheck, pa.string())]
    return hold_back(opened, counted, reason, disbelief.reasons, to_recheck)


def still_held(opened: Opened) -> Held | None:
    """The night that is held back, where asking its sellers again has not ended; else None.

    Sellers that are answered otherwise by now must not hide the rest of them.
    """
    held = Held.of(opened.journal)
    is_held = held is not None and not opened.night.run.fresh and len(to_recheck(opened.journal))
    return held if is_held else None
