"""`crawler compact`: print which months were made of which nights, and what that saved."""

from __future__ import annotations

import sys
from dataclasses import asdict

import orjson

from crawler.commands.gc import in_units
from crawler.models.errors import OutputError
from crawler.nightly.compacting import Compacted, compact
from crawler.nightly.month_plans import Month
from crawler.nightly.world import World
from crawler.options import Settings


def compact_command(
    settings: Settings, older_than: int | None, keep: int | None, *, is_dry: bool, as_json: bool
) -> int:
    """Compact old months, or only list them, and say so; 0.

    Raises `InputError` where that must not be, `DataLockedError` while another process compacts,
    `OutputError` where a month could not be compacted.
    """
    done = compact(settings, World(), older_than, keep, is_dry=is_dry)
    for note in done.notes:
        sys.stderr.write(f"crawler: {note}\n")
    (_print_json if as_json else _print_text)(done, is_dry=is_dry)
    if done.failed:
        reasons = "; ".join(f"{month}: {reason}" for month, reason in done.failed.items())
        raise OutputError(f"not compacted, and as it was before: {reasons}")
    return 0


def _print_text(done: Compacted, *, is_dry: bool) -> None:
    for month in done.months:
        sys.stdout.write(f"{_in_words(month)}\n")
    if not done.months:
        sys.stdout.write("nothing to compact\n")
    elif is_dry:
        sys.stdout.write("nothing was changed (--dry-run)\n")


def _in_words(month: Month) -> str:
    words = f"{month.month}: {len(month.nights)} nights"
    if month.rows is not None:
        words += f", {month.rows} rows"
    words += f"; {len(month.taken)} taken out of videos/"
    if month.dropped:
        words += f", {len(month.dropped)} dropped by --keep"
    words += f"; {month.files_before} files, {in_units(month.bytes_before)}"
    return words if month.bytes_after is None else f"{words}, now one of {in_units(month.bytes_after)}"


def _print_json(done: Compacted, *, is_dry: bool) -> None:
    document = {"dry_run": is_dry, **asdict(done)}
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
