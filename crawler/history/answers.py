"""A published date by its kept answers: a journal is made of `raw/`, from which it can be published anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import orjson
import pyarrow as pa

from crawler.api.answers import read_answer
from crawler.history.pins import NoDigestsError, pinned
from crawler.history.reader import SnapshotFiles
from crawler.history.takeover import sellers_of
from crawler.models.api import SortField
from crawler.models.errors import CrawlerError, InputError, OutputError, PageError
from crawler.store.digests import damage_of_published, digests_of
from crawler.store.held import accept
from crawler.store.layout import SELLERS
from crawler.store.raw_pages import intact_pages, published_raw
from crawler.store.records import Record
from crawler.store.restoring import restore_sellers
from crawler.store.schema import PLAUSIBILITY
from crawler.store.segments import SegmentWriter


@dataclass(slots=True)
class Restored:
    """What the kept answers of a date gave: `pages` were read.

    `sellers` have all their rows from them, `kept` the rows that are published; `lost` says what is damaged.
    """

    pages: int = 0
    sellers: int = 0
    kept: int = 0
    lost: list[str] = field(default_factory=list)


def restore(writer: SegmentWriter, data: Path, day: date) -> Restored:
    """Fill a new journal with a date's kept answers, and with how its sellers ended by `sellers/`.

    Raises `InputError` where there are none, or `sellers/` cannot be used; `OutputError` where the journal
    cannot be written.
    """
    files = published_raw(data, day)
    if not files:
        raise InputError(
            f"no answers of {day} are kept under {data}: they are only with output.keep_raw, and its files "
            "cannot be made anew without them"
        )
    damage = damage_of_published(data, day, {SELLERS})
    sellers = SnapshotFiles.published(data, SELLERS, day)
    if damage is not None or not sellers.paths:
        raise InputError(
            f"{damage or f'{day} has no sellers/'}, and the answers do not say how its sellers ended: "
            "restore it from a copy first"
        )
    journal, done = writer.journal, Restored()
    sort, _, order = (sellers.sorting or "views desc").partition(" ")
    journal.note(sort=sort, order=order)
    for path in files:
        for rows in intact_pages(path, done.lost):
            records = [*_records(rows, SortField(sort), done.lost)]
            done.pages += len(records)
            writer.write(records)
    if not done.pages:
        raise OutputError(f"no answer of {day} can be read: {'; '.join(done.lost)}; nothing was replaced")
    writer.flush()
    done.sellers, kept = restore_sellers(journal, sellers_of(data, day), day)
    done.kept = len(kept)
    if kept:
        try:
            pinned(journal, data, day)
        except NoDigestsError:
            pinned(journal, data, day, digests_of(data, day))
    if _is_accepted(sellers):
        accept(journal)
    return done


def _records(rows: pa.Table, sort: SortField, lost: list[str]) -> Iterator[Record]:
    """Pages as they were received; `lost` gets a sentence for each that is none by now."""
    crawled = rows["crawled_at"].cast(pa.int64()).to_pylist()
    columns = [rows[name].to_pylist() for name in ("seller_id", "page_num", "run_id", "answer")]
    for seller_id, page_num, run_id, answer, received_at in zip(*columns, crawled, strict=True):
        try:
            page = read_answer(200, None, str(answer).encode(), seller_id, page_num, received_at, sort)
        except (CrawlerError, PageError) as error:
            lost.append(f"an answer that was kept is none any more: {error}")
        else:
            yield Record(seller_id, run_id, 0, page, None)


def _is_accepted(sellers: SnapshotFiles) -> bool:
    """Whether a person has accepted the snapshot although it was implausible."""
    with suppress(LookupError, ValueError, TypeError):
        return bool(orjson.loads(sellers.metadata[PLAUSIBILITY])["accepted"])
    return False
