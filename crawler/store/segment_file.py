"""A segment's files: rows in Arrow's file format sorted by seller, and rejects, with checksums."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EIO
from itertools import accumulate, chain, count
from pathlib import Path
from typing import Any, BinaryIO
from zlib import adler32, crc32

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.store.checksums import with_bit_flipped_back
from crawler.store.files import fsync, make_private_file
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, segment_rejects, segment_rows
from crawler.store.records import Segment
from crawler.store.schema import SEGMENT_SCHEMA

_BATCH_ROWS, _BATCH_BYTES = 1280, 1 << 20
"""Rows that are read at a time: few, since of many segments one such batch each is held at once."""
_MAX_UNMERGED = 64
"""Segments up to which each holds the batch at a range's border for the next range, and none is merged."""
_MERGED, _RANGE = 32, 16
"""Segments that are merged into one, and batches' worth of rows that are sorted at a time for that."""

# zstd would save two fifths of the room, and takes twice as long.
_WRITING = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_HEAD = len(b"ARROW1\0\0") + SEGMENT_SCHEMA.serialize().size
"""Bytes of a file of rows before the first batch."""
_FILES = {"rows": segment_rows, "rejects": segment_rejects}


def write_segment(
    folder: Path, name: str, blocks: Iterable[tuple[pa.Table, Iterable[bytes]]]
) -> tuple[int, str]:
    """Write blocks of rows in the order of their sellers, each with lines that describe its rejects.

    Returns how many rejects there are, and the checksums of the pieces. The files are durable then, their
    names are not yet.
    """
    rows, rejected = segment_rows(folder, name), segment_rejects(folder, name)
    make_private_file(rows)
    rejects: list[list[bytes]] = []
    with _written(rows) as (write, ends):
        for table, lines in blocks:
            # Odd pages come as chunks of their own, which would each be a batch.
            write(table.combine_chunks())
            rejects.append(list(lines))
    fsync(rows)
    pieces = {"rows": _pieces(rows, [*ends, rows.stat().st_size]), "rejects": []}
    if any(rejects):
        make_private_file(rejected)
        rejected.write_bytes(b"".join(chain.from_iterable(rejects)))
        fsync(rejected)
        sizes = [sum(map(len, lines)) for lines in rejects if lines]
        pieces["rejects"] = _pieces(rejected, list(accumulate(sizes)))
    return sum(map(len, rejects)), orjson.dumps(pieces).decode()


def _pieces(path: Path, ends: Iterable[int]) -> list[tuple[int, int, int]]:
    """The length and the checksum of each piece of a file; of rows: the head, each batch, the foot."""
    pieces: list[tuple[int, int, int]] = []
    with path.open("rb") as file:
        begin = 0
        for end in ends:
            content = file.read(end - begin)
            pieces.append((end - begin, crc32(content), adler32(content)))
            begin = end
    return pieces


@contextmanager
def _written(path: Path) -> Iterator[tuple[Callable[[pa.Table], None], list[int]]]:
    """Give what appends a table of one chunk to a new file, and the places in it where a piece ends."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SEGMENT_SCHEMA, options=_WRITING) as out:
        ends: list[int] = []

        def write(table: pa.Table) -> None:
            most = len(table) * _BATCH_BYTES // max(1, table.nbytes)
            for batch in table.to_batches(max(1, min(_BATCH_ROWS, most))):
                # The head is written with the first batch.
                ends.extend([] if ends else [_HEAD])
                out.write_batch(batch)
                ends.append(file.tell())

        yield write, ends


def free_segment_name(journal: Journal, segment: Segment) -> str:
    """A name for a segment that takes another one's place, which no file and no segment has."""
    folder = JournalFiles(journal.path).segments
    taken = {path.stem for path in folder.iterdir()} | {known.name for known in journal.segments()}
    return next(n for n in (f"{segment.last_seq:012}-{number}" for number in count(1)) if n not in taken)


