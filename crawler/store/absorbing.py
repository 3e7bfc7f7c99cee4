"""Taking the log of a worker's attempt into the date's journal, each frame once, whatever is killed when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from crawler.models.errors import OutputError
from crawler.store.attempt_log import frames_from
from crawler.store.failpoints import reached
from crawler.store.files import fsync, output_errors
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles
from crawler.store.record_frames import decode
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter

_RECORDS_AT_ONCE = 1024


class Recovered(NamedTuple):
    """What was left of workers: how many attempts, and how many pages of theirs."""

    attempts: int
    pages: int


def next_fence(journal: Journal) -> int:
    """A number that no attempt at the date had before; durably, and it only grows.

    Where damage took the number that was noted, it is beyond those of the logs that are there.
    """
    known = JournalFiles(journal.path).attempt_logs()
    fence = max(int(journal.meta("fence") or 0), *known, 0) + 1
    journal.note(fence=str(fence))
    return fence


def absorbed_of(journal: Journal, fence: int) -> int:
    """How far an attempt's log is in the journal, in bytes."""
    return int(journal.meta(_name_of(fence)) or 0)


def _name_of(fence: int) -> str:
    return f"absorbed {fence}"


def absorb(segments: SegmentWriter, fence: int, up_to: int | None) -> Iterator[list[Record]]:
    """Take an attempt's frames into the journal, from where that ended before; yields what is durable there.

    `up_to` is a size of the log. Without it all whole frames are taken, and the log is removed: what is
    written to it later is never read. Raises `OutputError`.
    """
    journal = segments.journal
    path, name = JournalFiles(journal.path).attempt_log(fence), _name_of(fence)
    offset, records = absorbed_of(journal, fence), list[Record]()
    after = offset
    for frame, after in frames_from(path, offset, up_to):
        try:
            records += decode(frame)
        except ValueError as error:
            raise OutputError(
                f"{path} cannot be read before byte {after}: {error}; another version of this program may "
                "have written it: run that one, or move the file away, and what it holds is asked for again"
            ) from None
        if len(records) >= _RECORDS_AT_ONCE:
            segments.write(records, {name: str(after)})
            reached("attempt.absorbed")
            yield records
            records = []
    if records:
        segments.write(records, {name: str(after)})
        reached("attempt.absorbed")
        yield records
    if up_to is None:
        _remove(segments, fence, name)


def absorb_all(segments: SegmentWriter) -> Recovered:
    """Take the logs of all attempts into the journal: their workers must not write any more."""
    fences, pages = sorted(JournalFiles(segments.journal.path).attempt_logs()), 0
    for fence in fences:
        for records in absorb(segments, fence, None):
            pages += sum(record.page is not None for record in records)
    return Recovered(len(fences), pages)


def _remove(segments: SegmentWriter, fence: int, name: str) -> None:
    """Remove a log, and only then forget how far it was read: it must not be read again."""
    path = JournalFiles(segments.journal.path).attempt_log(fence)
    with output_errors(str(path)):
        if path.exists():
            path.unlink()
            fsync(path.parent)
    reached("attempt.removed")
    segments.journal.forget(name)
