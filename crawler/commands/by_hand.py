"""`crawler close` and `crawler publish`: what a person decides of a crawl date, without a crawl."""

from __future__ import annotations

import sys
from datetime import date

from crawler.models.errors import InputError
from crawler.nightly.by_hand import ByHand, accept_date, close_date
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.settings.values import read_crawl_date
from crawler.store.layout import require_data_folder


def close_command(settings: Settings, crawl_date: str) -> int:
    """Close a crawl date and say so; 0.

    Raises `CrawlerError` where it cannot be closed.
    """
    day = _read_date(settings, crawl_date)
    done = close_date(settings, day, World())
    published = "" if done.rows is None else f"; what was paid for is published now, {done.rows} rows"
    return _say(done, f"crawl date {day} is closed since {done.closed_at}{published}")


def publish_command(settings: Settings, crawl_date: str, *, accept: bool) -> int:
    """Publish what was held back of a crawl date and say so; 0.

    Raises `CrawlerError` where it cannot be published.
    """
    day = _read_date(settings, crawl_date)
    if not accept:
        raise InputError(f"nothing was published: add --accept to publish {day} although it is implausible")
    done = accept_date(settings, day, World())
    rows = f"crawl date {day} is published as it is, {done.rows} rows"
    why = [f"- {reason}" for reason in done.held_for]
    again = "the same command as before (with --late where the date is closed)"
    left = f"{done.left} sellers are left: {again} reads them, and is not held back again"
    return _say(done, f"{rows}; it was held back as implausible:", *why, *([left] if done.left else []))


def _read_date(settings: Settings, crawl_date: str) -> date:
    day = read_crawl_date(crawl_date)
    require_data_folder(settings.run.data)
    return day


def _say(done: ByHand, *lines: str) -> int:
    sys.stderr.writelines(f"crawler: {note}\n" for note in done.notes)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0
