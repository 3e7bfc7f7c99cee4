"""`crawler backup`: a whole copy of the data folder, also while a run is on."""

from __future__ import annotations

import sys
from pathlib import Path

from crawler.nightly.backup import back_up
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.store.layout import require_data_folder


def backup_command(settings: Settings, target: Path) -> int:
    """Copy the data folder and say so; 0.

    Raises `InputError` where it is no data folder or the target cannot be one, `OutputError` where it
    cannot be written.
    """
    data = settings.run.data
    require_data_folder(data)
    done = back_up(data, target, World(), _say)
    beside = "" if done.run is None else f"; {done.run} was under way: what it does from now on is not in it"
    size = f"{done.files} files, {done.bytes / (1 << 20):.1f} MiB"
    sys.stdout.write(f"{data} is copied to {target}: {size}{beside}\n")
    for half in done.cut_off:
        _say(f"{half} is left of a backup that was cut off, or is still being made: remove it once none is")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"crawler: {text}\n")
    sys.stderr.flush()
