"""The command that goes on with a crawl date, as it is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from crawler.errors import CrawlerError
from crawler.nightly.dates import quoted
from crawler.sellers import as_name, as_text
from crawler.store.journal import Journal, journal_path, latest_generation
from crawler.store.ledger import Ledger


def run_command(
    ledger: Ledger,
    data: Path,
    crawl_date: date,
    place: Sequence[str],
    own: tuple[str, Sequence[str]] | None = None,
    extra: Sequence[str] = (),
) -> str:
    """The command that goes on with a crawl date, as a shell reads it.

    By the seller list and the flags that its journal notes, or by `own`, those of the run that asks;
    `place` is the flags that lead to this data folder and its settings.
    """
    source, flags = _begun_with(data, crawl_date, place) if own is None else own
    words = ["crawler", "run", source, *flags, "--crawl-date", crawl_date.isoformat()]
    words += [flag for flag in extra if flag not in flags]
    command = quoted(words) + (" < the list" if source == "-" else "")
    if "--budget" in flags and ledger.spent_for(crawl_date) >= int(flags[flags.index("--budget") + 1]):
        command += "  # with a larger --budget"
    return command


def _begun_with(data: Path, crawl_date: date, place: Sequence[str]) -> tuple[str, list[str]]:
    path = journal_path(data, crawl_date, latest_generation(data, crawl_date))
    source, flags = "SELLERS", list(place)
    if path.exists():
        with suppress(CrawlerError), Journal(path, only_read=True) as journal:
            source = as_name(journal.meta("source") or as_text(source))
            noted = journal.meta("flags")
            flags = flags if noted is None else json.loads(noted)
    return source, flags
