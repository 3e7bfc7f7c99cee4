"""`crawler upgrade` under the lock: whether it may begin, and from when on the rows of a date are late."""

from __future__ import annotations

from functools import partial

from crawler.history.upgrading import Upgraded, Upgrading
from crawler.models.errors import InputError, OutputError
from crawler.nightly.dates import late_from_in
from crawler.nightly.folders import open_folder
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.store.layout import VIDEOS, Layout, StagedFolder, has_region_folders, parquet_files


def upgrade(settings: Settings, world: World) -> Upgraded:
    """Give each night one file in the place of region folders; no night: that is done already.

    Sends nothing. Raises `DataLockedError` while a run holds the folder, `InputError` where the settings ask
    for region folders, `OutputError` where the nights cannot be upgraded: all are then as they were.
    """
    data = settings.run.data
    run_id = world.run_id(world.now(), "-upgrade")
    with open_folder(data, run_id) as guard:
        if "region" in settings.output.partition_by:
            raise InputError(
                "output.partition_by asks for region folders: leave it out, then upgrade; nothing was changed"
            )
        if not has_region_folders(data):
            return Upgraded(0, 0)
        _require_room(settings, world)
        late_from = partial(late_from_in, settings.run, now=world.now())
        return Upgrading(data, StagedFolder(data, run_id), guard, late_from).run()


def _require_room(settings: Settings, world: World) -> None:
    """Raise `OutputError` where the new files do not fit beside the old ones."""
    data = settings.run.data
    files = parquet_files(Layout(data).kind(VIDEOS))
    needed = sum(path.stat().st_size for path in files) + (settings.journal.reserve_mib << 20)
    free = world.free_bytes(data.absolute())
    if free < needed:
        raise OutputError(
            f"only {free >> 20} MiB are free under {data}, and {needed >> 20} MiB are needed, as old and new "
            "files lie beside each other for a while: make room, then upgrade; nothing was changed"
        )
