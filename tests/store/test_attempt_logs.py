"""What a worker leaves on disk: whole frames are taken into the journal once, whatever was cut off."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps import ATTEMPT_STEPS

from crawler.api.columns import read_batch
from crawler.models.errors import OutputError
from crawler.models.page import NO_NOTES, Gap, Match, Page, PageNotes
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store import failpoints
from crawler.store.absorbing import absorb, absorb_all, next_fence
from crawler.store.attempt_log import AttemptLog, frames_from
from crawler.store.copying import copy_folder
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout, left_by_journals
from crawler.store.record_frames import decode, encode
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter

TEXTS = st.text(max_size=20) | st.just("\ud800 alone")
FLOATS = st.floats(allow_nan=False)
PAGES = st.builds(
    Page,
    TEXTS,
    st.integers(1, 10**6),
    st.binary(max_size=300),
    st.none() | st.integers(0, 100),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**45),
    TEXTS,
    FLOATS,
    st.none() | FLOATS,
    stored_last_id_hash=st.integers(0, 2**32),
    rejected=st.integers(0, 10),
)
ENDINGS = st.builds(
    Ending,
    st.sampled_from(SellerStatus),
    st.sampled_from(StopReason),
    st.none() | TEXTS,
    st.booleans(),
    TEXTS,
)
MATCHES = st.builds(Match, st.dates(date(2000, 1, 1)), st.integers(0, 10**6), st.booleans())
NOTES = st.just(NO_NOTES) | st.builds(
    PageNotes,
    st.lists(st.builds(Gap, st.integers(1, 9), st.integers(0, 9)), max_size=3).map(tuple),
    st.none() | st.integers(1, 9),
    st.none() | MATCHES,
)
RECORDS = st.builds(Record, TEXTS, TEXTS, st.integers(0, 99), st.none() | PAGES, st.none() | ENDINGS, NOTES)


def with_seller(record: Record) -> Record:
    """A record whose page is of its seller."""
    page = record.page
    return record if page is None else record._replace(seller_id=page.seller_id)


@given(st.lists(RECORDS.map(with_seller), max_size=5))
def test_a_frame_says_all_that_the_journal_keeps(records: list[Record]) -> None:
    found = decode(encode(records))
    assert found == records
    for before, after in zip(records, found, strict=True):
        if before.page is not None and after.page is not None:
            assert (before.page.total, before.page.last_value) == (after.page.total, after.page.last_value)
            assert before.page.stored_last_id_hash == after.page.stored_last_id_hash
            assert before.page.rejected == after.page.rejected
        if before.ending is not None and after.ending is not None:
            assert before.ending.kind == after.ending.kind


@given(st.lists(RECORDS.map(with_seller), max_size=2), st.data())
def test_a_frame_that_is_changed_is_refused_or_read(records: list[Record], data: st.DataObject) -> None:
    frame = bytearray(encode(records))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    with suppress(ValueError):
        decode(bytes(frame))


def page(seller_id: str, number: int, received_at: int = 0) -> Record:
    found = Page(seller_id, number, b'{"data":[]}', 0, number, received_at, "r")
    return Record(seller_id, "run", 1, found, None)


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[SegmentWriter]:
    with Journal(tmp_path / "2026-11-23.1.sqlite") as journal:
        yield SegmentWriter(journal, read_batch)


def log_of(segments: SegmentWriter, fence: int) -> AttemptLog:
    return AttemptLog(JournalFiles(segments.journal.path).attempt_log(fence))


def pages_of(segments: SegmentWriter) -> list[tuple[str, int]]:
    return segments.journal.connection.execute("SELECT seller_id, page_num FROM page ORDER BY seq").fetchall()


def test_a_log_is_read_up_to_every_byte_at_which_it_may_be_cut_off(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "attempts" / "1.log")
    ends = [0, *(log.append(encode([page("s", number)])) for number in (1, 2, 3))]
    log.close()
    whole = (tmp_path / "attempts" / "1.log").read_bytes()
    torn = tmp_path / "torn.log"
    for size in range(len(whole) + 1):
        torn.write_bytes(whole[:size])
        found = [end for _, end in frames_from(torn, 0)]
        assert found == [end for end in ends[1:] if end <= size]
    damaged = bytearray(whole)
    damaged[ends[1] + 20] ^= 1
    torn.write_bytes(damaged)
    assert [end for _, end in frames_from(torn, 0)] == ends[1:2]


def test_a_log_is_private_and_nobody_elses(segments: SegmentWriter) -> None:
    log = log_of(segments, 1)
    path = JournalFiles(segments.journal.path).attempt_log(1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(OutputError):
        log_of(segments, 1)
    log.close()


def test_what_is_absorbed_is_absorbed_once_and_what_is_sealed_is_gone(segments: SegmentWriter) -> None:
    log = log_of(segments, 7)
    first = log.append(encode([page("a", 1), page("b", 1)]))
    log.append(encode([page("a", 2)]))
    assert [len(records) for records in absorb(segments, 7, first)] == [2]
    assert pages_of(segments) == [("a", 1), ("b", 1)]
    assert [len(records) for records in absorb(segments, 7, first)] == []
    assert [len(records) for records in absorb(segments, 7, None)] == [1]
    log.append(encode([page("a", 3)]))
    assert absorb_all(segments) == (0, 0)
    assert pages_of(segments) == [("a", 1), ("b", 1), ("a", 2)]
    log.close()


def test_logs_of_several_attempts_are_absorbed_in_their_order(segments: SegmentWriter) -> None:
    for fence, number in ((12, 3), (3, 1), (4, 2)):
        log = log_of(segments, fence)
        log.append(encode([page("a", number)]))
        log.close()
    assert absorb_all(segments) == (3, 3)
    assert pages_of(segments) == [("a", 1), ("a", 2), ("a", 3)]
    assert not JournalFiles(segments.journal.path).attempt_logs()


@pytest.mark.parametrize("step", ["commit.begin", "commit.written", "commit.durable", *ATTEMPT_STEPS[3:]])
def test_a_kill_while_a_log_is_absorbed_loses_nothing_and_doubles_nothing(tmp_path: Path, step: str) -> None:
    path = tmp_path / "2026-11-23.1.sqlite"
    with Journal(path) as journal:
        log = log_of(SegmentWriter(journal, read_batch), 1)
        for number in (1, 2):
            log.append(encode([page("a", number)]))
        log.close()
    child = os.fork()
    if child == 0:
        failpoints.on_reach = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None
        absorb_all(SegmentWriter(Journal(path), read_batch))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with Journal(path) as journal:
        segments = SegmentWriter(journal, read_batch)
        absorb_all(segments)
        assert pages_of(segments) == [("a", 1), ("a", 2)]


def test_a_full_disk_leaves_whole_frames(tmp_path: Path) -> None:
    path = tmp_path / "attempts" / "1.log"
    child = os.fork()
    if child == 0:
        log = AttemptLog(path)
        size = log.append(encode([page("a", 1)]))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, size + 10))
        try:
            log.append(encode([page("a", 2)]))
        except OutputError:
            os._exit(0 if path.stat().st_size == size else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(frames_from(path, 0))) == 1


def test_fences_only_grow(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-23.1.sqlite"
    found = []
    for _ in range(3):
        with Journal(path) as journal:
            found += [next_fence(journal), next_fence(journal)]
    assert found == [1, 2, 3, 4, 5, 6]


def test_zeros_after_the_last_frame_are_no_frame(segments: SegmentWriter) -> None:
    log = log_of(segments, 1)
    log.append(encode([page("a", 1)]))
    log.close()
    with JournalFiles(segments.journal.path).attempt_log(1).open("ab") as file:
        file.write(bytes(4096))
    assert absorb_all(segments) == (1, 1)
    assert pages_of(segments) == [("a", 1)]


def test_nothing_is_read_after_a_damaged_frame(segments: SegmentWriter) -> None:
    log = log_of(segments, 1)
    ends = [log.append(encode([page("a", number)])) for number in (1, 2, 3)]
    log.close()
    path = JournalFiles(segments.journal.path).attempt_log(1)
    content = bytearray(path.read_bytes())
    content[ends[0] + 20] ^= 1
    path.write_bytes(content)
    assert absorb_all(segments) == (1, 1)
    assert pages_of(segments) == [("a", 1)]


def test_a_frame_of_another_version_is_named_and_stays(segments: SegmentWriter) -> None:
    log = log_of(segments, 1)
    end = log.append(encode([page("a", 1)]))
    log.append(b"what is this")
    log.close()
    with pytest.raises(OutputError, match="move the file away"):
        absorb_all(segments)
    assert JournalFiles(segments.journal.path).attempt_log(1).stat().st_size > end


def test_the_name_of_a_log_is_as_durable_as_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = [], os.fsync

    def noted(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    AttemptLog(tmp_path / "attempts" / "1.log").close()
    assert {str(tmp_path / "attempts"), str(tmp_path)} <= {*synced}


def test_a_log_that_somebody_else_has_written_to_takes_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "attempts" / "1.log"
    log = AttemptLog(path)
    log.append(encode([page("a", 1)]))
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(OutputError, match="does not end where"):
        log.append(encode([page("a", 2)]))
    log.close()


def test_a_page_that_two_attempts_have_hides_none_that_is_missing(segments: SegmentWriter) -> None:
    for fence, number in ((1, 2), (2, 4)):
        log = log_of(segments, fence)
        log.append(encode([page("a", 1), page("a", number)]))
        log.close()
    assert absorb_all(segments) == (2, 4)
    (seller,) = segments.journal.reader.summaries()
    assert (seller.credits, seller.missing) == (4, 3)


def test_a_log_says_the_fence_where_damage_took_it(segments: SegmentWriter) -> None:
    log_of(segments, 41).close()
    assert next_fence(segments.journal) == 42


def test_logs_go_with_their_journal_and_are_in_a_copy_of_a_folder_without_a_run(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    path = layout.journal(date(2026, 11, 23), 1)
    with Journal(path) as journal:
        log = log_of(SegmentWriter(journal, read_batch), 1)
        log.append(encode([page("a", 1)]))
        log.close()
    inside = JournalFiles(path).attempt_log(1).relative_to(layout.data)
    copy_folder(layout.data, tmp_path / "copy", {}, None)
    assert (tmp_path / "copy" / inside).exists()
    copy_folder(layout.data, tmp_path / "beside", {path: path}, None)
    assert not (tmp_path / "beside" / inside).exists()
    assert not [*left_by_journals(layout.journals)]
    path.unlink()
    assert JournalFiles(path).attempts in left_by_journals(layout.journals)


@pytest.mark.parametrize("step", ATTEMPT_STEPS[:3])
def test_a_kill_while_a_worker_writes_leaves_what_was_said_to_be_durable(tmp_path: Path, step: str) -> None:
    path = tmp_path / "2026-11-23.1.sqlite"
    with Journal(path) as journal:
        segments = SegmentWriter(journal, read_batch)
        child = os.fork()
        if child == 0:
            log = log_of(segments, 1)
            log.append(encode([page("a", 1)]))
            failpoints.on_reach = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None
            log.append(encode([page("a", 2)]))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        absorb_all(segments)
        assert pages_of(segments) == [("a", 1), ("a", 2)][: 1 if step == "attempt.append" else 2]
