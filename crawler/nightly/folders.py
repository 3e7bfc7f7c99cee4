"""The data folder of a process that writes it: locked, its folders made, its room checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.models.errors import InputError, OutputError
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.store.files import make_private_folder, output_errors, tighten_tree
from crawler.store.layout import PUBLISHED_KINDS, RAW, Layout, has_region_folders
from crawler.store.lock import Guard, Uptime, hold_lock, uptime
from crawler.store.publishing import clean_staging
from crawler.store.sqlite import state_errors


@contextmanager
def open_folder(data: Path, run_id: str, uptime: Callable[[], Uptime | None] = uptime) -> Iterator[Guard]:
    """Lock the data folder for as long as the block runs; gives the guard of the files that it opens.

    Makes the folders that a run writes, and removes what a killed one left half-built. Raises
    `DataLockedError` while a run holds the folder, `OutputError` where a snapshot could not be moved from
    staging to its place, or a database cannot be read in the block.
    """
    with hold_lock(data, run_id, uptime) as guard, state_errors(Layout(data).state):
        _prepare(data)
        yield guard


def _prepare(data: Path) -> None:
    clean_staging(data)
    layout = Layout(data)
    state = layout.state
    with output_errors(str(state)):
        for folder in (layout.staging, layout.digests):
            make_private_folder(folder)
    tighten_tree(state)
    kept_raw = [folder for folder in (layout.kind(RAW),) if folder.exists()]
    for folder in (*map(layout.kind, PUBLISHED_KINDS), *kept_raw, layout.runs):
        with output_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            is_apart = folder.stat().st_dev != state.stat().st_dev
        if is_apart and folder != layout.runs:
            raise OutputError(
                f"{folder} lies on another file system than {state}: a snapshot could not be put in its "
                "place in one step; keep both on one"
            )


def require_form(settings: Settings) -> bool:
    """Whether the nights have region folders that the settings do not ask for.

    Raises `InputError` where the settings ask for region folders, and the nights have none.
    """
    is_wanted, is_there = "region" in settings.output.partition_by, has_region_folders(settings.run.data)
    if is_wanted and is_there is False:
        raise InputError(
            f"output.partition_by asks for region folders, but the nights under {settings.run.data} have one "
            "file each: nothing was sent; leave the setting out, or name a new folder with --data"
        )
    return is_there is True and not is_wanted


def check_room(settings: Settings, world: World) -> None:
    """Raise `OutputError` where less than the reserve is free under the data folder."""
    data, reserve = settings.run.data, settings.journal.reserve_mib << 20
    free = world.free_bytes(data.absolute())
    if free < reserve:
        raise OutputError(
            f"only {free >> 20} MiB are free under {data}, {reserve >> 20} MiB are kept in reserve: "
            "make room (or lower journal.reserve_mib), then run the same command again"
        )
