"""The manifest of a bucket: which objects make the dataset. Its schema is in docs/storage.md.

A reader of it sees each crawl date whole, and none twice. Nothing is read or written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

import orjson

from crawler.copies.parts import Part
from crawler.rules.dates import stamp
from crawler.store.layout import object_name

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the dataset, by its name below the copy's address; its date is None where it has none."""

    name: str
    kind: str
    crawl_date: str | None
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The objects of the dataset; `dataset` is the ID of its data folder, `sequence` counts the manifests.

    `superseded` are objects that readers of earlier manifests may still use, each since when.
    """

    dataset: str
    sequence: int = 0
    run_id: str = ""
    written_at: str = ""
    files: tuple[Entry, ...] = ()
    superseded: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """The manifest that `as_json` wrote. Raises `ValueError` where it is none of this format."""
        try:
            known: dict[str, Any] = orjson.loads(content)
            if (found := known.pop("format")) != FORMAT:
                raise ValueError(f"its format is {found}, not {FORMAT}")
            files = tuple(Entry(**entry) for entry in known.pop("files"))
            superseded = {entry["name"]: entry["since"] for entry in known.pop("superseded")}
            return cls(**known, files=files, superseded=superseded)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no manifest ({type(error).__name__}: {error})") from None

    def as_json(self) -> bytes:
        """The manifest as a reader gets it."""
        document = {
            "format": FORMAT,
            "dataset": self.dataset,
            "sequence": self.sequence,
            "run_id": self.run_id,
            "written_at": self.written_at,
            "files": self.files,
            "superseded": [{"name": name, "since": since} for name, since in self.superseded.items()],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def has(self, part: Part) -> bool:
        """Whether these very files of a part are in the manifest, and no others of it."""
        wanted = {(object_name(file.name, file.sha256), file.sha256) for file in part.files}
        return wanted == {(entry.name, entry.sha256) for entry in self._entries_of(part)}

    def with_part(self, part: Part, entries: Iterable[Entry], others: Iterable[str], now: datetime) -> Self:
        """The manifest with these entries for a part; what it had, and `others`, is superseded."""
        new = tuple(entries)
        names = {entry.name for entry in new}
        gone = [*(entry.name for entry in self._entries_of(part)), *others]
        files = (entry for entry in self.files if not _is_of(entry, part))
        superseded = {name: stamp(now) for name in gone} | dict(self.superseded)
        return replace(
            self,
            files=tuple(sorted((*files, *new), key=lambda entry: entry.name)),
            superseded={name: since for name, since in superseded.items() if name not in names},
        )

    def due(self, now: datetime, grace_s: float) -> list[str]:
        """What has been superseded for as long as readers are given."""
        oldest = now - timedelta(seconds=grace_s)
        return [name for name, since in self.superseded.items() if datetime.fromisoformat(since) <= oldest]

    def without(self, names: Iterable[str]) -> Self:
        """The manifest without objects that are gone."""
        gone = set(names)
        return replace(self, superseded={n: since for n, since in self.superseded.items() if n not in gone})

    def numbered(self, run_id: str, now: datetime) -> Self:
        """The manifest as the next one that is written."""
        return replace(self, sequence=self.sequence + 1, run_id=run_id, written_at=stamp(now))

    def _entries_of(self, part: Part) -> list[Entry]:
        return [entry for entry in self.files if _is_of(entry, part)]


def _is_of(entry: Entry, part: Part) -> bool:
    return entry.crawl_date == part.crawl_date and (part.crawl_date is not None or entry.kind == part.name)
