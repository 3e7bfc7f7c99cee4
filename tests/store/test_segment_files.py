"""A segment's files as they are found: changed, too long, of another kind, or on a disk that cannot read."""

from __future__ import annotations

import io
from errno import EIO, ENOMEM
from pathlib import Path

import pyarrow as pa
import pytest

from crawler.api.columns import read_batch
from crawler.models.page import Page
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, segment_rows
from crawler.store.parts import PartRows
from crawler.store.records import Record
from crawler.store.region_files import RegionFiles
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA
from crawler.store.segment_file import _read, damage_of
from crawler.store.segments import SegmentWriter

BODY = b'{"data":[{"video_id":"1"}]}'


@pytest.mark.parametrize(
    ("harm", "why"), [("byte", "its content has changed"), ("more", "content"), ("folder", "Is a directory")]
)
def test_damage_of_a_segment_is_named(tmp_path: Path, harm: str, why: str) -> None:
    with Journal(tmp_path / "2026-11-23.1.sqlite") as journal:
        writer = SegmentWriter(journal, read_batch)
        writer.write([Record("7", "run", 1, Page("7", 1, BODY, 1, 1, 5, "r"), None)])
        writer.flush()
        assert damage_of(journal) is None
        (segment,) = journal.segments()
        rows = segment_rows(JournalFiles(journal.path).segments, segment.name)
        content = rows.read_bytes()
        rows.unlink()
        if harm == "folder":
            rows.mkdir()
        else:
            rows.write_bytes(content + b"x" if harm == "more" else b"x" + content[1:])
        damage = damage_of(journal) or ""
    assert damage.startswith(f"{rows} is missing or damaged (")
    assert why in damage


class Unreadable(io.BytesIO):
    """A file whose first bytes cannot be read."""

    code = EIO

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == 0:
            raise OSError(self.code, "cannot be read")
        return super().read(size)


def test_what_the_disk_cannot_read_is_passed_over() -> None:
    file = Unreadable(b"abcdef")
    assert (_read(file, 3), _read(file, 3)) == (b"", b"def")
    file = Unreadable(b"abcdef")
    file.code = ENOMEM
    with pytest.raises(OSError, match="cannot be read"):
        _read(file, 3)


def test_regions_are_not_finished_where_writing_them_failed(tmp_path: Path) -> None:
    def fail(files: RegionFiles) -> None:
        rows = pa.Table.from_pylist([{"video_id": "1", "folder": NO_REGION}], SEGMENT_SCHEMA)
        files.add(PartRows(rows, pa.array([0])))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), RegionFiles(tmp_path, "run", tmp_path) as files:
        fail(files)
    assert not list(tmp_path.rglob("*.parquet"))