def page_of_line(line: bytes) -> tuple[str, int]:
    """The seller and the number of the page that a reject came on."""
    reject = orjson.loads(line)
    return reject["seller_id"], reject["page_num"]


def reject_files(journal: Journal) -> list[tuple[Segment, Path]]:
    """The journal's segments with rejects, the oldest first, and the file that holds these."""
    folder = JournalFiles(journal.path).segments
    return [
        (segment, segment_rejects(folder, segment.name)) for segment in journal.segments() if segment.rejected
    ]


def damage_of(journal: Journal) -> str | None:
    """What is wrong with the journal's segments, by their checksums; None where nothing is."""
    folder = JournalFiles(journal.path).segments
    for segment in journal.segments():
        why = "its content has changed"
        try:
            if is_intact(folder, segment):
                continue
        except OSError as error:
            why = str(error)
        return f"{segment_rows(folder, segment.name)} is missing or damaged ({why})"
    return None


class SegmentRows:
    """The rows of all segments by ranges of sellers, in any order; many are first merged in `folder`."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        of_journal = JournalFiles(journal.path).segments
        paths = [segment_rows(of_journal, segment.name) for segment in journal.segments()]
        if len(paths) > _MAX_UNMERGED:
            groups = [paths[start : start + _MERGED] for start in range(0, len(paths), _MERGED)]
            paths = [path for number, group in enumerate(groups) for path in _merged(group, folder, number)]
        self._files = [_SegmentFile(path, holds=len(paths) <= _MAX_UNMERGED) for path in paths]

    def between(self, after: str, last: str, names: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """Rows of the sellers above `after`, up to `last`; of all columns, or of those named."""
        for file in self._files:
            yield from file.between(after, last, list(names))


def rows_of(journal: Journal, seller_id: str, names: Sequence[str]) -> pa.Table:
    """A seller's rows in all segments, of all its crawls; the columns named."""
    folder = JournalFiles(journal.path).segments
    files = [_SegmentFile(segment_rows(folder, each.name), holds=False) for each in journal.segments()]
    schema = pa.schema([SEGMENT_SCHEMA.field(name) for name in ("seller_id", *names)])
    # What is left out of an ID sorts before it.
    found = (file.between(seller_id[:-1], seller_id, [*schema.names]) for file in files)
    rows = pa.Table.from_batches(chain.from_iterable(found), schema)
    return rows.filter(pc.equal(rows["seller_id"], pa.scalar(seller_id))).select([*names])


def _merged(paths: list[Path], folder: Path, number: int) -> list[Path]:
    """One file with the rows of several; these themselves where a single seller fills much of them."""
    files = [_SegmentFile(path, holds=True) for path in paths]
    counted = Counter(chain.from_iterable(file.lasts for file in files))
    if max(counted.values(), default=0) > _RANGE:
        return paths
    borders = sorted(counted)
    target = segment_rows(folder, str(number))
    with _written(target) as (write, _):
        after = ""
        for last in [*borders[_RANGE::_RANGE], *borders[-1:]]:
            rows = [batch for file in files for batch in file.between(after, last, [])]
            write(pa.Table.from_batches(rows, SEGMENT_SCHEMA).combine_chunks().sort_by("seller_id"))
            after = last
    return [target]


