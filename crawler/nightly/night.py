"""What a run is asked to do, and the notes of its report: every step of a night is given both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crawler import events
from crawler.models.encodings import without_secret
from crawler.models.errors import InputError
from crawler.models.keys import ApiKey
from crawler.models.night import RunFacts
from crawler.nightly.dates import DateRule, what_is_left
from crawler.nightly.folders import require_form
from crawler.nightly.process import Signals
from crawler.nightly.shell import Commands, key_variables
from crawler.nightly.world import World
from crawler.options import RunSettings, Settings
from crawler.ports import UNOBSERVED, Observer
from crawler.sellers.listing import SellerList
from crawler.store.held import held_of
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger


class Notes:
    """What the report says in sentences, each once; whatever is added is logged as well."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.has_warning = False

    def add(self, sentence: events.Sentence, *, is_logged: bool = False) -> None:
        """Add a sentence, unless it is there already; `is_logged`: the log has said it."""
        if sentence not in self.texts:
            self.texts.append(str(sentence))
            self.has_warning |= sentence.event.level != events.INFO
            if not is_logged:
                sentence.log()

    def has_about(self, beginning: str) -> bool:
        """Whether a sentence begins so."""
        return any(text.startswith(beginning) for text in self.texts)


@dataclass(frozen=True, slots=True)
class Night:
    """What one run is asked to do, and the world that it does it in.

    `flags` are what sets these settings again, for commands to be shown; `options` is the same for
    `--resume`, kept in the journal. `observer` is told of the crawl, and has notes of its own. `before` is
    what the report says of the nights before this one, and the log has said; None: what the ledger knows.
    """

    settings: Settings
    keys: Sequence[ApiKey]
    listed: SellerList
    source: str
    crawl_date: date
    signals: Signals
    world: World
    flags: Sequence[str] = ()
    options: str = "{}"
    observer: Observer = UNOBSERVED
    before: Sequence[events.Sentence] | None = None

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
    def facts(self) -> RunFacts:
        """What the ledger keeps of a run from its beginning on: what it is asked for."""
        run, budget = self.run, self.settings.credits.budget
        return RunFacts(
            strategy=run.strategy,
            sort=run.sort,
            order=run.order,
            top=run.top,
            min_value=run.min_value,
            budget=budget,
            every=run.every,
        )

    @property
    def commands(self) -> Commands:
        """The commands of this data folder, by the run's flags."""
        return Commands.of(self.data, self.flags, key_variables(self.settings.api.key_file))

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
        return self.without_keys(self.commands.run(ledger, self.crawl_date, own, extra, variables))

    def without_keys(self, text: str) -> str:
        """The text with every key struck out; one may be the beginning of another."""
        for value in sorted((key.value for key in self.keys), key=len, reverse=True):
            text = without_secret(text, value)
        return text

    def require_open(self, ledger: Ledger, dates: DateRule) -> None:
        """Raise `InputError` where only `--late` goes on with the crawl date."""
        day = ledger.date(self.crawl_date)
        if day is None or self.run.late or not dates.is_closed(day):
            return
        fresh = ["--fresh"] if self.run.fresh else []
        raise InputError(
            f"crawl date {self.crawl_date} {dates.why_closed(day)}: nothing was sent; "
            f"go on with it by: {self.command(ledger, dates, fresh)}"
        )

    def note_form(self, notes: Notes) -> None:
        """Note where the nights have region folders. Raises `InputError` as `require_form` does."""
        if require_form(self.settings):
            notes.add(events.REGION_FOLDERS_KEPT(upgrade=self.commands.upgrade()))

    def note_unfinished(self, ledger: Ledger, dates: DateRule, notes: Notes) -> None:
        """Note all unfinished earlier dates in one line, which --quiet leaves to the report."""
        days = [day for day in dates.unfinished(ledger.dates()) if day.crawl_date < self.crawl_date]
        if not days:
            return
        newest, oldest = days[0], days[-1]
        several = f"{len(days)} crawl dates from {oldest.crawl_date} on are unfinished; the newest: "
        is_held = not newest.is_published and held_of(self.data, newest.crawl_date) is not None
        accept = self.commands.accept(newest.crawl_date) if is_held else ""
        unfinished = events.DATES_UNFINISHED(
            dates=len(days),
            dates_words=several if len(days) > 1 else "",
            crawl_date=newest.crawl_date,
            left_words=what_is_left(newest),
            accept=accept,
            accept_words=accept and f"; publish it as it is by: {accept}",
            close=self.commands.close(newest.crawl_date),
            go_on=self.commands.run(ledger, newest.crawl_date),
        )
        notes.add(unfinished)
