"""`crawler upload`: copies what is published to where it is not yet; sends the API nothing."""

from __future__ import annotations

import sys

from crawler.models.errors import CopyError, InputError
from crawler.nightly.copying_out import copy_to_places, fault_of
from crawler.nightly.process import Signals
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.report.log_lines import set_up_logging
from crawler.store.layout import Layout, require_data_folder
from crawler.store.lock import hold_lock
from crawler.store.sqlite import state_errors


def upload_command(settings: Settings) -> int:
    """Copy to each place of the settings what it lacks, and say so; 0, or the code of a signal.

    Raises `InputError` where it is no data folder or no place is named, `DataLockedError` while a run holds
    the folder, `CopyError` where not all could be copied, with what was.
    """
    data, world = settings.run.data, World()
    require_data_folder(data)
    if not settings.output.is_copied:
        raise InputError("nowhere to upload to: set output.url, such as s3://bucket/folder, or output.delta")
    set_up_logging(settings.log)
    run_id, signals = world.run_id(world.now(), "-upload"), Signals()
    with hold_lock(data, run_id), state_errors(Layout(data).state), signals.handled():
        results = copy_to_places(
            data, run_id, settings.output, lambda: signals.received is not None, always=True
        )
    for copied in results:
        mib = copied.bytes / (1 << 20)
        words = f"{len(copied.parts)} copied ({mib:.1f} MiB), {copied.removed} objects removed"
        left = f", {len(copied.left)} left" if copied.left else ""
        sys.stdout.write(f"{copied.place}: {words}{left}\n")
    if (fault := fault_of(results)) is not None:
        raise fault
    if damages := [damage for copied in results for damage in copied.damages]:
        raise CopyError(f"not copied, as it is damaged here: {'; '.join(damages)}")
    return 0 if signals.received is None else 128 + signals.received
