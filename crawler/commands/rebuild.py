"""`crawler rebuild`: make a date's files anew from its kept answers, and say what came of it."""

from __future__ import annotations

import sys

from crawler.nightly.rereading import make_anew
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.settings.values import read_crawl_date
from crawler.store.layout import require_data_folder


def rebuild_command(settings: Settings, crawl_date: str) -> int:
    """Make the files of a crawl date anew and say so; 0.

    Raises `CrawlerError` where they cannot be.
    """
    day = read_crawl_date(crawl_date)
    require_data_folder(settings.run.data)
    made = make_anew(settings, day, World())
    # What is damaged is found when it is read, and again when it is copied.
    sys.stderr.writelines(f"crawler: {note}\n" for note in dict.fromkeys(made.notes))
    sys.stdout.write(f"crawl date {day} is made anew from {made.pages} answers: {made.rows} rows\n")
    if made.kept_words:
        sys.stdout.write(f"{made.kept_words}\n")
    return 0
