"""One request to the real API, for `crawler check --online`: it costs one credit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from zoneinfo import ZoneInfo

from crawler.exit_codes import COMPLETE, INTERRUPTED
from crawler.models.errors import CrawlerError, InputError, PageError
from crawler.nightly.account import Account, initial_pause_s
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.rules.dates import stamp
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import CHECK
from crawler.store.lock import hold_lock
from crawler.store.sqlite import state_errors

_ANY_SELLER = "7494662098975951181"


class _Now:
    label = ""
    sent = False

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Send at once: the pace was waited for before."""
        self.sent = ready()
        return self.sent


def ask_once(settings: Settings, key: str) -> str:
    """Ask for one page; returns what came.

    It is sent under the data folder's lock, after a pause as between two runs, by a credit that is reserved
    on disk and counts for the crawl date and the month.

    Raises `DataLockedError` where a run is under way, `BudgetSpentError` where a budget has no credit left,
    else the `CrawlerError` with the API's refusal.
    """
    world, run = World(), settings.run
    now = world.now()
    run_id = world.run_id(now, CHECK)
    crawl_date = run.crawl_date or now.astimezone(ZoneInfo(run.timezone)).date()
    departure, code = _Now(), CrawlerError.exit_code
    state = Layout(run.data).state
    with hold_lock(run.data, run_id) as guard, state_errors(state), Ledger(run.data) as ledger:
        account = Account(ledger, run_id, crawl_date, settings.credits, world.now)
        pause = initial_pause_s(run.qps, ledger, guard.free_for_s)
        ledger.begin(run_id, crawl_date, stamp(now))
        try:
            account.reserve(lambda left: 1 if left is None else min(1, left))
            answer = asyncio.run(_ask(settings, key, world, departure, pause))
            code = COMPLETE.number
        except CrawlerError as error:
            code = error.exit_code
            raise
        except KeyboardInterrupt:
            code = INTERRUPTED.number
            raise
        finally:
            ledger.return_unused_credits(run_id, int(departure.sent))
            ledger.finish(run_id, stamp(world.now()), code)
    return answer


async def _ask(settings: Settings, key: str, world: World, departure: _Now, pause: float) -> str:
    async with world.api(settings, key) as client:
        await asyncio.sleep(pause)
        try:
            page = await client.fetch(_ANY_SELLER, 1, departure)
        except PageError as error:
            raise InputError(f"the API did not answer well: {error}") from None
    return f"answered with {page.row_count} rows"
