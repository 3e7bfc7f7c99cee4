"""Noting what stands for sellers until they are read, for `--strategy freshest`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import orjson

from crawler import events
from crawler.history.bases import KnownSnapshot, bases
from crawler.history.pins import NoDigestsError, pinned
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.nightly.opening import Opened
from crawler.planning.rates import learnt_rates
from crawler.store.layout import SELLERS, VIDEOS


def stand_on_bases(opened: Opened) -> None:
    """Note in the journal what stands for each listed seller until it is read.

    The snapshots that rows may be taken from are pinned. Raises `OutputError` where that fails.
    """
    night, journal = opened.night, opened.journal
    left = night.listed.without(journal.carried.with_base()).ids
    if not len(left):
        return
    max_age = night.run.max_age
    found = dict(bases(_snapshots(opened), left, night.crawl_date, max_age))
    learnt = learnt_rates(night.data, night.crawl_date, found, night.run.value)
    for warning in learnt.warnings:
        opened.notes.add(warning)
    journal.carried.stand_on(
        (seller_id, base._replace(rates=learnt.rates[seller_id])) for seller_id, base in found.items()
    )
    if found:
        journal.note(new_seller=orjson.dumps([*learnt.new]).decode())


def _snapshots(opened: Opened) -> Iterator[KnownSnapshot]:
    """The snapshots before the crawl date that rows can be taken from, newest first; each is pinned."""
    night, oldest = opened.night, opened.night.crawl_date - timedelta(opened.night.settings.history.window)
    for day in published_dates(night.data):
        if not oldest <= day < night.crawl_date:
            continue
        try:
            pin = pinned(opened.journal, night.data, day)
        except NoDigestsError:
            opened.notes.add(
                events.CARRY_UNVERIFIABLE(crawl_dates=[day.isoformat()], folder=night.layout.state)
            )
            continue
        except UnreadableError as error:
            opened.notes.add(events.CARRY_UNREADABLE(crawl_date=day, reason=error))
            continue
        if pin is None:
            continue
        sellers, damaged_sellers = pin.check(SELLERS)
        videos, damages = pin.check(VIDEOS)
        for damage in (*damaged_sellers, *damages):
            opened.notes.add(events.CARRY_DAMAGED(damage=damage))
        files = (SnapshotFiles(tuple(good)) for good in (sellers, videos))
        yield KnownSnapshot(day, next(files), next(files), bool(damages))
