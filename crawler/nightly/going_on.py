"""The command that goes on with a crawl date, as it is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.models.encodings import as_name, as_text
from crawler.models.errors import CrawlerError
from crawler.nightly.shell import program, quoted, whole_path, with_whole_paths
from crawler.store.files import output_errors, write_whole
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout
from crawler.store.ledger import Ledger

_ANY_LIST = "SELLERS"
"""What a command names where no journal says which list its date was begun with."""


def run_command(
    ledger: Ledger,
    data: Path,
    crawl_date: date,
    place: Sequence[str],
    own: tuple[str, Sequence[str]] | None = None,
    extra: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> str:
    """The command that goes on with a crawl date, as a shell reads it.

    By the seller list and the flags that its journal notes, or by `own`, those of the run that asks;
    `place` is the flags that lead to this data folder and its settings, `variables` are set for the command
    alone. Where the budget in the flags is spent, it is raised by as much again.
    """
    source, flags = _begun_with(data, crawl_date, place) if own is None else own
    if source == "-":
        kept = JournalFiles(Layout(data).latest_journal(crawl_date)).piped_list
        # A run that was refused has kept none: then the list must be piped in again.
        source = str(kept) if kept.is_file() else source
    elif source != _ANY_LIST:
        source = whole_path(source)
    flags = with_whole_paths(_with_credit(flags, ledger, crawl_date), data)
    words = [*program(), "run", source, *flags, "--crawl-date", crawl_date.isoformat()]
    words += [flag for flag in extra if flag not in flags]
    return " ".join([*variables, quoted(words)])


def keep_list(journal: Path, column: str, ids: pa.Array[Any]) -> None:
    """Keep a list that came from standard input: the command that goes on with the date needs one."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({column: ids}), sink)
    kept = JournalFiles(journal).piped_list
    with output_errors(str(kept)):
        write_whole(kept, memoryview(sink.getvalue()), private=True)


def _with_credit(flags: Sequence[str], ledger: Ledger, crawl_date: date) -> list[str]:
    """The flags with a budget that lets a run of the date go on."""
    words = list(flags)
    if "--budget" not in words:
        return words
    at, spent = words.index("--budget") + 1, ledger.spent_for(crawl_date)
    budget = int(words[at])
    if spent >= budget:
        day = ledger.date(crawl_date)
        left = 0 if day is None else day.pending
        words[at] = str(spent + (budget or left or 1))
    return words


def _begun_with(data: Path, crawl_date: date, place: Sequence[str]) -> tuple[str, list[str]]:
    """The list and the flags that the date's journal notes; the data folder is where it is now."""
    path = Layout(data).latest_journal(crawl_date)
    source, flags = _ANY_LIST, list(place)
    if path.exists():
        with suppress(CrawlerError, ValueError), Journal(path, only_read=True) as journal:
            source = as_name(journal.meta("source") or as_text(source))
            noted = journal.meta("flags")
            flags = flags if noted is None else [*_without_data(json.loads(noted)), *_data_of(place)]
    return source, flags


def _data_of(flags: Sequence[str]) -> list[str]:
    at = flags.index("--data") if "--data" in flags else len(flags)
    return list(flags[at : at + 2])


def _without_data(flags: Sequence[str]) -> list[str]:
    at = flags.index("--data") if "--data" in flags else len(flags)
    return [*flags[:at], *flags[at + 2 :]]
