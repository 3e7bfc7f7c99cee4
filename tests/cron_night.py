"""A night that real cron starts: `make cron`. Takes up to two minutes; needs root, cron and unshare.

Cron runs in a mount namespace of its own, with no crontab but the one under test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL, stand_in
from launcher import LAUNCHER

from crawler.simulator.server import KEY, SimulatorOptions

# The tmpfs keep everything from the machine's own cron.
ALONE = """\
set -e
for folder in /var/spool/cron /run /etc/cron.d; do mount -t tmpfs none $folder; done
mount --bind /dev/null /etc/crontab
mkdir -p /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
{install}
crontab -l
exec cron -f -L 15
"""
WAIT_S = 150


def why_not() -> str:
    if os.geteuid():
        return "needs root"
    if missing := [name for name in ("cron", "crontab", "unshare") if shutil.which(name) is None]:
        return f"needs {' and '.join(missing)}"
    alone = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return "" if alone.returncode == 0 else "no mount namespace can be made here"


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_cron_runs_the_night_of_a_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a shop's 50%"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLER_", "KEYAPI_"))}
    with stand_in(SimulatorOptions(SMALL)) as simulator:
        done = LAUNCHER.run(["init", str(folder), "--cron"], clean, tmp_path)
        (folder / "key").write_text(KEY)
        settings = folder / "config" / "crawler.toml"
        settings.write_text(settings.read_text().replace("https://api.keyapi.ai", simulator.url))
        table = folder / "crontab"
        table.write_text(table.read_text().replace("\n10 2 * * *", "\n* * * * *"))
        install = done.stdout.strip().splitlines()[-1].strip()
        with (tmp_path / "cron.log").open("w") as log:
            cron = subprocess.Popen(
                ["unshare", "-m", "bash", "-c", ALONE.format(install=install)],
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        try:
            report = awaited(folder / "data" / "runs", cron)
        finally:
            cron.terminate()
            cron.wait(10)
    assert report.read_text().count('"exit_code": 0') == 1, report.read_text()
    assert [*(folder / "data" / "videos").rglob("*.parquet")]


def awaited(runs: Path, cron: subprocess.Popen[bytes]) -> Path:
    for _ in range(WAIT_S):
        if found := [*runs.glob("*/report.json")]:
            return found[0]
        assert cron.poll() is None, (runs.parent.parent.parent / "cron.log").read_text()
        time.sleep(1)
    raise AssertionError((runs.parent.parent.parent / "cron.log").read_text())
