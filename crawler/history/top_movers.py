"""The videos that gained most in a night, each proved or likely to be among them (`--top-movers`).

All of it is read from published files. Open it to change what is reported of movers, or what casts doubt on
all of them; `unread_videos.py` has what stands in their way, docs/data.md the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.history.earlier import DamagedSnapshotError, earlier_snapshots, midnight_of
from crawler.history.movers import night_changes
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.history.unread_videos import Unread, UnreadVideos
from crawler.models.api import SORT_COLUMNS, SortField, SortOrder
from crawler.models.certainty import Certainty
from crawler.models.dataset import gain_of
from crawler.rules.dates import stamp
from crawler.rules.movers import certainty, worst_places
from crawler.store.layout import SELLERS, VIDEOS
from crawler.store.months import file_of_archived

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class TopMovers:
    """The movers of a night, the largest gains first: rows of `changes/`, and the worst place of each.

    `unread` is what stands in their way. Where there are `doubts`, in sentences, it is None, and nothing is
    proved.
    """

    by: SortField
    top: int
    movers: pa.Table
    worst_places: Sequence[int]
    unread: Unread | None
    doubts: Sequence[str]

    @property
    def certainties(self) -> Sequence[Certainty]:
        """Whether each of them is proved."""
        is_open = self.unread is None
        return [Certainty.LIKELY if is_open else certainty(place, self.top) for place in self.worst_places]

    def as_document(self) -> dict[str, Any]:
        """As `report.json` has it."""
        each = zip(self.movers.to_pylist(), self.certainties, self.worst_places, strict=True)
        return {
            "by": self.by.value,
            "top": self.top,
            "rows": [self._row(*one) for one in each],
            "unread": None if self.unread is None else _in_the_way(self.unread),
            "doubts": [*self.doubts],
        }

    def _row(self, mover: Mapping[str, Any], certain: Certainty, worst_place: int) -> dict[str, Any]:
        column = SORT_COLUMNS[self.by]
        return {
            "seller_id": mover["seller_id"],
            "video_id": mover["video_id"],
            "gain": mover[gain_of(column)],
            "value": mover[column],
            "since": stamp(mover["since"]),
            "until": stamp(mover["until"]),
            "certainty": certain.value,
            # Beyond the places that are wanted only the largest gains are known.
            "worst_place": worst_place if certain is Certainty.PROVED else None,
        }


def top_movers(data: Path, day: date, by: SortField, top: int, window: timedelta) -> TopMovers:
    """The `top` movers of a date that has changes.

    `window` is how far back an observation counts. Raises `UnreadableError` where the date's own files cannot
    be read; damage to earlier snapshots is a doubt.
    """
    found = night_changes(data, day, by, top)
    values: list[Any] = found.movers[gain_of(SORT_COLUMNS[by])].to_pylist()
    gains = [float(gain) for gain in values]
    unread, doubts = Unread(gains[-1] if gains else 0.0, top), []
    if found.outdated_by:
        doubts.append(f"changes are out of date since {', '.join(found.outdated_by)} was published")
    elif (month := file_of_archived(data, day)) is not None:
        doubts.append(f"its rows were compacted: they are in {month.relative_to(data)}")
    else:
        try:
            _unread_videos(data, day, by, window, found.run_id).add_to(unread)
        except DamagedSnapshotError as error:
            doubts.append(str(error))
    places = worst_places(gains, unread.largest)
    return TopMovers(by, top, found.movers, places, None if doubts else unread, doubts)


def _unread_videos(data: Path, day: date, by: SortField, window: timedelta, run_id: str) -> UnreadVideos:
    sellers, videos = (SnapshotFiles.published(data, kind, day) for kind in (SELLERS, VIDEOS))
    if videos.runs - {run_id}:
        raise UnreadableError(
            f"videos/ of {day} is of another run than its changes: an exchange is under way"
        )
    span, length = sellers.read_span, window // _MILLISECOND
    end = midnight_of(day + timedelta(days=1)) if span is None else span[1] + 1
    return UnreadVideos(
        *(sellers, videos, earlier_snapshots(data, (end if span is None else span[0]) - length, end, [day])),
        *(SORT_COLUMNS[by], length, end),
        is_sorted=sellers.sorting == f"{by} {SortOrder.DESC}",
    )


def _in_the_way(unread: Unread) -> dict[str, Any]:
    return {
        "unbounded_sellers": unread.unbounded_sellers,
        "unbounded_videos": unread.unbounded_videos,
        "rivals": unread.above_least,
        "largest_gain": unread.most if isfinite(unread.most) else None,
    }
