"""What the system allows this process: open files, of which each connection is one."""

from __future__ import annotations

import resource

from crawler.models.errors import InputError
from crawler.rules.sizing import MAX_WORKERS

OWN_FILES = 48
"""Files that a run may have open beside its connections: journal, ledger, segments, a file a region."""

_FEWEST = OWN_FILES + 16


def allow_connections() -> int:
    """How many connections may be open at once, after raising the limit of open files as far as is of use.

    Raises `InputError` where the limit is too low for any run.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OWN_FILES + MAX_WORKERS
    limit = _raised(soft, hard, wanted)
    if limit < _FEWEST:
        raise InputError(
            f"this process may open {limit} files, and a run needs {_FEWEST}: raise the limit "
            "(`ulimit -n 4096`, or LimitNOFILE= of a systemd service)"
        )
    return min(limit, wanted) - OWN_FILES


def _raised(soft: int, hard: int, wanted: int) -> int:
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    raised = wanted if hard == unlimited else min(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        return soft
    return raised
