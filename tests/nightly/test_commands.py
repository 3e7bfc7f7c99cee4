"""Every command that the program prints, pasted into a shell; and what `--resume` goes on under."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import SMALL, Night

from crawler.models.errors import InputError
from crawler.settings.load import load
from crawler.settings.resume import resumed
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import KEY, Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
CRAWLER = str(Path(sys.executable).with_name("crawler"))
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)


class Shell:
    """A shell in the night's folder, as a user has it; `environ` is what is exported there."""

    def __init__(self, job: Night, **environ: str) -> None:
        self.job = job
        self.environ = {
            name: value
            for name, value in job.environ().items()
            if name not in {"CRAWLER_DATA", "CRAWLER_API_URL"}
        } | {"PATH": "/usr/bin:/bin", **environ}

    def paste(self, command: str, code: int = 0, folder: Path | None = None) -> str:
        """Run a command; returns what it printed."""
        done = subprocess.run(
            ["bash", "-c", command],
            env=self.environ,
            cwd=folder or self.job.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, f"{command}\nexit {done.returncode}, not {code}\n{output}"
        assert "Traceback" not in output
        assert KEY not in output
        return output

    def run(self, words: str, code: int = 0, **others: Any) -> str:
        """The run's printed lines, by the installed console script."""
        return self.paste(f"{CRAWLER} run {words}", code, **others)

    def report(self, data: str = "data") -> dict[str, Any]:
        reports = (self.job.folder / data / "runs").glob("*/report.json")
        latest = max(reports, key=lambda path: path.stat().st_mtime_ns)
        report: dict[str, Any] = orjson.loads(latest.read_bytes())
        return report

    def spent(self, day: date = TODAY, data: str = "data") -> int:
        with Ledger(self.job.folder / data) as ledger:
            return ledger.spent_for(day)


@pytest.fixture
def shell(night: Begin) -> Callable[..., tuple[Shell, Simulator, list[str]]]:
    """A shell beside `shops.csv`, a list of eight sellers."""

    def begin(faults: str = "", **environ: str) -> tuple[Shell, Simulator, list[str]]:
        job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults)))
        ids = simulator.catalogue.seller_ids(8)
        job.sellers(ids).rename(job.folder / "shops.csv")
        environ = {"CRAWLER_API_URL": job.url, "CRAWLER_QPS": "500", **environ}
        return Shell(job, **environ), simulator, ids

    return begin


Started = Callable[..., tuple[Shell, Simulator, list[str]]]


