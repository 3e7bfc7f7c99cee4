"""`archive/`: a month of nights in one file, which takes their place in `videos/`.

Open it to change the order of the writes. A night is in `videos/`, then in both, then in `archive/` alone: it
is never in neither. Where it is in both, the rows of `videos/` count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from crawler.store.digests import as_text, digest_of, drop_digests, published_digests
from crawler.store.failpoints import reached
from crawler.store.files import exchange, fsync, fsync_tree, remove, remove_replaced, withdraw, write_whole
from crawler.store.layout import VIDEOS, Layout, digests_file, digests_files, parquet_files
from crawler.store.lock import exchange_lock
from crawler.store.months import names_in

LISTING_SECONDS = 1.0
"""Seconds between a reader's listing of `archive/` and that of `videos/`, at most."""


def put_month(data: Path, month: str, staged: Path) -> None:
    """Put the staged folder of a month in the place of the published one, durably.

    Raises `OSError`, or `OutputError` where the system cannot exchange two folders in one call.
    """
    live, digests = Layout(data).month(month), Layout(data).month_digests(month)
    fsync_tree(staged)
    (path,) = parquet_files(staged)
    name = (live / path.name).relative_to(data).as_posix()
    listed = digests_file(digests, path.stem)
    write_whole(listed, as_text({name: digest_of(path)}).encode(), private=True)
    reached("compact.digests")
    live.parent.mkdir(parents=True, exist_ok=True)
    if live.exists():
        exchange(staged, live)
    else:
        staged.rename(live)
        fsync(live.parent)
    reached("compact.exchanged")
    for earlier in digests_files(digests):
        if earlier != listed:
            earlier.unlink()


def remove_month(data: Path, month: str, aside: Path) -> None:
    """Remove a month of which no night is kept. Raises `OSError`."""
    aside.parent.mkdir(parents=True, exist_ok=True)
    withdraw(Layout(data).month(month), aside)
    remove(Layout(data).month_digests(month))


def remove_nights(
    data: Path,
    nights: Mapping[date, Mapping[str, str]],
    aside: Path,
    wait: Callable[[float], None] = time.sleep,
) -> list[date]:
    """Take nights out of `videos/` whose files have these digests; returns those that have others by now.

    `aside` is a folder on the same file system. Raises `OSError`, or `OutputError` where a run exchanges
    published files for too long.
    """
    if not nights:
        return []
    # A reader that has listed archive/ as it was finds them in videos/ yet.
    wait(LISTING_SECONDS)
    changed = []
    aside.mkdir(parents=True, exist_ok=True)
    for day, digests in nights.items():
        with exchange_lock(data):
            live = Layout(data).snapshot(VIDEOS, day)
            is_same = names_in(data, day) == set(digests) and not _is_republished(data, day, digests)
            if is_same:
                withdraw(live, aside / live.name)
                reached("compact.withdrawn")
                drop_digests(data, day, digests)
                reached("compact.forgotten")
        if not is_same and live.exists():
            changed.append(day)
    remove_replaced(aside, aside, wait)
    return changed


def _is_republished(data: Path, day: date, digests: Mapping[str, str]) -> bool:
    """Whether files of these names have other digests: they were written anew since these were taken."""
    listed = published_digests(data, day)
    return any(listed.get(name, digest) != digest for name, digest in digests.items())
