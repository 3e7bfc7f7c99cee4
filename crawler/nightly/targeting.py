"""The budget that `--target` picks for a crawl date. Open it to change when, and for how long."""

from __future__ import annotations

from dataclasses import replace

from crawler import events
from crawler.nightly.bases import stand_on_bases
from crawler.nightly.freshest import new_seller
from crawler.nightly.opening import Opened
from crawler.planning.trade import World
from crawler.planning.visits import visits


def with_target(opened: Opened) -> Opened:
    """The date with the budget that its target needs, where that is less than what it may cost.

    It is picked before anything is sent for the date, and noted in the journal: later runs keep to it. Raises
    `OutputError` where the journal cannot be used, or an earlier snapshot cannot be kept for it.
    """
    night, journal, account = opened.night, opened.journal, opened.account
    if night.run.target is None:
        return opened
    noted = journal.meta("target_budget")
    if noted is None:
        stand_on_bases(opened)
        noted = _budget(opened, night.run.target)
        journal.note(target_budget=noted)
    percent = 100 * night.run.target
    if not noted:
        opened.notes.add(events.TARGET_UNKNOWN(percent=percent))
        return opened
    budget = int(noted)
    opened.notes.add(events.TARGET_CHOSEN(percent=percent, crawl_date=night.crawl_date, budget=budget))
    budget = budget if account.budget is None else min(account.budget, budget)
    return replace(opened, account=replace(account, limits=replace(account.limits, budget=budget)))


def _budget(opened: Opened, share: float) -> str:
    """The budget as the journal notes it; empty where nothing is known of any listed seller."""
    night, journal = opened.night, opened.journal
    known = journal.carried.bases()
    if not len(known):
        return ""
    new = new_seller(journal)
    listed = visits(night.listed.ids, known, {}, new, night.crawl_date, night.run.max_age)
    return str(World(listed.stretches, night.run.max_age).target(share))
