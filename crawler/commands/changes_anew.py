"""`crawler changes --rebuild`: the changes of nights made anew. Open it to change what it prints."""

from __future__ import annotations

import sys
from pathlib import Path

from crawler.commands.changes_forms import write_json
from crawler.models.errors import InputError, OutputError
from crawler.nightly.rebuilding import Rebuilt, rebuild
from crawler.nightly.world import World
from crawler.settings.load import Loaded
from crawler.settings.values import read_crawl_date


def rebuild_changes_command(loaded: Loaded, crawl_date: str | None, *, as_json: bool) -> int:
    """Make changes anew, of one date or of all that need it, and print of which; 0.

    Raises `CrawlerError` where that cannot be done, `OutputError` where it cannot be done for some dates.
    """
    settings = loaded.settings
    require_folder(settings.run.data)
    made = rebuild(settings, World(), None if crawl_date is None else read_crawl_date(crawl_date))
    for note in made.notes:
        sys.stderr.write(f"crawler: {note}\n")
    if as_json:
        counted = {str(day): counts for day, counts in made.dates.items()}
        failed = {str(day): why for day, why in made.failed.items()}
        write_json({"rebuilt": counted, "failed": failed, "notes": made.notes})
    else:
        _print_rebuilt(made)
    if made.failed:
        raise OutputError(
            "; ".join(f"no changes are made for {day}: {why}" for day, why in made.failed.items())
        )
    return 0


def _print_rebuilt(made: Rebuilt) -> None:
    for day, counts in made.dates.items():
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        sys.stdout.write(f"changes of {day} made anew: {kinds or 'nothing moved'}\n")
    if not made.dates and not made.failed:
        sys.stdout.write("no changes had to be made anew\n")


def require_folder(data: Path) -> None:
    """Raise `InputError` where there is no data folder."""
    if not data.is_dir():
        raise InputError(f"no data folder: {data} is no folder; name the one that a run writes with --data")
