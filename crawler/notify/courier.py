"""A thread with an event loop of its own, on which messages are sent while the run goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")
_CLOSING_S = 1.0


class Courier:
    """Runs coroutines beside the caller, who may wait for them or leave them behind.

    The thread is a daemon: whatever still hangs in it when the program ends, ends with it. Raises
    `RuntimeError` where no thread is to be had.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="notify", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def post(self, job: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin a job."""
        return asyncio.run_coroutine_threadsafe(job, self._loop)

    def give_up(self) -> None:
        """Cancel all jobs; may be called by a signal's handler."""
        self._loop.call_soon_threadsafe(self._cancel)

    def close(self) -> None:
        """End the thread, unless something holds it up."""
        self._loop.call_soon_threadsafe(self._cancel)
        self._loop.call_soon_threadsafe(self._loop.call_soon, self._loop.stop)
        self._thread.join(_CLOSING_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
