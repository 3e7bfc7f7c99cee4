"""What goes to the copying process, and what comes from it: lines of JSON in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import orjson

from crawler.copies.parts import LocalFile, Part
from crawler.copies.places import Place


@dataclass(frozen=True, slots=True)
class Job:
    """Copy `parts` of the folder `data` to a place; or, with `probe`, only find out if it can be written.

    `known` names the parts that were copied there as they are, as far as is known here.
    """

    task: Literal["copy", "probe"]
    place: Place
    data: Path
    dataset: str
    run_id: str
    grace_s: float
    parts: Sequence[Part] = ()
    known: Sequence[str] = ()

    def as_line(self) -> bytes:
        """The job as `read` takes it."""
        document = {**{name: getattr(self, name) for name in self.__slots__}, "data": str(self.data)}
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, line: bytes) -> Self:
        """The job that `as_line` wrote."""
        known: dict[str, Any] = orjson.loads(line)
        parts = [
            Part(part["name"], tuple(LocalFile(**file) for file in part["files"]))
            for part in known.pop("parts")
        ]
        data, place = Path(known.pop("data")), Place(**known.pop("place"))
        return cls(**known, data=data, place=place, parts=parts)


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that the copying process says: a part is there, is damaged here, or why it ends early.

    `sent` is None where the part was there before, else its bytes. `is_final`: trying again is of no use.
    """

    part: str = ""
    sent: int | None = None
    damage: str = ""
    removed: int = 0
    fault: str = ""
    is_final: bool = False

    def as_line(self) -> bytes:
        """The same as a line."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, line: bytes) -> Self:
        """What `as_line` wrote. Raises `ValueError` or `TypeError` where it is no such line."""
        return cls(**orjson.loads(line))