def needed(simulator: Simulator, ids: list[str]) -> int:
    return sum(simulator.catalogue.size(i) // 10 + 1 for i in ids)


def test_a_spent_budget_is_raised_by_as_much_again(shell: Started) -> None:
    """In a folder and for a list whose names a shell would split, and where no `crawler` is on the path."""
    user, simulator, ids = shell()
    (user.job.folder / "shops.csv").rename(user.job.folder / "-it's $5.csv")
    half = needed(simulator, ids) // 2 + 1
    printed = user.run(f""""./-it's \\$5.csv" --data "my data" --budget {half}""", code=3)
    assert "--budget" in printed
    report = user.report("my data")
    assert report["go_on"].startswith(f"{CRAWLER} run ")
    assert f"--budget {2 * half} " in report["go_on"]
    user.paste(report["go_on"])
    assert user.spent(data="my data") == simulator.stats.requests == needed(simulator, ids)
    assert user.report("my data")["go_on"] == ""


def test_a_command_finds_the_key_whose_file_the_settings_name_by_a_relative_path(shell: Started) -> None:
    user, simulator, ids = shell(KEYAPI_API_KEY="")
    (user.job.folder / "config").mkdir()
    (user.job.folder / "config" / "crawler.toml").write_text('[api]\nkey_file = "the key"\n')
    (user.job.folder / "the key").write_text(KEY)
    half = needed(simulator, ids) // 3 + 1
    user.run(f"shops.csv --budget {half}", code=3)
    user.paste(user.report()["go_on"], code=3, folder=Path("/"))
    status = user.paste(f"{CRAWLER} status")
    user.paste(status.rpartition("go on with it by: ")[2], folder=Path("/"))
    assert simulator.stats.requests == needed(simulator, ids)


@pytest.mark.long
def test_a_spent_month_is_raised_for_the_command_alone(shell: Started) -> None:
    user, simulator, ids = shell(CRAWLER_CREDITS_MONTHLY_BUDGET="3", PATH=f"{Path(CRAWLER).parent}:/bin")
    user.run("shops.csv", code=3)
    go_on = user.report()["go_on"]
    assert go_on.startswith("CRAWLER_CREDITS_MONTHLY_BUDGET=")
    assert f" crawler run {user.job.folder}/shops.csv " in go_on
    user.paste(go_on, code=3)
    assert 3 < user.spent() == simulator.stats.requests < needed(simulator, ids)


@pytest.mark.long
def test_a_run_begun_with_relative_paths_goes_on_from_another_folder(shell: Started) -> None:
    """The list, the default settings file and the default data folder are those that the run used."""
    user, simulator, _ = shell()
    (user.job.folder / "config").mkdir()
    (user.job.folder / "config" / "crawler.toml").write_text("[journal]\ncommit_ms = 7\n")
    user.run("shops.csv --budget 1", code=3)
    go_on, elsewhere = user.report()["go_on"], user.job.folder / "elsewhere"
    elsewhere.mkdir()
    assert f" --config {user.job.folder}/config/crawler.toml " in go_on
    user.paste(go_on, code=3, folder=elsewhere)
    assert user.spent() == simulator.stats.requests == 2
    assert not list(elsewhere.iterdir())
    status = user.paste(f"{CRAWLER} status")
    close = (
        next(line for line in status.splitlines() if " close " in line)
        .partition("by: ")[2]
        .partition("; ")[0]
    )
    user.paste(close, folder=elsewhere)


@pytest.mark.parametrize("printed_by", ["run", pytest.param("resume", marks=pytest.mark.long)])
def test_sellers_that_were_refused_are_asked_for_again(shell: Started, printed_by: str) -> None:
    user, simulator, ids = shell("status=400@1")
    user.run("shops.csv", code=4)
    elsewhere = user.job.folder / "elsewhere"
    elsewhere.mkdir()
    go_on = user.report()["go_on"]
    if printed_by == "resume":
        go_on = user.run("--resume", code=2).rpartition(" by: ")[2]
    user.paste(go_on, folder=elsewhere)
    assert simulator.stats.requests == needed(simulator, ids) + 1
    assert user.report()["sellers"]["failed"] == 0


def test_a_list_from_standard_input_is_kept_for_the_command(shell: Started) -> None:
    """One that came through a pipe; the command works from another folder, and `--resume` finds the list."""
    user, simulator, ids = shell()
    (user.job.folder / "shops.csv").write_text("shop,rank\n" + "".join(f"{i},1\n" for i in ids))
    user.run("<(cat shops.csv) --column shop --budget 1", code=3)
    (elsewhere := user.job.folder / "elsewhere").mkdir()
    user.paste(user.report()["go_on"], code=3, folder=elsewhere)
    assert user.spent() == simulator.stats.requests == 2
    user.run("--resume --budget 1000 < /dev/null")
    assert user.spent() == simulator.stats.requests == needed(simulator, ids)


def test_the_command_for_an_earlier_date_works_from_another_folder_and_in_a_copy(shell: Started) -> None:
    """It names the list and the settings by whole paths, and the data folder where it is now."""
    user, simulator, _ = shell()
    (user.job.folder / "night.toml").write_text("[credits]\nbudget = 2\n")
    user.run(f"shops.csv --config night.toml --crawl-date {YESTERDAY}", code=3)
    elsewhere = user.job.folder / "elsewhere"
    shutil.copytree(user.job.folder / "data", elsewhere / "copy")
    user.run(f"{user.job.folder}/shops.csv --data copy --max-pages 1", folder=elsewhere)
    (note,) = [n for n in user.report("elsewhere/copy")["notes"] if str(YESTERDAY) in n]
    go_on = note.rpartition("go on with it by: ")[2]
    before = simulator.stats.requests
    user.paste(go_on, code=3, folder=elsewhere)
    assert user.spent(YESTERDAY) == 2
    assert user.spent(YESTERDAY, "elsewhere/copy") == 4
    assert simulator.stats.requests == before + 2
    assert user.report("elsewhere/copy")["credits"]["budget"] == 4


def test_resume_goes_on_under_the_same_options(shell: Started) -> None:
    """All of them, by flag, environment and file; what is given anew beats them, and the key is not kept."""
    user, simulator, ids = shell(CRAWLER_STOP="empty")
    lines = ["shop,rank", *(f"{i},1" for i in ids), "none,1"]
    (user.job.folder / "shops.csv").write_text("\n".join(lines) + "\n")
    (user.job.folder / "night.toml").write_text("[run]\nmax_pages = 3\n[credits]\nmonthly_budget = 900\n")
    words = "--column shop --skip-bad-ids --config night.toml --sort sales --budget 4 --fresh"
    user.run(f"shops.csv {words}", code=3)
    del user.environ["CRAWLER_STOP"], user.environ["CRAWLER_API_URL"]
    elsewhere = user.job.folder / "elsewhere"
    elsewhere.mkdir()
    printed = user.run(f"--resume --data {user.job.data} --workers 3", code=3, folder=elsewhere)
    line = next(line for line in printed.splitlines() if "goes on with" in line)
    for option in (
        "--budget 4",
        "--sort sales",
        "--stop empty",
        "--max-pages 3",
        "--skip-bad-ids",
        "--workers 3",
    ):
        assert option in line
    assert "--fresh" not in line
    assert "credits.monthly_budget=900" in line
    assert user.spent() == simulator.stats.requests == 4
    user.run(f"--resume --data {user.job.data} --budget 500", folder=elsewhere)
    report = user.report()
    assert report["credits"]["monthly_budget"] == 900
    assert report["sellers"]["bad_ids_skipped"] == 1
    assert report["sellers"]["total"] == 8
    assert 4 < user.spent() == simulator.stats.requests
    for path in user.job.data.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "stored", ['{"flags": {"credits.budget": "many"}}', "[1", '{"flags": {"run.new": 1}}']
)
def test_options_that_cannot_be_read_are_never_left_out(stored: str) -> None:
    """A budget that is lost in silence would be no budget: exit 2, nothing sent."""
    settings = load({}, Path("/dev/null"), {})
    older = stored.replace("{", '{"file": {}, "environment": {}, ', 1)
    with pytest.raises(InputError, match=r"budget|go on with cannot be read"):
        resumed(settings, older, {})
