"""The table `nights/`: its columns, how it is read, and how a new one takes the place of the old.

It is one file, in a folder that is exchanged as a whole: a reader finds the old table or the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.store.digests import as_text, damage_of, digest_of, read_list
from crawler.store.failpoints import reached
from crawler.store.files import fsync_tree, remove, remove_replaced, swap_in, write_whole
from crawler.store.layout import Layout, StagedFolder, parquet_file, parquet_files
from crawler.store.schema import NIGHTS_FILE_SCHEMA

NightRow = dict[str, Any]
"""A row of the table by column; what it lacks is null."""


def read_nights(data: Path) -> list[NightRow]:
    """The rows of the published table; none where there is none, or its content has changed.

    Raises `OSError`, `ValueError` or `pa.ArrowException` where it cannot be read.
    """
    rows: list[NightRow] = []
    for path in parquet_files(Layout(data).nights):
        if damage_of_nights(data, path) is None:
            rows += pq.ParquetFile(path).read().to_pylist()
    return rows


def damage_of_nights(data: Path, path: Path) -> str | None:
    """What is wrong with the table's file, as a sentence; None where nothing is, or no digest was kept.

    Raises `OSError` or `ValueError` where the digests cannot be read.
    """
    name = path.relative_to(data).as_posix()
    digest = _kept_digests(data).get(name)
    return None if digest is None else damage_of(path, digest, name)


def write_nights(data: Path, run_id: str, rows: Sequence[NightRow]) -> None:
    """Put a table of these rows in place of the published one. Raises `OSError` or `pa.ArrowException`."""
    staged, live = StagedFolder(data, f"{run_id}-nights"), Layout(data)
    folder = Layout(staged.folder).nights
    remove(staged.folder)
    folder.mkdir(parents=True)
    path = parquet_file(folder, run_id)
    table = pa.Table.from_pylist(list(rows), schema=NIGHTS_FILE_SCHEMA)
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    fsync_tree(staged.folder)
    reached("nights.staged")
    published = {file.relative_to(data).as_posix() for file in parquet_files(live.nights)}
    kept = {name: digest for name, digest in _kept_digests(data).items() if name in published}
    kept[path.relative_to(staged.folder).as_posix()] = digest_of(path)
    write_whole(live.nights_digests, as_text(kept).encode(), private=True)
    reached("nights.digests")
    swap_in(folder, live.nights)
    reached("nights.exchanged")
    remove_replaced(staged.folder, folder)


def _kept_digests(data: Path) -> dict[str, str]:
    """The digests of the published table, by its path, and maybe of the one before."""
    path = Layout(data).nights_digests
    return read_list(path) if path.exists() else {}
