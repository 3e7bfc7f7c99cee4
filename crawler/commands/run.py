"""`crawler run`: the nightly job."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from crawler import events
from crawler.api.proxies import proxy_for
from crawler.commands.telling import Telling
from crawler.nightly.catching_up import catch_up, date_to_catch_up
from crawler.nightly.night import Night
from crawler.nightly.process import Signals, allow_connections
from crawler.nightly.resuming import source_and_date
from crawler.nightly.run import run_night
from crawler.nightly.world import REAL_WORLD, World
from crawler.options import Settings
from crawler.report.log_lines import hide, set_up_logging
from crawler.sellers.reading import read_sellers
from crawler.settings.key import read_keys
from crawler.settings.load import Loaded
from crawler.settings.resume import flags_of, options_of

_MALLOC_ARENA_MAX = -8
"""What glibc calls the setting."""
_GC_THRESHOLD = 50_000
"""Objects that may come to be before cycles are looked for among them: some hundred pages' worth."""


def run_command(loaded: Loaded, sellers: str | None, telling: Telling, world: World = REAL_WORLD) -> int:
    """Run the nightly job, and tell of it; returns its exit code.

    Raises `CrawlerError` where nothing could be begun.
    """
    _share_one_heap()
    set_up_logging(loaded.settings.log, loaded.warnings)
    telling.begun()
    loaded, source, crawl_date = source_and_date(loaded, sellers, world.now())
    settings = loaded.settings
    keys = read_keys(settings, os.environ)
    telling.knows(crawl_date, [key.value for key in keys])
    for key in keys:
        hide(key.value)
    proxy_for(settings.api.url)
    world = replace(world, connections=_connections(settings))
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    signals = Signals()
    with signals.handled(), _rare_collections():
        # A pipe, as `<(…)` names one, can be read only once.
        kept = source if Path(source).is_file() else "-"
        flags, options = flags_of(loaded), options_of(loaded)
        earlier = date_to_catch_up(loaded, crawl_date, world.now())
        night = Night(settings, keys, listed, kept, crawl_date, signals, world, flags, options, telling)
        if earlier is not None:
            night = replace(night, before=catch_up(earlier, loaded, night))
        report = run_night(night)
        if settings.run.json:
            sys.stdout.buffer.write(report.as_json())
            sys.stdout.flush()
        signals.on_stop = telling.give_up
        telling.ended(report)
    return report.exit_code


def _connections(settings: Settings) -> int:
    allowed, workers = allow_connections(), settings.run.workers
    if workers != "auto" and workers > allowed:
        events.WORKERS_LIMITED(workers=allowed).log()
    return allowed


def _share_one_heap() -> None:
    """Keep glibc from giving each thread a heap, of which each keeps what its thread once needed."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MALLOC_ARENA_MAX, 1)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cycles less often, and not among what was loaded at the start: a crawl leaves hardly any."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
