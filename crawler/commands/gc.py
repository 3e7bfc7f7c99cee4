"""`crawler gc`: print what is of no more use and goes, with its size."""

from __future__ import annotations

import sys

import orjson

from crawler.models.errors import OutputError
from crawler.nightly.tidying import Tidied, tidy
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.store.layout import require_data_folder

_UNITS = ("B", "KiB", "MiB", "GiB")


def gc_command(settings: Settings, *, is_dry: bool, as_json: bool) -> int:
    """Remove what is of no more use, or only list it, and say so; 0.

    Raises `InputError` where it is no data folder, `DataLockedError` while a run holds it, `OutputError`
    where something could not be removed.
    """
    require_data_folder(settings.run.data)
    done = tidy(settings, World(), is_dry=is_dry)
    for note in done.notes:
        sys.stderr.write(f"crawler: {note}\n")
    (_print_json if as_json else _print_text)(done, is_dry=is_dry)
    if done.stuck:
        raise OutputError(
            f"{', '.join(map(str, done.stuck))} cannot be removed: correct the permissions, then run gc again"
        )
    return 0


def _print_text(done: Tidied, *, is_dry: bool) -> None:
    for leftover, size in done.leftovers:
        sys.stdout.write(f"{in_units(size):>10}  {leftover.kind}: {leftover.paths[0]}\n")
    total, verb = sum(size for _, size in done.leftovers), "would be freed" if is_dry else "freed"
    found = f"{len(done.leftovers)} found, {in_units(total)} {verb}"
    sys.stdout.write(f"{found if done.leftovers else 'nothing is of no more use'}\n")


def _print_json(done: Tidied, *, is_dry: bool) -> None:
    document = {
        "dry_run": is_dry,
        "bytes": sum(size for _, size in done.leftovers),
        "leftovers": [
            {"kind": leftover.kind, "paths": [*map(str, leftover.paths)], "bytes": size}
            for leftover, size in done.leftovers
        ],
        "notes": done.notes,
        "not_removed": [*map(str, done.stuck)],
    }
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def in_units(size: float) -> str:
    """A number of bytes for people."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} B"
