"""The top movers of the report (`--top-movers`): open it to change when they are looked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from crawler import events
from crawler.nightly.opening import Opened
from crawler.nightly.publishing import Published


def top_movers_of(opened: Opened, published: Published) -> dict[str, Any]:
    """What the report has of them; empty where none are asked for, or the night is not published.

    Whatever goes wrong here costs these alone, and is noted.
    """
    night = opened.night
    if night.run.top_movers is None or not published.is_published:
        return {}
    try:
        from crawler.history.top_movers import top_movers  # noqa: PLC0415 - only who asks for it needs it

        window = timedelta(days=night.settings.history.window)
        found = top_movers(night.data, night.crawl_date, night.run.sort, night.run.top_movers, window)
        return found.as_document()
    except Exception as error:  # noqa: BLE001 - a fault of the list is no fault of the night
        opened.notes.add(events.TOP_MOVERS_FAILED(reason=error))
        return {}