class _SegmentFile:
    """`lasts`: the last seller of each of its batches."""

    def __init__(self, path: Path, *, holds: bool) -> None:
        self._path = str(path)
        self._holds = holds
        self._held: tuple[int, pa.RecordBatch] | None = None
        with pa.OSFile(self._path, "rb") as file:
            ids = pa.ipc.open_file(file, options=_READING_IDS)
            batches = (ids.get_batch(number)[0] for number in range(ids.num_record_batches))
            self.lasts: list[str] = [str(batch[-1]) for batch in batches]

    def between(self, after: str, last: str, names: list[str]) -> Iterator[pa.RecordBatch]:
        number = bisect_right(self.lasts, after)
        if number == len(self.lasts):
            return
        # Other columns are not read: what did not compress would be kept by those beside it.
        reading = _reading(("seller_id", *names)) if names else _READING
        with pa.OSFile(self._path, "rb") as file:
            reader = pa.ipc.open_file(file, options=reading)
            while number < len(self.lasts):
                batch = reader.get_batch(number) if names else self._batch(reader, number)
                begin, end = _place_after(batch, after), _place_after(batch, last)
                if end > begin:
                    rows = batch.select(names) if names else batch
                    # A slice would keep all of its batch in memory, and a range takes one of every segment.
                    yield rows if end - begin == len(batch) else rows.take(pa.array(range(begin, end)))
                if self.lasts[number] > last:
                    return
                number += 1

    def _batch(self, reader: Any, number: int) -> pa.RecordBatch:
        if self._held is not None and self._held[0] == number:
            return self._held[1]
        batch: pa.RecordBatch = reader.get_batch(number)
        self._held = (number, batch) if self._holds else None
        return batch


def _reading(names: Iterable[str] = ()) -> pa.ipc.IpcReadOptions:
    """How to read columns by their names; all of them where none is named."""
    fields = sorted({SEGMENT_SCHEMA.get_field_index(name) for name in names})
    return pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)


_READING, _READING_IDS = _reading(), _reading(["seller_id"])


def _place_after(batch: pa.RecordBatch, seller_id: str) -> int:
    """How many of a batch's rows come up to a seller."""
    ids = batch["seller_id"]
    if seller_id < str(ids[0]):
        return 0
    return bisect_right(range(len(ids)), seller_id, key=lambda row: str(ids[row]))


def is_intact(folder: Path, segment: Segment) -> bool:
    """Whether every piece of a segment's files has its checksum, and nothing follows the last one."""
    for kind, path_of in _FILES.items():
        pieces = _intact(folder, segment, kind, corrects=False)
        if None in pieces:
            return False
        if pieces and path_of(folder, segment.name).stat().st_size != sum(map(len, filter(None, pieces))):
            return False
    return True


def intact_batches(folder: Path, segment: Segment) -> Iterator[pa.RecordBatch]:
    """The rows of a segment that are not damaged."""
    # Neither the file's head nor its foot is needed: each batch is a message of its own.
    for piece in _intact(folder, segment, "rows")[1:-1]:
        if piece is not None:
            yield pa.ipc.read_record_batch(pa.py_buffer(piece), SEGMENT_SCHEMA)


def intact_lines(folder: Path, segment: Segment) -> list[bytes]:
    """The rejects of a segment that are not damaged, each as its line."""
    pieces = _intact(folder, segment, "rejects")
    return [line for piece in pieces if piece is not None for line in piece.splitlines(keepends=True)]


def _intact(folder: Path, segment: Segment, kind: str, *, corrects: bool = True) -> list[bytes | None]:
    """The pieces of a file, None for each that is damaged; `corrects`: one flipped bit is flipped back."""
    pieces: list[tuple[int, int, int]] = orjson.loads(segment.pieces)[kind]
    found: list[bytes | None] = [None] * len(pieces)
    with suppress(FileNotFoundError), _FILES[kind](folder, segment.name).open("rb") as file:
        for number, (size, checksum, other) in enumerate(pieces):
            content: bytes | None = _read(file, size)
            if content is None or len(content) != size:
                continue
            if corrects and crc32(content) != checksum:
                content = with_bit_flipped_back(content, checksum)
            if content is not None and (crc32(content), adler32(content)) == (checksum, other):
                found[number] = content
    return found


def _read(file: BinaryIO, size: int) -> bytes:
    """The next bytes; none, and the place behind them, where the disk cannot read them."""
    begin = file.tell()
    try:
        return file.read(size)
    except OSError as error:
        if error.errno != EIO:
            raise
        file.seek(begin + size)
        return b""
