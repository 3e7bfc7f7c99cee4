"""What is watched while a crawl goes on: its display, the room on disk, its files, the clock."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from crawler.engine.stop import Stop
from crawler.models.errors import OutputError
from crawler.nightly.dates import require_begun
from crawler.nightly.engine import Engine
from crawler.nightly.folders import check_room
from crawler.nightly.opening import Opened
from crawler.ports import Api, TellsTime
from crawler.report.progress import Progress

_TICK_S = 0.25
_DATES_ENOUGH = 3
"""Answers whose Date must agree before a run ends for it in its midst."""


class Watch:
    """Watches a crawl, and stops it for what would make it useless.

    `clock_offset` is how far the API's clock is ahead of ours; None where that is not known.
    """

    def __init__(self, opened: Opened, stop: Stop) -> None:
        self._opened = opened
        self._stop = stop
        self.clock_offset: timedelta | None = None

    async def over(self, engine: Engine, api: Api) -> None:
        """Run the crawl to its end under watch."""
        log = self._opened.night.settings.log
        live = sys.stderr.isatty() and not (log.no_progress or log.quiet)
        try:
            with Progress(engine.figures, live=live) as progress:
                async with asyncio.TaskGroup() as group:
                    watcher = group.create_task(self._tick(progress, api))
                    try:
                        await engine.crawl.run()
                    finally:
                        watcher.cancel()
        finally:
            self._read_clock(api)

    async def _tick(self, progress: Progress, api: Api) -> None:
        night = self._opened.night
        while True:
            await asyncio.sleep(_TICK_S)
            progress.tick()
            try:
                self._opened.account.guard()
                check_room(night.settings, night.world)
                if self._read_clock(api) >= _DATES_ENOUGH:
                    require_begun(night.crawl_date, night.world.now(), self.clock_offset)
            except OutputError as error:
                self._stop.set(error)

    def _read_clock(self, api: Api) -> int:
        """Note how far the API's clock is ahead of ours; returns from how many answers that is known."""
        if not isinstance(api, TellsTime) or (clock := api.clock) is None:
            return 0
        now, answers = clock
        self.clock_offset = now - self._opened.night.world.now()
        return answers
