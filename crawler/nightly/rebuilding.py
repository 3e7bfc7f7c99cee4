"""Making `changes/` anew from what is published: open it to change which dates that is done for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from crawler import events
from crawler.history.outdated import add_columns, are_current, outdated_dates
from crawler.history.reader import UnreadableError, published_dates
from crawler.history.staged import remake_changes
from crawler.models.errors import InputError
from crawler.nightly.folders import open_folder
from crawler.nightly.shell import Commands
from crawler.nightly.world import World
from crawler.options import HistorySettings, Settings
from crawler.store.layout import StagedFolder
from crawler.store.months import file_of_archived
from crawler.store.publishing import clean_staging
from crawler.store.rewriting import Rewriting


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made anew: rows of `changes/` by kind for each date; of `failed` dates, why not."""

    dates: dict[date, dict[str, int]] = field(default_factory=dict)
    failed: dict[date, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def outdated_notes(commands: Commands, run_id: str) -> list[events.Sentence]:
    """That changes are out of date by what a run has published, and what makes them anew; maybe nothing."""
    days = outdated_dates(commands.data, run_id)
    return [events.CHANGES_OUTDATED(crawl_dates=days, rebuild=commands.rebuild())] if days else []


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
    run_id = world.run_id(world.now(), "-changes")
    with open_folder(data, run_id) as guard:
        rewriting = Rewriting(data, StagedFolder(data, run_id), guard)
        done.notes.extend(add_columns(rewriting))
        for day in sorted(published_dates(data)) if crawl_date is None else [crawl_date]:
            is_archived = crawl_date is None and file_of_archived(data, day) is not None
            if not is_archived and (crawl_date is not None or not are_current(data, day)):
                _remake(rewriting, day, settings.history, done)
        clean_staging(data)
    return done


def _remake(rewriting: Rewriting, day: date, history: HistorySettings, done: Rebuilt) -> None:
    window, lag = timedelta(days=history.window), timedelta(hours=history.data_lag)
    try:
        found = remake_changes(rewriting, day, window, lag)
    except UnreadableError as error:
        done.failed[day] = str(error)
    else:
        done.dates[day] = dict(found.counts)
        done.notes.extend(found.warnings)
