"""What was copied where: a small file that outlives crashes, so that no place is asked what it has."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from crawler.copies.parts import Part
from crawler.copies.places import Place
from crawler.store.files import output_errors, write_whole
from crawler.store.layout import Layout

_FORMAT = 1


class Remembered:
    """What each place has, by the fingerprints of the parts; `dataset` is the ID of this data folder.

    What cannot be read counts as not copied: places find out themselves what they have.
    """

    def __init__(self, data: Path) -> None:
        self._path = Layout(data).copies
        known = _read(self._path)
        self.dataset: str = known.get("dataset") or secrets.token_hex(8)
        self._places: dict[str, dict[str, str]] = known.get("places") or {}

    def left(self, place: Place, parts: Iterable[Part]) -> list[Part]:
        """The parts that a place lacks, or has otherwise."""
        there = self._places.get(place.address, {})
        return [part for part in parts if there.get(part.name) != part.fingerprint]

    def note(self, place: Place, part: str, fingerprint: str) -> None:
        """Note durably that a place has a part. Raises `OutputError`."""
        self._places.setdefault(place.address, {})[part] = fingerprint
        self.keep()

    def keep(self) -> None:
        """Write the file. Raises `OutputError`."""
        document = {"format": _FORMAT, "dataset": self.dataset, "places": self._places}
        with output_errors(str(self._path)):
            write_whole(self._path, orjson.dumps(document, option=orjson.OPT_INDENT_2), private=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(known, dict) and known.get("format") == _FORMAT
    return known if is_ours else {}
