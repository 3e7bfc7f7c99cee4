from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL, Night
from launcher import LAUNCHER

from crawler.options import Settings
from crawler.scaffold.crontab import crontab
from crawler.scaffold.job import Job, job_in
from crawler.scaffold.systemd import units
from crawler.sellers.reading import read_sellers
from crawler.settings.load import load
from crawler.settings.settings_file import settings_file
from crawler.simulator.server import KEY, Simulator, SimulatorOptions

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("CRAWLER_", "KEYAPI_"))}
MADE = ("config/crawler.toml", "sellers.csv", ".gitignore")


def init(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return LAUNCHER.run(["init", *words], CLEAN, folder)


def commands_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_an_empty_folder_gets_settings_list_and_gitignore(tmp_path: Path) -> None:
    done = init(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        MADE
    )
    loaded = load({}, tmp_path / MADE[0], {})
    assert loaded.settings.api.key_file == Path("key")
    assert loaded.settings.run == Settings().run
    assert not loaded.warnings


def test_the_sample_list_gives_no_cause_for_a_warning(tmp_path: Path) -> None:
    assert init(tmp_path).returncode == 0
    listed = read_sellers(str(tmp_path / "sellers.csv"), column=None, skip_bad_ids=False)
    assert (len(listed), list(listed.warnings)) == (2, [])


def test_the_settings_are_those_of_the_table_but_for_what_is_given() -> None:
    given = settings_file({"api.key_file": '"key"'}).splitlines()
    other = [
        line for line, default in zip(given, settings_file().splitlines(), strict=True) if line != default
    ]
    assert [line.split("#")[0].strip() for line in other] == ['key_file = "key"']


def test_the_printed_commands_work_when_pasted(night: Begin, tmp_path: Path) -> None:
    """In a folder whose name a shell would take apart; the key is what a person pastes."""
    _, stand_in = night(SimulatorOptions(SMALL))
    folder = tmp_path / "a shop's $HOME 50%"
    done = init(tmp_path, str(folder))
    key, *others = commands_of(done.stdout)
    environ = {**CLEAN, "CRAWLER_API_URL": stand_in.url}
    pasted = subprocess.run(
        ["bash", "-c", key], input=f"{KEY}\n", text=True, env=environ, cwd="/", check=True
    )
    assert pasted.returncode == 0
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    for command in others:
        ran = subprocess.run(
            ["bash", "-c", command], env=environ, cwd="/", text=True, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    assert len(others) == 2
    assert [*(folder / "data" / "videos").rglob("*.parquet")]
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    listed = subprocess.run(
        ["git", "-C", str(folder), "status", "--porcelain", "-uall"],
        text=True,
        capture_output=True,
        check=True,
    )
    assert sorted(line[3:] for line in listed.stdout.splitlines()) == sorted(MADE)


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "sellers.csv").write_text("mine")
    (tmp_path / ".gitignore").write_text("data/\n")
    (tmp_path / "crontab").symlink_to(tmp_path / "nowhere")
    done = init(tmp_path, "--cron")
    assert done.returncode == 0
    assert (tmp_path / "sellers.csv").read_text() == "mine"
    assert f"kept {tmp_path}/sellers.csv, which was there" in done.stdout
    assert f"kept {tmp_path}/crontab, which was there" in done.stdout
    assert not (tmp_path / "nowhere").exists()
    assert f"add to {tmp_path}/.gitignore, so that git leaves them out: /key\n" in done.stdout
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert init(tmp_path, "--cron").returncode == 0
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("place", "code"), [("file", 2), ("file/below", 8), ("/proc/shop", 8)])
def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, place: str, code: int) -> None:
    (tmp_path / "file").touch()
    done = init(tmp_path, place)
    assert done.returncode == code
    assert done.stderr.startswith("crawler: ")
    assert len(done.stderr.splitlines()) == 1


def test_settings_that_cannot_be_used_make_no_units(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / MADE[0]).write_text("[run]\nqps = -1\n")
    done = init(tmp_path, "--systemd")
    assert done.returncode == 2
    assert "run.qps" in done.stderr
    assert not (tmp_path / "systemd").exists()


def section(text: str, name: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser[name]


def test_the_service_follows_the_settings(tmp_path: Path) -> None:
    init(tmp_path)
    text = (tmp_path / MADE[0]).read_text()
    for was, now in (
        ('data = "data"', 'data = "/srv/big data"'),
        ('key_file = "key"', 'key_file = "/etc/crawler/key"'),
        ("grace = 10.0", "grace = 90.0"),
        ("ok = [0, 3]", "ok = [0, 3, 4]"),
        ('timezone = "UTC"', 'timezone = "Asia/Singapore"'),
        ("# textfile = ", "textfile = "),
    ):
        assert was in text
        text = text.replace(was, now)
    (tmp_path / MADE[0]).write_text(text)
    made = units(job_in(tmp_path))
    service = section(made["crawler.service"], "Service")
    assert service["ReadWritePaths"] == '"/srv/big data" -/var/lib/prometheus/node-exporter'
    assert service["LoadCredential"] == "key:/etc/crawler/key"
    assert service["SuccessExitStatus"] == "3 4"
    assert int(service["TimeoutStopSec"]) > 90
    assert service["Restart"] == "no"
    assert section(made["crawler.timer"], "Timer")["OnCalendar"].endswith(" Asia/Singapore")


def test_a_folder_that_the_unit_would_hide_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    # The program itself may be installed below /tmp or /home here.
    monkeypatch.setattr("crawler.scaffold.job.__file__", "/opt/crawler/job.py")
    monkeypatch.setattr("sys.prefix", "/opt/crawler")
    monkeypatch.setattr("sys.base_prefix", "/usr")

    def service(folder: str) -> configparser.SectionProxy:
        return section(units(Job(Path(folder), Settings(), ("/x",)))["crawler.service"], "Service")

    assert service("/home/me/shop")["ProtectHome"] == "read-only"
    assert service("/tmp/shop")["PrivateTmp"] == "no"
    assert service("/srv/shop")["PrivateTmp"] == "yes"


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\x1bb"])
def test_a_path_that_no_unit_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    done = init(tmp_path, name, "--cron")
    assert done.returncode == 2
    assert "choose another path" in done.stderr
    assert not (tmp_path / name / "crontab").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["shop", "a shop's 50% $HOME"])
def test_systemd_finds_no_fault_and_little_exposure(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    init(tmp_path, str(folder), "--systemd")
    made = [str(folder / "systemd" / unit) for unit in ("crawler.service", "crawler.timer")]
    verified = subprocess.run(
        ["systemd-analyze", "verify", *made], text=True, capture_output=True, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", made[0]],
        text=True,
        capture_output=True,
        check=False,
    )
    assert exposed.returncode == 0, exposed.stdout[-200:]


def test_the_crontab_has_one_line_that_a_shell_reads_as_meant() -> None:
    text = crontab(Job(Path("/srv/a shop's 50%"), Settings(), ("/opt/x y/crawler",)), "me")
    *_, line = text.splitlines()
    assert line.count("%") == line.count("\\%") == 2
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    words = [
        "cd",
        "/srv/a shop's 50%",
        "&&",
        "CRAWLER_API_KEY_FILE=/srv/a shop's 50%/key",
        "/opt/x y/crawler",
    ]
    assert shlex.split(command) == [*words, "run", "sellers.csv", "--quiet", "--no-progress"]
    assert "MAILTO=me\n" in text
