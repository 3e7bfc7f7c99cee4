"""What each worker process of our own does first: it leaves signals to its driver.

A Ctrl-C or a service manager signals the whole group of processes. The driver then tells its workers to stop,
so that they end what is under way; a driver that is killed takes them with it.
"""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Ignore what asks for an end; Dask calls it by this name."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
