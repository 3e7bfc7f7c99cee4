"""`crawler verify`: all that is published, and the databases under `state/`, read beside whatever goes on."""

from __future__ import annotations

from pathlib import Path

from crawler.history.verifying import verify_published
from crawler.history.whole_files import Finding, FindingKind, Verified
from crawler.store.checking import journal_damages, ledger_damages
from crawler.store.layout import JournalFiles, Layout, journals_below, left_by_journals, require_data_folder
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
    for path in left_by_journals(layout.journals):
        reason = "its journal is gone: restore that from a backup; of a finished date crawler gc removes it"
        done.findings.append(Finding(FindingKind.FOREIGN, str(path.relative_to(data)), reason))
    return done


def _add(done: Verified, data: Path, path: Path, damages: list[str]) -> None:
    name = path.relative_to(data).as_posix()
    done.databases += 1
    done.findings += [Finding(FindingKind.DAMAGED, name, damage) for damage in damages]
