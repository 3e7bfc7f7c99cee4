"""What compares first pages with the last snapshot, where sellers may be carried forward."""

from __future__ import annotations

from collections.abc import Callable

from crawler.api.rows import read_rows
from crawler.history.carrying import CarryMatcher, CarryRule
from crawler.models.page import Match, Page
from crawler.nightly.opened import Opened

FirstPageMatch = Callable[[Page], Match | None]


def no_match(_page: Page) -> Match | None:
    """No first page is compared with anything."""
    return None


def matcher(opened: Opened) -> FirstPageMatch:
    """What compares first pages with the last snapshot, where sellers may be carried forward."""
    night, run = opened.night, opened.night.run
    if not run.carry_forward:
        return no_match
    rule = CarryRule(night.crawl_date, run.max_age, run.audit)
    found = CarryMatcher(opened.journal, night.data, rule, night.sorting, read_rows)
    for warning in found.warnings:
        opened.notes.add(warning)
    return found.match
