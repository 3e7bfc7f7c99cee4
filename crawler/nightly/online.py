"""One request to the real API, for `crawler check --online`: it costs one credit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from zoneinfo import ZoneInfo

from crawler.exit_codes import COMPLETE, INTERRUPTED
from crawler.models.errors import (
    BudgetSpentError,
    CrawlerError,
    InputError,
    KeyRefusedError,
    KeySpentError,
    PageError,
    QuotaUsedUpError,
)
from crawler.models.keys import ApiKey
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
    key = 0
    sent = False

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Send at once: the pace was waited for before."""
        self.sent = ready()
        return self.sent


def ask_once(settings: Settings, key: ApiKey) -> str:
    """Ask for one page with a key; returns what came.

    It is sent under the data folder's lock, after a pause as between two runs, by a credit that is reserved
    on disk and counts for the crawl date and the month, and for a key that has a name.

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
        slowest = run.qps if key.limits is None else min(run.qps, key.limits.qps)
        pause = initial_pause_s(guard.free_for_s, slowest) if ledger.runs() else 0.0
        ledger.begin(run_id, crawl_date, stamp(now))
        try:
            _reserve(account, key)
            answer = asyncio.run(_ask(settings, key, world, departure, pause))
            code = COMPLETE.number
        except CrawlerError as error:
            code = error.exit_code
            raise
        except KeyboardInterrupt:
            code = INTERRUPTED.number
            raise
        finally:
            if key.limits is None:
                ledger.return_unused_credits(run_id, int(departure.sent))
            else:
                ledger.return_unused_of_key(run_id, key.limits.name, int(departure.sent))
            ledger.finish(run_id, stamp(world.now()), code)
    return answer


def _reserve(account: Account, key: ApiKey) -> None:
    """Reserve one credit. Raises `BudgetSpentError` where there is none."""
    if key.limits is None:
        account.reserve(_one)
        return
    try:
        account.reserve_for(key.limits, _one)
    except KeySpentError as error:
        raise BudgetSpentError(str(error)) from None


def _one(left: int | None) -> int:
    return 1 if left is None else min(1, left)


async def _ask(settings: Settings, key: ApiKey, world: World, departure: _Now, pause: float) -> str:
    async with world.api(settings, [key]) as client:
        await asyncio.sleep(pause)
        try:
            page = await client.fetch(_ANY_SELLER, 1, departure)
        except PageError as error:
            raise InputError(f"the API did not answer well: {error}") from None
        except (KeyRefusedError, QuotaUsedUpError) as error:
            if key.limits is None:
                raise
            what = "is refused" if isinstance(error, KeyRefusedError) else "is used up"
            raise type(error)(f"the key {key.limits.name} {what}: {error.detail}") from None
    return f"answered with {page.row_count} rows"
