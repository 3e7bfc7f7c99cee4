"""`crawler verify`: all that is published, and the databases under `state/`, read beside whatever goes on."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import date
from pathlib import Path

from crawler.history.verifying import verify_published
from crawler.history.whole_files import Finding, FindingKind, Verified
from crawler.models.errors import CrawlerError
from crawler.nightly.shell import Commands
from crawler.store.checking import journal_damages, ledger_damages, left_logs
from crawler.store.layout import JournalFiles, Layout, journals_below, left_by_journals, require_data_folder
from crawler.store.ledger import Ledger
from crawler.store.lock import holder_of
from crawler.store.progress_file import progress_of


def verify(data: Path) -> Verified:
    """Read all that is there, without a lock and without changing anything.

    The journal of the run under way is left out. Raises `InputError` where it is no data folder.
    """
    require_data_folder(data)
    done, layout = verify_published(data), Layout(data)
    journals = sorted(journals_below(layout.journals))
    if layout.ledger.exists():
        _add(done, data, layout.ledger, ledger_damages(layout.ledger))
    elif journals or done.nights:
        reason = "what was spent is known by the journals alone; the next run makes it anew of them"
        done.findings.append(Finding(FindingKind.MISSING, str(layout.ledger.relative_to(data)), reason))
    holder = holder_of(data)
    progress = progress_of(data, holder)
    for path in journals:
        day = JournalFiles(path).crawl_date
        if holder is not None and (progress is None or progress["crawl_date"] == day):
            done.notes.append(f"{path.relative_to(data)} is left out: {holder} is on")
            continue
        _add(done, data, path, journal_damages(path))
        _add_logs(done, data, path)
    for path in left_by_journals(layout.journals):
        reason = "its journal is gone: restore that from a backup; of a finished date crawler gc removes it"
        done.findings.append(Finding(FindingKind.FOREIGN, str(path.relative_to(data)), reason))
    return done


def _add_logs(done: Verified, data: Path, path: Path) -> None:
    """Read what workers of a killed run have left beside a journal."""
    pages, damages = left_logs(path)
    if not damages:
        return
    for log, reasons in damages.items():
        name = log.relative_to(data).as_posix()
        done.findings += [Finding(FindingKind.DAMAGED, name, reason) for reason in reasons]
    day, go_on = date.fromisoformat(JournalFiles(path).crawl_date), "the next run of that date"
    with suppress(CrawlerError, sqlite3.Error), Ledger(data, only_read=True) as ledger:
        go_on = Commands(data, []).run(ledger, day)
    left = f"{pages} pages in {len(damages)} logs of workers wait for {day}"
    done.notes.append(f"{left}; the date's journal takes them in by: {go_on}")


def _add(done: Verified, data: Path, path: Path, damages: list[str]) -> None:
    name = path.relative_to(data).as_posix()
    done.databases += 1
    done.findings += [Finding(FindingKind.DAMAGED, name, damage) for damage in damages]
