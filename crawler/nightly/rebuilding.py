"""Making `changes/` anew from what is published: open it to change which dates that is done for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from crawler.nightly.world import World
from crawler.options import Settings


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made anew: rows of `changes/` by kind for each date; `notes` say what could not be."""

    dates: dict[date, dict[str, int]]
    notes: list[str]


def rebuild(settings: Settings, world: World, crawl_date: date | None = None) -> Rebuilt:
    """Make `changes/`, and the sums of `sellers/`, anew where they are missing, damaged or out of date.

    For one date in any case, where it is given. Sends nothing. Raises `InputError` where nothing is published
    for it, `DataLockedError` while a run holds the folder, `OutputError` where they cannot be written.
    """
    raise NotImplementedError
