"""The run's part of a backup that is made while it crawls: copies of its journal and ledger, by itself.

A second connection to a database that is written could damage it: before SQLite 3.51.3 a log could be begun
anew under a reader's feet.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial

from crawler.models.errors import CrawlerError, OutputError
from crawler.nightly.opening import Opened
from crawler.store.copying import copy_database
from crawler.store.files import make_private_folder, remove, write_whole
from crawler.store.layout import BackupRequest, backup_requests, log_of


class BackupServer:
    """Answers the requests of `crawler backup`; `writer` is the journal's thread, `counter` the ledger's."""

    def __init__(self, opened: Opened, writer: Executor, counter: Executor) -> None:
        self._opened = opened
        self._writer = writer
        self._counter = counter

    async def answer(self) -> None:
        """Copy the databases for whoever has asked; what goes wrong is told there, and harms no run."""
        for request in backup_requests(self._opened.night.data):
            try:
                # The ledger after the journal: it is never older than a page.
                await self._in(self._writer, partial(self._copy_journal, request))
                await self._in(self._counter, partial(self._copy_ledger, request))
            except (CrawlerError, OSError, sqlite3.Error) as error:
                with suppress(OSError):
                    write_whole(request.refusal, f"{self._opened.run_id}: {error}".encode(), private=True)
                    request.request.unlink(missing_ok=True)

    async def _in(self, thread: Executor, copy: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, copy)

    def _copy_journal(self, request: BackupRequest) -> None:
        self._opened.guard()
        self._require_room()
        remove(request.half_answer)
        make_private_folder(request.half_answer)
        journal = self._opened.journal
        copy_database(journal.connection, request.half_copy(journal.path))

    def _copy_ledger(self, request: BackupRequest) -> None:
        ledger = self._opened.ledger
        ledger.copy_to(request.half_copy(ledger.path))
        request.request.unlink(missing_ok=True)
        request.half_answer.rename(request.answer)

    def _require_room(self) -> None:
        night = self._opened.night
        databases = (self._opened.journal.path, self._opened.ledger.path)
        files = (file for path in databases for file in (path, log_of(path)) if file.exists())
        wanted = sum(file.stat().st_size for file in files)
        free = night.world.free_bytes(night.data.absolute()) - (night.settings.journal.reserve_mib << 20)
        if free < 2 * wanted:
            raise OutputError(
                f"{wanted >> 20} MiB of databases would be copied, and too little is free beside the reserve"
            )
