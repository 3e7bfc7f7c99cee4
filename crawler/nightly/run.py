"""One night, from the lock to the report: read it first, then the step that you want to change."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from crawler.models.errors import OutputError
from crawler.nightly.choosing import choose
from crawler.nightly.concluding import conclude
from crawler.nightly.copying_out import copy_elsewhere, copy_the_rest, with_copies
from crawler.nightly.crawling import CrawlOutcome, crawl
from crawler.nightly.night import Night
from crawler.nightly.opening import Opened, open_date
from crawler.nightly.publishing import publish
from crawler.nightly.rechecking import Recheck
from crawler.nightly.targeting import with_target
from crawler.report.run_report import RunReport


def run_night(night: Night) -> RunReport:
    """Crawl, publish, copy elsewhere and report; the data folder is locked meanwhile.

    Raises `CrawlerError` where nothing could be begun.
    """
    with ExitStack() as stack:
        opened, outcome = _choose_and_crawl(open_date(night, stack))
        opened.progress.enter("publishing")
        published = publish(opened, outcome)
        copies = copy_elsewhere(opened, published)
        report = conclude(opened, outcome, published, partial(with_copies, opened, copies))
        copy_the_rest(opened, copies)
        return report


def _choose_and_crawl(opened: Opened) -> tuple[Opened, CrawlOutcome]:
    """The date under its budget, and what came of the crawl.

    Nothing is sent where the files to choose from cannot be used.
    """
    try:
        opened = with_target(opened)
        recheck = Recheck.of(opened)
        if recheck is not None:
            choice = replace(choose(opened, recheck.canaries), then=lambda _sent: recheck.then())
        else:
            choice = choose(opened)
    except OutputError as error:
        return opened, CrawlOutcome(stop_reason=error)
    return opened, crawl(opened, choice)
