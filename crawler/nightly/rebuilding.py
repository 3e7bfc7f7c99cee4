"""Making `changes/` anew from what is published: open it to change which dates that is done for."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta

from crawler.history.changes import compare
from crawler.history.outdated import add_columns, are_current, belong_together, require_intact
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.models.errors import InputError
from crawler.nightly.folders import prepare_folders
from crawler.nightly.world import World
from crawler.options import HistorySettings, Settings
from crawler.store.files import output_errors, remove
from crawler.store.layout import CHANGES, SELLERS, VIDEOS, Layout, StagedFolder, parquet_file
from crawler.store.lock import hold_lock
from crawler.store.publishing import clean_staging
from crawler.store.rewriting import Rewriting
from crawler.store.sqlite import state_errors


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made anew: rows of `changes/` by kind for each date; `notes` say what could not be."""

    dates: dict[date, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def rebuild(settings: Settings, world: World, crawl_date: date | None = None) -> Rebuilt:
    """Make `changes/`, and the sums of `sellers/`, anew where they are missing, damaged or out of date.

    For one date in any case, where it is given. Sends nothing. Raises `InputError` where nothing is published
    for it, `DataLockedError` while a run holds the folder, `OutputError` where they cannot be written.
    """
    data, done = settings.run.data, Rebuilt()
    dates = sorted(published_dates(data))
    if crawl_date is not None and crawl_date not in dates:
        raise InputError(f"nothing is published for {crawl_date} under {data}: there are no changes to make")
    if not dates:
        return done
    run_id = f"{world.now():%Y%m%dT%H%M%SZ}-{world.token()}-changes"
    with ExitStack() as stack:
        guard = stack.enter_context(hold_lock(data, run_id))
        stack.enter_context(state_errors(Layout(data).state))
        prepare_folders(data)
        rewriting = Rewriting(data, StagedFolder(data, run_id), guard)
        done.notes.extend(add_columns(rewriting))
        for day in sorted(published_dates(data)) if crawl_date is None else [crawl_date]:
            if crawl_date is not None or not are_current(data, day):
                _rebuild(rewriting, day, settings.history, done)
        clean_staging(data)
    return done


def _rebuild(rewriting: Rewriting, day: date, history: HistorySettings, done: Rebuilt) -> None:
    """Make the changes of one date anew."""
    data, staged = rewriting.data, rewriting.staged
    if not belong_together(data, day):
        done.notes.append(
            f"no changes are made for {day}: its videos/ and sellers/ are of different runs, since one was "
            "killed; a run of that date publishes both together, with their changes"
        )
        return
    videos, sellers = (SnapshotFiles.published(data, kind, day) for kind in (VIDEOS, SELLERS))
    run_id = sellers.paths[0].stem
    with output_errors(f"the changes of {day} under {data}"):
        remove(staged.folder)
        changes_file, sellers_file = (
            parquet_file(staged.snapshot(kind, day), run_id) for kind in (CHANGES, SELLERS)
        )
        for file in (changes_file, sellers_file):
            file.parent.mkdir(parents=True)
        try:
            require_intact(data, day, sellers)
            window, lag = timedelta(days=history.window), timedelta(hours=history.data_lag)
            found = compare(data, day, videos, sellers, changes_file, sellers_file, run_id, window, lag)
        except UnreadableError as error:
            done.notes.append(f"no changes are made for {day}: {error}")
            return
    rewriting.put_in_place(day)
    done.dates[day] = dict(found.counts)
    done.notes.extend(found.warnings)
