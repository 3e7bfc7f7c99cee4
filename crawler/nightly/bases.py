"""Noting what stands for sellers until they are read, for `--strategy freshest`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import orjson
from pyarrow.lib import ArrowException

from crawler import events
from crawler.history.bases import IntactVideos, KnownSnapshot, bases
from crawler.history.footers import footer_of
from crawler.history.pins import NoDigestsError, Pin, pinned
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates, reading
from crawler.nightly.opening import Opened
from crawler.planning.rates import learn_rates
from crawler.store.digests import digests_of
from crawler.store.layout import SELLERS, VIDEOS, published_file


def stand_on_bases(opened: Opened) -> None:
    """Note in the journal what stands for each listed seller until it is read.

    The snapshots that rows may be taken from are pinned. Raises `OutputError` where that fails.
    """
    night, journal = opened.night, opened.journal
    left = night.listed.without(journal.carried.with_base()).ids
    if not len(left):
        return
    max_age = night.run.max_age
    gone = Counter[str]()
    leave_out = partial(_note_unreadable, opened)
    unverified: list[date] = []
    snapshots = _snapshots(opened, unverified)
    found = bases(snapshots, left, night.crawl_date, max_age, night.sorting, leave_out, gone)
    if unverified:
        days = [day.isoformat() for day in unverified]
        opened.notes.add(events.CARRY_UNVERIFIED(crawl_dates=days, folder=night.layout.state))
    if gone:
        opened.notes.add(events.ROWS_GONE(rows=gone.total(), sellers=len(gone), days=max_age))
    learnt = learn_rates(night.data, night.crawl_date, found, night.run.value)
    for warning in learnt.warnings:
        opened.notes.add(warning)
    journal.carried.stand_on(found)
    if len(found):
        journal.note(new_seller=orjson.dumps([*learnt.new]).decode())


def _snapshots(opened: Opened, unverified: list[date]) -> Iterator[KnownSnapshot]:
    """The snapshots before the crawl date that rows can be taken from, newest first; each is pinned.

    `unverified` learns of those that are used though there are no digests of them.
    """
    night, oldest = opened.night, opened.night.crawl_date - timedelta(opened.night.settings.history.window)
    for day in published_dates(night.data):
        if not oldest <= day < night.crawl_date:
            continue
        is_verified = True
        try:
            try:
                pin = pinned(opened.journal, night.data, day)
            except NoDigestsError:
                is_verified, pin = False, _pinned_as_they_are(opened, day)
        except UnreadableError as error:
            _note_unreadable(opened, day, error)
            continue
        if pin is None:
            continue
        sellers, _ = _intact_files(opened, pin, SELLERS)
        yield KnownSnapshot(
            day, sellers, partial(_intact_videos, opened, pin, None if is_verified else unverified)
        )


def _intact_videos(opened: Opened, pin: Pin, unverified: list[date] | None) -> IntactVideos:
    """A snapshot's files of `VIDEOS` that are right; `unverified` learns of one that has no digests."""
    files, is_damaged = _intact_files(opened, pin, VIDEOS)
    if unverified is not None:
        unverified.append(pin.day)
    return IntactVideos(files, is_damaged or unverified is not None)


def _intact_files(opened: Opened, pin: Pin, kind: str) -> tuple[SnapshotFiles, bool]:
    """A snapshot's files of a kind that are right, and whether others are damaged, which is noted."""
    good, damages = pin.check(kind)
    for damage in damages:
        opened.notes.add(events.CARRY_DAMAGED(damage=damage))
    return SnapshotFiles(tuple(good)), bool(damages)


def _note_unreadable(opened: Opened, day: date, error: UnreadableError) -> None:
    opened.notes.add(events.CARRY_UNREADABLE(crawl_date=day, reason=error))


def _pinned_as_they_are(opened: Opened, day: date) -> Pin | None:
    """A snapshot of which no digests are kept: its files that are Parquet to their end count as right.

    Raises `UnreadableError` where they cannot be read, and `OutputError` where they cannot be pinned.
    """
    night = opened.night
    with reading(f"the snapshot of {day}"):
        found = digests_of(night.data, day)
    whole = {name: digest for name, digest in found.items() if _has_footer(published_file(night.data, name))}
    try:
        return pinned(opened.journal, night.data, day, whole)
    except NoDigestsError:
        return None


def _has_footer(path: Path) -> bool:
    try:
        footer_of(path)
    except (OSError, ArrowException):
        return False
    return True
