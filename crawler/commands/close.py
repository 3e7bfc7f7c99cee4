"""`crawler close`: end a crawl date as it is."""

from __future__ import annotations

import re
import sys
from datetime import date

from crawler.commands.status import require_data_folder
from crawler.models.errors import InputError
from crawler.nightly.by_hand import close_date
from crawler.nightly.world import World
from crawler.options import Settings


def close_command(settings: Settings, crawl_date: str) -> int:
    """Close a crawl date and say so; 0.

    Raises `CrawlerError` where it cannot be closed.
    """
    day = read_crawl_date(crawl_date)
    require_data_folder(settings.run.data)
    closing = close_date(settings, day, World())
    for note in closing.notes:
        sys.stderr.write(f"crawler: {note}\n")
    published = "" if closing.rows is None else f"; what was paid for is published now, {closing.rows} rows"
    sys.stdout.write(f"crawl date {day} is closed since {closing.closed_at}{published}\n")
    return 0


def read_crawl_date(text: str) -> date:
    """A crawl date as it is given on the command line; raises `InputError`."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise InputError(f"{text!r} is no crawl date: a date such as 2026-11-23 is wanted")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no crawl date: no such day in the calendar") from None
