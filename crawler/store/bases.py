"""What stands for the sellers of a list, in columns: open it to change what is known of each.

A list may have hundreds of thousands of sellers, so nothing here is an object for each of them; sellers whose
stretches were last read alike share one text.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.store.records import Base, last_read_of

_IDS_AT_A_TIME = 16_384


class Bases:
    """Bases by their places, in the order in which they were added; see `Base`.

    Rates are added for all places, in their order, or for none.
    """

    def __init__(self) -> None:
        self._chunks: list[pa.Array[Any]] = []
        self._waiting: list[str] = []
        # Dates are numbers here, 0 for none.
        self._sources, self._since = array("i"), array("i")
        self._rates, self._ends = array("d"), array("Q", [0])
        self._stretches: list[str] = []
        self._texts: dict[str, str] = {}
        self.videos = array("q")

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Base]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int) -> Base:
        since = self._since[place]
        rates: list[float] = []
        if place + 1 < len(self._ends):
            rates = self._rates[self._ends[place] : self._ends[place + 1]].tolist()
        return Base(
            date.fromordinal(self._sources[place]),
            self.videos[place],
            last_read_of(self._stretches[place]),
            rates,
            date.fromordinal(since) if since else None,
        )

    @property
    def ids(self) -> pa.Array[Any]:
        """The seller of each place."""
        self._pack()
        if len(self._chunks) > 1:
            self._chunks = [pa.concat_arrays(self._chunks)]
        return self._chunks[0] if self._chunks else pa.array([], pa.string())

    def items(self) -> Iterator[tuple[str, Base]]:
        """Each seller with its base."""
        self._pack()
        bases = iter(self)
        for chunk in self._chunks:
            for start in range(0, len(chunk), _IDS_AT_A_TIME):
                ids = chunk.slice(start, _IDS_AT_A_TIME).to_pylist()
                yield from zip(map(str, ids), bases, strict=False)

    def add(self, seller_id: str, source: date, videos: int, stretches: str) -> None:
        """Add a seller; `stretches` is the text that `last_read_of` reads."""
        self._waiting.append(seller_id)
        self._sources.append(source.toordinal())
        self._since.append(0)
        self._stretches.append(self._texts.setdefault(stretches, stretches))
        self.videos.append(videos)
        if len(self._waiting) == _IDS_AT_A_TIME:
            self._pack()

    def extend(self, others: Bases) -> None:
        """Add all that others have, before any rates."""
        self._pack()
        self._chunks.append(others.ids)
        self._sources += others._sources
        self._since += others._since
        self._stretches += (self._texts.setdefault(text, text) for text in others._stretches)
        self.videos += others.videos

    def add_rates(self, rates: Iterable[float]) -> None:
        """Add the rates of the first place that has none."""
        self._rates.extend(rates)
        self._ends.append(len(self._rates))

    def places_of(self, ids: pa.Array[Any]) -> Iterator[int | None]:
        """The place of each of some sellers; None for one that nothing stands for."""
        places = pc.index_in(ids, value_set=self.ids)
        for start in range(0, len(places), _IDS_AT_A_TIME):
            yield from places.slice(start, _IDS_AT_A_TIME).to_pylist()

    def without_rows(self, place: int, rows: int, since: date) -> None:
        """Let so many rows go of the base at a place: those crawled for a date before `since`."""
        self.videos[place] -= rows
        self._since[place] = since.toordinal()

    def _pack(self) -> None:
        if self._waiting:
            self._chunks.append(pa.array(self._waiting, pa.string()))
            self._waiting = []
