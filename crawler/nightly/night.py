"""What every step of a night is given: what the run is asked to do, and the notes of its report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crawler.nightly.dates import DateRule, place_of
from crawler.nightly.going_on import run_command
from crawler.nightly.signals import Signals
from crawler.nightly.world import World
from crawler.options import RunSettings, Settings
from crawler.report.progress import LOG
from crawler.sellers.listing import SellerList
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger

_SECRET_LENGTH = 8
"""Characters from which on a key is struck out of what is printed: a shorter one may be part of any word."""


@dataclass(frozen=True, slots=True)
class Night:
    """What one run is asked to do, and the world that it does it in.

    `flags` are what sets these settings again, for commands to be shown; `options` is the same for
    `--resume`, kept in the journal.
    """

    settings: Settings
    key: str
    listed: SellerList
    source: str
    crawl_date: date
    signals: Signals
    world: World
    flags: Sequence[str] = ()
    options: str = "{}"

    @property
    def run(self) -> RunSettings:
        """The settings of `crawler run`."""
        return self.settings.run

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.settings.run.data

    @property
    def layout(self) -> Layout:
        """The paths below the data folder."""
        return Layout(self.settings.run.data)

    @property
    def sorting(self) -> str:
        """What pages are sorted by, and which way, as snapshots note it."""
        return f"{self.run.sort} {self.run.order}"

    @property
    def place(self) -> list[str]:
        """The flags that lead to the data folder and the settings file."""
        return place_of(self.flags)

    def command(
        self, ledger: Ledger, dates: DateRule, extra: Sequence[str] = (), variables: Sequence[str] = ()
    ) -> str:
        """What goes on with the crawl date: its own list, and whatever is not set by default here.

        `extra` are further flags, `variables` are set for the command alone.
        """
        day = ledger.date(self.crawl_date)
        if day is not None and dates.is_closed(day):
            extra = (*extra, "--late")
        own = (self.source, self.flags)
        command = run_command(ledger, self.data, self.crawl_date, self.place, own, extra, variables)
        return command.replace(self.key, "***") if len(self.key) >= _SECRET_LENGTH else command


class Notes:
    """What the report says in sentences, each once; whatever is added is logged as well."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str, level: int = logging.WARNING) -> None:
        """Add a sentence, unless it is there already."""
        if text not in self.texts:
            self.texts.append(text)
            LOG.log(level, "%s", text)

    def has_about(self, beginning: str) -> bool:
        """Whether a sentence begins so."""
        return any(text.startswith(beginning) for text in self.texts)
