"""Power loss: whatever part of the journal's writes reached the disk, recovery finds whole commits.

With `synchronous=FULL` a commit's frames are synced in the write-ahead log before it returns, so what
is on disk after a power loss is the log up to some byte that is not before the last commit's end, and
any mixture of pages in a main file that was being checkpointed while the whole log was on disk.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from random import Random

import pytest

from crawler.api.columns import read_batch
from crawler.history.carried import PinnedRows
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store import failpoints
from crawler.store.journal import Journal
from crawler.store.publishing import publish
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter
from crawler.store.snapshot import NOBODY, SnapshotPlan

FRAME = 4096 + 24
HEADER = 32


def record(number: int, rng: Random) -> Record:
    """A page with a body that no compression makes small, and at times its seller's end."""
    body = b'{"data":["' + rng.randbytes(rng.choice((10, 900, 3000))).hex().encode() + b'"]}'
    ending = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE) if number % 3 == 0 else None
    return Record(str(number % 5), "run", 1, Page(str(number % 5), number, body, 1, number, 5, "r"), ending)


def written(journal: Journal, commits: int, rng: Random, first: int = 0) -> list[tuple[int, int]]:
    """Write commits of one to three pages; returns the log's size and the pages known after each."""
    log, known = journal.path.with_name(f"{journal.path.name}-wal"), first
    marks = [(0, first)]
    for _ in range(commits):
        count = rng.choice((1, 2, 3))
        journal.write([record(n, rng) for n in range(known, known + count)])
        known += count
        marks.append((log.stat().st_size, known))
    return marks


def recovered(folder: Path, main: bytes, log: bytes) -> int:
    """Open what a power loss left; returns how many pages it holds, which must be the first ones."""
    path = folder / "after.sqlite"
    for stale in folder.glob("after.sqlite*"):
        stale.unlink()
    path.write_bytes(main)
    path.with_name("after.sqlite-wal").write_bytes(log)
    with Journal(path) as journal:
        assert journal.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        numbers = [page.page_num for page in journal.waiting()]
        assert numbers == list(range(len(numbers)))
        for page in journal.waiting():
            assert page.body.startswith(b'{"data":["')
            assert page.body.endswith(b'"]}')
    return len(numbers)


def cuts(size: int, rng: Random) -> list[int]:
    """Every frame's end, and places within every frame."""
    ends = range(HEADER, size + 1, FRAME)
    return sorted({0, HEADER - 1, *ends, *(min(size, end + rng.randrange(1, FRAME)) for end in ends)})


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.mark.parametrize("tail", ["nothing", "zeros", "rubbish"])
def test_every_prefix_of_the_log_holds_whole_commits(journal_path: Path, tail: str) -> None:
    rng = Random(tail)
    with Journal(journal_path) as journal:
        journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        marks = written(journal, 14, rng)
        main = journal_path.read_bytes()
        log = journal_path.with_name("journal.sqlite-wal").read_bytes()
    seen = set()
    for cut in cuts(len(log), rng):
        torn = {"nothing": b"", "zeros": bytes(FRAME), "rubbish": rng.randbytes(FRAME)}[tail]
        found = recovered(journal_path.parent, main, log[:cut] + torn)
        assert found == max(pages for size, pages in marks if size <= cut)
        seen.add(found)
    assert seen == {pages for _, pages in marks}


def test_a_half_done_checkpoint_is_done_again(journal_path: Path) -> None:
    rng = Random(1)
    with Journal(journal_path) as journal:
        journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        marks = written(journal, 12, rng)
        before = journal_path.read_bytes()
        log = journal_path.with_name("journal.sqlite-wal").read_bytes()
        journal.connection.execute("PRAGMA wal_checkpoint(FULL)")
        after = journal_path.read_bytes()
    for _ in range(60):
        mixed = bytearray(after)
        for start in range(0, len(after), 4096):
            old = before[start : start + 4096]
            if rng.random() < 0.5:
                # What lies beyond the earlier end may not be there at all yet.
                mixed[start : start + 4096] = old.ljust(4096, b"\0")
        assert recovered(journal_path.parent, bytes(mixed), log) == marks[-1][1]


def test_a_log_begun_anew_is_not_confused_by_its_earlier_frames(journal_path: Path) -> None:
    rng = Random(2)
    with Journal(journal_path) as journal:
        known = written(journal, 12, rng)[-1][1]
        earlier = journal_path.with_name("journal.sqlite-wal").read_bytes()
        journal.connection.execute("PRAGMA wal_checkpoint(RESTART)")
        main = journal_path.read_bytes()
        ends = []
        for number in range(known, known + 3):
            journal.write([record(number, rng)])
            log = journal_path.with_name("journal.sqlite-wal").read_bytes()
            changed = [i for i in range(HEADER, len(log), FRAME) if log[i : i + 8] != earlier[i : i + 8]]
            frames = [i for i in changed if log[i + 8 : i + 16] == log[16:24]]
            ends.append((max(frames) + FRAME, number + 1))
    assert len(log) == len(earlier), "the log was not begun anew over its earlier frames"
    for cut in cuts(ends[-1][0], rng):
        found = recovered(journal_path.parent, main, log[:cut] + earlier[cut:])
        assert found == max((pages for size, pages in ends if size <= cut), default=known)


def test_files_are_synced_before_anything_relies_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[Path] = set()
    at_step: dict[str, set[Path]] = {}
    fsync = os.fsync

    def recording(handle: int) -> None:
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recording)
    monkeypatch.setattr(failpoints, "on_reach", lambda step: at_step.setdefault(step, set(synced)))
    with Journal(tmp_path / "state" / "journal" / "j.sqlite") as journal:
        assert journal.connection.execute("PRAGMA synchronous").fetchone() == (2,)
        staging = SegmentWriter(journal, read_batch)
        rows = b'{"data":[{"video_id":"1","region":"MY"},{"no":"id"}]}'
        staging.write([Record("7", "run", 1, Page("7", 1, rows, 2, 1, 5, "r"), None)])
        staging.flush()
        plan = SnapshotPlan(tmp_path, "run", date(2026, 11, 23), NOBODY, None)
        publish(journal, plan, PinnedRows(journal, tmp_path, plan.crawl_date))
    segments = tmp_path / "state" / "journal" / "j.segments"
    assert at_step["segment.written"] >= {segments, segments.parent, *segments.iterdir()}
    assert tmp_path / "runs" / "run" / "rejects.jsonl" in at_step["publish.synced"]
    staged = tmp_path / "state" / "staging" / "run"
    files = [p for kind in ("videos", "sellers") for p in (tmp_path / kind).rglob("*")]
    assert at_step["publish.synced"] >= {staged / p.relative_to(tmp_path) for p in files}
    assert at_step["publish.sellers"] >= {tmp_path / "videos", tmp_path / "sellers"}
