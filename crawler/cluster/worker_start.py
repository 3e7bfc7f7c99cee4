"""What each worker process of our own does first: it leaves signals, and what is to be said, to its driver.

A Ctrl-C or a service manager signals the whole group of processes. The driver then tells its workers to stop,
so that they end what is under way; a driver that is killed takes them with it.
"""

from __future__ import annotations

import signal

from crawler.report.log_lines import quiet_library


def dask_setup(_worker: object) -> None:
    """Ignore what asks for an end, and let Dask log nothing; it calls this by its name.

    A worker whose scheduler has just ended would print a traceback into the log of the night.
    """
    quiet_library("distributed")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
