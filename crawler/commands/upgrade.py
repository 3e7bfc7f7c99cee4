"""`crawler upgrade`: nights with region folders get one file each."""

from __future__ import annotations

import sys

from crawler.nightly.upgrading import upgrade
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.store.layout import require_data_folder


def upgrade_command(settings: Settings) -> int:
    """Upgrade a data folder and say so; 0. Raises `CrawlerError` where it cannot be upgraded."""
    require_data_folder(settings.run.data)
    done = upgrade(settings, World())
    sys.stdout.write(
        f"{done.nights} nights have one file each now, with the same {done.rows} rows\n"
        if done.nights
        else "nothing to upgrade: no night has region folders\n"
    )
    return 0
