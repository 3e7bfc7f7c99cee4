"""For how long a data folder was free: never more than it was, whatever was killed or started again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crawler.store.layout import Layout
from crawler.store.lock import Uptime, hold_lock, uptime

BOOT = "one start"


def free_for(data: Path, now: Uptime | None) -> float:
    with hold_lock(data, "second", lambda: now) as guard:
        return guard.free_for_s


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (Uptime(BOOT, 107.5), 7.5),
        (Uptime("another start", 107.5), 0.0),
        (None, 0.0),
    ],
    ids=["the same start", "started again", "not known"],
)
def test_a_folder_is_free_since_its_lock_was_released(
    tmp_path: Path, now: Uptime | None, seconds: float
) -> None:
    with hold_lock(tmp_path, "first", lambda: Uptime(BOOT, 100.0)):
        pass
    assert free_for(tmp_path, now) == seconds


def test_nothing_is_known_of_a_new_folder_or_an_old_lock_file(tmp_path: Path) -> None:
    assert free_for(tmp_path, Uptime(BOOT, 1.0)) == 0.0
    Layout(tmp_path).lock.write_text('{"pid": 1, "run_id": "older"}')
    assert free_for(tmp_path, Uptime(BOOT, 1.0)) == 0.0
    Layout(tmp_path).lock.write_text('{"released": [1]}')
    assert free_for(tmp_path, Uptime(BOOT, 1.0)) == 0.0


def test_nothing_is_known_after_an_error_or_a_kill(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold_lock(tmp_path, "first"):
        raise ZeroDivisionError
    assert free_for(tmp_path, uptime()) == 0.0
    code = (
        "import os, sys; from pathlib import Path; from crawler.store.lock import hold_lock\n"
        f"with hold_lock(Path(sys.argv[1]), 'first'): os.kill(os.getpid(), {signal.SIGKILL:d})"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert free_for(tmp_path, uptime()) == 0.0


def test_this_machine_tells_how_long_it_has_been_up(tmp_path: Path) -> None:
    assert sys.platform != "linux" or uptime() is not None
    with hold_lock(tmp_path, "first"):
        pass
    with hold_lock(tmp_path, "second") as guard:
        assert 0.0 <= guard.free_for_s < 10.0
