"""`crawler publish`: publish a night that was held back, as it is."""

from __future__ import annotations

import sys

from crawler.commands.close import read_crawl_date
from crawler.commands.status import require_data_folder
from crawler.models.errors import InputError
from crawler.nightly.by_hand import accept_date
from crawler.nightly.world import World
from crawler.options import Settings


def publish_command(settings: Settings, crawl_date: str, *, accept: bool) -> int:
    """Publish what was held back of a crawl date and say so; 0.

    Raises `CrawlerError` where it cannot be published.
    """
    day = read_crawl_date(crawl_date)
    require_data_folder(settings.run.data)
    if not accept:
        raise InputError(f"nothing was published: add --accept to publish {day} although it is implausible")
    accepted = accept_date(settings, day, World())
    for note in accepted.notes:
        sys.stderr.write(f"crawler: {note}\n")
    sys.stdout.write(
        f"crawl date {day} is published as it is, {accepted.rows} rows; it was held back as implausible:\n"
    )
    sys.stdout.writelines(f"- {reason}\n" for reason in accepted.held_for)
    return 0
