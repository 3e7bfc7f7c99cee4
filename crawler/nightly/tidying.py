"""Removing what is of no more use, on demand: what `crawler gc` does, under the lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from crawler.models.errors import DataLockedError
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.rules.dates import doubt_by_last_run
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.lock import compact_lock, hold_lock
from crawler.store.retention import RUN, Leftover, cut_off, left_behind, outworn, ownerless_digests, removed


@dataclass(frozen=True, slots=True)
class Tidied:
    """What is of no more use, each with its bytes; notes; and the paths that could not be removed."""

    leftovers: list[tuple[Leftover, int]]
    notes: list[str] = field(default_factory=list)
    stuck: list[Path] = field(default_factory=list)


def tidy(settings: Settings, world: World, *, is_dry: bool) -> Tidied:
    """Remove run folders and finished journals by age, and what was left behind; only find it if `is_dry`.

    Raises `DataLockedError` while a run holds the folder, `OutputError` where the ledger cannot be read.
    """
    data = settings.run.data
    with hold_lock(data, world.run_id(world.now(), "-gc")), _half_made_months(data) as months:
        notes: list[str] = []
        found = [*_by_age(settings, world, notes)]
        of_old = {path for leftover in found for path in leftover.paths}
        others = (*left_behind(data), *cut_off(data), *months, *ownerless_digests(data))
        found += [other for other in others if of_old.isdisjoint((*other.paths, *other.paths[0].parents))]
        sized = [(leftover, leftover.bytes) for leftover in found]
        stuck = [] if is_dry else removed(found)
        if not is_dry and any(leftover.kind == RUN for leftover in found):
            notes += _indexed_again(settings, world)
        return Tidied(sized, notes, stuck)


@contextmanager
def _half_made_months(data: Path) -> Iterator[list[Leftover]]:
    """What a killed `compact` has left; nothing where one is on, and none begins while the block runs."""
    with ExitStack() as stack:
        left: list[Leftover] = []
        folder = Layout(data).compacting
        if folder.exists():
            with suppress(DataLockedError):
                stack.enter_context(compact_lock(data))
                left.append(Leftover("month half-made", (folder,)))
        yield left


def _indexed_again(settings: Settings, world: World) -> list[str]:
    """Write the index of all nights without links to the pages that have gone."""
    from crawler.nightly.page_making import refresh_index  # noqa: PLC0415 - heavy

    with Ledger(settings.run.data, only_read=True) as ledger:
        return refresh_index(settings.run, ledger, world.now())


def _by_age(settings: Settings, world: World, notes: list[str]) -> list[Leftover]:
    data = settings.run.data
    if not Layout(data).ledger.exists():
        notes.append("there is no ledger to say which dates are finished: nothing is removed for its age")
        return []
    with Ledger(data) as ledger:
        doubt, unfinished = doubt_by_last_run(world.now(), ledger.last_moment()), ledger.unpublished()
    if doubt is not None:
        notes.append(doubt)
        return []
    return [*outworn(data, settings.run.keep_days, unfinished)]
