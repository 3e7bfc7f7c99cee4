"""`crawler compact`: which nights are taken out of `videos/` into months, and the result of it.

It holds a lock of its own, so that it can go on beside a run; only in the instant in which a night is taken
out of `videos/` does it hold the lock under which a run exchanges published files.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crawler.history.reader import UnreadableError
from crawler.models.errors import InputError, OutputError
from crawler.nightly.month_making import MonthMaking
from crawler.nightly.month_plans import Month, MonthPlans
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.rules.dates import doubt_by_last_run
from crawler.store import months
from crawler.store.files import output_errors, remove_replaced
from crawler.store.layout import (
    Layout,
    has_region_folders,
    require_data_folder,
)
from crawler.store.ledger import Ledger
from crawler.store.lock import compact_lock
from crawler.store.sqlite import state_errors


@dataclass(slots=True)
class Compacted:
    """The months that were compacted; of `failed` ones, why not; and notes."""

    months: list[Month] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def compact(
    settings: Settings, world: World, older_than: int | None = None, keep: int | None = None, *, is_dry: bool
) -> Compacted:
    """Make months in `archive/` of nights older than so many days; `keep` thins them as `kept_nights` does.

    Sends nothing. Raises `InputError` where the days are too few, or nights have region folders;
    `DataLockedError` while another process compacts; `OutputError` where the folder cannot be written.
    """
    data = settings.run.data
    require_data_folder(data)
    least = max(settings.history.window, settings.run.max_age)
    age = least if older_than is None else older_than
    if age < least:
        raise InputError(
            f"--older-than {age}: the next runs read the nights of the last {least} days (history.window, "
            f"run.max_age): name {least} or more"
        )
    if keep is not None and keep < age:
        raise InputError(f"--keep {keep}: only nights that are compacted can be thinned: name {age} or more")
    if has_region_folders(data):
        raise InputError(
            f"nights under {data} have region folders: give them one file each by crawler upgrade"
        )
    with compact_lock(data):
        step = _Compacting(settings, world, age, keep)
        return step.done if step.is_clock_doubtful() else step.run(is_dry=is_dry)


class _Compacting:
    """One go through all months."""

    def __init__(self, settings: Settings, world: World, age: int, keep: int | None) -> None:
        self._plans = MonthPlans(settings, world.now(), age, keep)
        self.done = Compacted([], self._plans.failed, self._plans.notes)
        self._data = settings.run.data
        self._now = world.now()
        self._making = MonthMaking(self._data, settings.journal.reserve_mib << 20, world, self._plans.notes)

    def is_clock_doubtful(self) -> bool:
        """Whether nothing may be done by the age of anything, which is noted then."""
        if not Layout(self._data).ledger.exists():
            return False
        with state_errors(Layout(self._data).state), Ledger(self._data, only_read=True) as ledger:
            doubt = doubt_by_last_run(self._now, ledger.last_moment())
        self.done.notes += [] if doubt is None else [doubt]
        return doubt is not None

    def run(self, *, is_dry: bool) -> Compacted:
        """Compact month after month; what hinders one month does not hinder another."""
        if not is_dry:
            self._clear()
        for plan in self._plans.each():
            if is_dry:
                self.done.months.append(plan.planned())
                continue
            try:
                with output_errors(f"archive/ under {self._data}"):
                    self.done.months.append(self._making.make(plan))
            except (UnreadableError, *months.FAULTS) as error:
                self.done.failed[plan.month] = str(error)
            except OutputError as error:
                # What cannot be written now cannot be written for the next month.
                self.done.failed[plan.month] = str(error)
                break
        if not is_dry:
            with output_errors(f"the digests under {self._data}"):
                self._making.settle(self._plans.archived().values())
            self._clear()
        return self.done

    def _clear(self) -> None:
        folder = Layout(self._data).compacting
        with output_errors(str(folder)):
            remove_replaced(folder, folder)
