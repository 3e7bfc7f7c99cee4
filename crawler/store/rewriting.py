"""Published files written anew under their own names: open it to change the order of these writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crawler.store.digests import amend_digests, digests_of
from crawler.store.failpoints import reached
from crawler.store.files import fsync, fsync_tree, output_errors, remove_replaced, swap_in, withdraw
from crawler.store.layout import CHANGES, SELLERS, Layout, StagedFolder, parquet_files
from crawler.store.lock import exchange_lock


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Writes published files of dates anew: built in `staged`, put in place while `guard` raises nothing."""

    data: Path
    staged: StagedFolder
    guard: Callable[[], None]

    def put_in_place(self, day: date) -> None:
        """Put a date's staged `sellers/` files in place of those of the same names; so `changes/`, if staged.

        The old `changes/` are taken away before that, and the new ones put in place last. The digests are
        right at each moment. Raises `OutputError`.
        """
        live, staged = Layout(self.data), self.staged
        sellers, changes = (live.snapshot(kind, day) for kind in (SELLERS, CHANGES))
        new_changes = staged.snapshot(CHANGES, day)
        has_changes = new_changes.is_dir()
        with output_errors(f"the snapshot of {day} under {self.data}"):
            fsync_tree(staged.folder)
            reached("rewrite.synced")
            digests = digests_of(staged.folder, day)
            with exchange_lock(self.data):
                amend_digests(self.data, day, digests, keep_old=True)
                reached("rewrite.digests")
                self.guard()
                if has_changes:
                    withdraw(changes, staged.withdrawn)
                    reached("rewrite.withdrawn")
                for path in parquet_files(staged.snapshot(SELLERS, day)):
                    path.replace(sellers / path.name)
                fsync(sellers)
                reached("rewrite.sellers")
                if has_changes:
                    swap_in(new_changes, changes)
                    reached("rewrite.changes")
                amend_digests(self.data, day, digests, keep_old=False)
            remove_replaced(staged.folder, staged.withdrawn)
