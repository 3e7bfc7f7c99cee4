"""The client of the API as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from crawler.api.client import ApiClient
from crawler.models.keys import ApiKey
from crawler.options import Settings


def open_client(
    settings: Settings, keys: Sequence[ApiKey], now: Callable[[], datetime], connections: int
) -> ApiClient:
    """A client of the API as the settings say, with so many connections; pages are received at `now`."""
    api, run = settings.api, settings.run
    return ApiClient(
        api.url,
        *(key.value for key in keys),
        sort=run.sort,
        order=run.order,
        timeout=api.timeout,
        connect_timeout=api.connect_timeout,
        connections=connections,
        wall_clock=lambda: round(now().timestamp() * 1000),
    )
