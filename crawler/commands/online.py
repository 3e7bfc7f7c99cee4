"""One request to the real API, for `crawler check --online`: it costs one credit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from crawler.errors import InputError, PageError
from crawler.nightly.world import api_client
from crawler.settings import Settings

_ANY_SELLER = "7494662098975951181"


class _Now:
    label = ""

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Send at once: there is no pace for a single request."""
        return ready()


def ask_once(settings: Settings, key: str) -> str:
    """Ask for one page; returns what came.

    Raises `CrawlerError` with the API's refusal.
    """
    return asyncio.run(_ask(settings, key))


async def _ask(settings: Settings, key: str) -> str:
    async with api_client(settings, key) as client:
        try:
            page = await client.fetch(_ANY_SELLER, 1, _Now())
        except PageError as error:
            raise InputError(f"the API did not answer well: {error}") from None
    return f"answered with {page.row_count} rows"
