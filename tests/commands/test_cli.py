"""The front door: exit codes, help, completion, and what `check` prints."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner

from crawler import cli as front_door
from crawler.cli import cli
from crawler.models.errors import ApiDownError, CrawlerError, DataLockedError, InputError
from crawler.options import OPTIONS, Settings, value_of

ROOT = Path(__file__).parents[2]
KEY = "sk_live_0123456789abcd"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("CRAWLER_", "KEYAPI_"))]:
        monkeypatch.delenv(name)


def call(*arguments: str, **others: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crawler", *arguments]
    environ = {**os.environ, **others.pop("env", {})}
    others = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **others}
    return subprocess.run(command, env=environ, text=True, check=False, **others)


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of `main` in this process."""
    monkeypatch.setattr(sys, "argv", ["crawler", *arguments])
    with pytest.raises(SystemExit) as caught:
        front_door.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `crawler probe` end by an error."""

    def probe() -> None:
        raise error

    monkeypatch.setitem(cli.commands, "probe", click.Command("probe", callback=probe))


@pytest.mark.parametrize("command", ["run", "plan", "status", "check", "changes", "demo"])
def test_a_data_folder_that_is_no_text_is_a_two(tmp_path: Path, command: str) -> None:
    """A folder that Arrow could not name is refused, and its name, whatever it is, can be printed."""
    folder = os.fsdecode(bytes(tmp_path) + b"/\xff")
    listed = [str(tmp_path / "sellers.csv")] if command in {"run", "plan"} else []
    done = call(command, *listed, "--data", folder, env={"PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 2, done.stderr
    assert "whose name is UTF-8" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_about_a_name_that_is_no_text_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even the report of a bug fails for the name that it is about."""
    raising(monkeypatch, RuntimeError("\udcff"))
    assert ended(monkeypatch, "probe") == 1
    assert "a fault of the program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a reason"), 2),
        (DataLockedError("a reason"), 7),
        (ApiDownError("a reason"), 9),
        (CrawlerError("a reason"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "a reason"), 8),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    raising(monkeypatch, error)
    assert ended(monkeypatch, "probe") == code
    shown = capsys.readouterr()
    assert shown.out == ""
    if code != 130:
        assert shown.err.startswith("crawler: ")
        assert "a reason" in shown.err


def test_a_bug_is_one_line_and_a_file_without_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("KEYAPI_API_KEY", KEY)
    raising(monkeypatch, RuntimeError(f"odd {KEY}\nand Authorization: Bearer another-key-of-a-file"))
    assert ended(monkeypatch, "probe") == 1
    printed = capsys.readouterr().err
    (report,) = tmp_path.glob("crawler-bug-*.txt")
    assert len(printed.splitlines()) == 1
    assert str(report) in printed
    assert "RuntimeError" in printed
    for text in (printed, report.read_text()):
        assert KEY not in text
        assert "another-key" not in text
    assert "Traceback" in report.read_text()
    assert sys.version.split()[0] in printed


def test_a_bug_without_a_temp_folder_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    raising(monkeypatch, RuntimeError("odd"))
    assert ended(monkeypatch, "probe") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["chek"], "check"),
        (["run", "x", "--max-page", "3"], "--max-pages"),
        (["run"], "SELLERS"),
        (["completion", "tcsh"], "fish"),
        (["demo", "--sellers", "0"], "--sellers"),
        ([], "Commands"),
    ],
)
def test_usage_errors_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    assert ended(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert hint in shown.err
    assert shown.out == ""


def test_flags_reach_the_settings_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the options that were given override; --resume goes without a list."""
    run_command = Mock(return_value=4)
    monkeypatch.setattr("crawler.commands.run.run_command", run_command)
    monkeypatch.setenv("CRAWLER_QUIET", "true")
    assert ended(monkeypatch, "run", "--resume", "--config", os.devnull, "--qps", "7.5", "--json") == 4
    loaded, sellers, _telling = run_command.call_args.args
    assert sellers is None
    assert {name: origin for name, origin in loaded.origins.items() if origin != "default"} == {
        "run.resume": "flag --resume",
        "run.qps": "flag --qps",
        "run.json": "flag --json",
        "log.quiet": "environment CRAWLER_QUIET",
    }
    assert loaded.settings.run.qps == 7.5
    assert loaded.settings.log.quiet


def test_the_help_shows_each_default_under_its_group() -> None:
    """What the table of options says, is in the help: flag, range, default, in the group's section."""
    shown = CliRunner().invoke(cli, ["run", "--help"], terminal_width=1000, max_content_width=1000).output
    for option in OPTIONS.values():
        if not option.group:
            continue
        section = " ".join(shown.split(f"{option.group}:\n")[1].split("\n\n")[0].split())
        default = value_of(Settings(), option.name)
        plain = f"{default:g}" if isinstance(default, float) else str(default)
        ending = "" if default in {None, False} else f" [default: {plain}]"
        assert re.search(rf"{option.flag} ([^ ]+ )?{re.escape(f'{option.sentence}.{ending}')}", section)


@pytest.mark.parametrize("command", ["run", "check", "status", "changes", "demo", "simulate", "completion"])
def test_every_command_has_help(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 4


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_CRAWLER_COMPLETE" in CliRunner().invoke(cli, ["completion", shell]).output


def test_completion_knows_the_choices() -> None:
    words = {"_CRAWLER_COMPLETE": "bash_complete", "COMP_WORDS": "crawler run --stop ", "COMP_CWORD": "3"}
    assert call(env=words).stdout.split() == ["plain,short", "plain,empty"]


def test_the_demo_gets_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    demo_command = Mock(return_value=0)
    monkeypatch.setattr("crawler.commands.demo.demo_command", demo_command)
    assert ended(monkeypatch, "demo", "--sellers", "3") == 0
    demo_command.assert_called_once_with(Path("data/demo"), 3, 200.0, 2)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv[1:] = ['run', '--help']\n"
        "try:\n    from crawler.cli import main; main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'aiohttp', 'pyarrow', 'pydantic', 'pydantic_settings', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("arguments", [["--help"], ["check"]])
def test_a_reader_that_leaves_is_no_bug(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = call(*arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_standard_output_is_an_eight() -> None:
    with Path("/dev/full").open("w") as full:
        done = call("check", stdout=full)
    assert done.returncode == 8
    assert "No space" in done.stderr
    assert "Traceback" not in done.stderr


def checked(*arguments: str, **environ: str) -> tuple[int, Any]:
    """Exit code of `check --json` in this process, and what it printed."""
    result = CliRunner().invoke(
        cli, ["check", "--json", "--config", os.devnull, *arguments], env=environ, standalone_mode=False
    )
    assert result.exception is None
    return result.return_value, json.loads(result.stdout)


def test_check_is_ready_and_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    sellers = tmp_path / "sellers.csv"
    sellers.write_text("seller_id\n7494662098975951181\n7494662098975951181\n")
    code, found = checked(str(sellers), "--data", str(data), KEYAPI_API_KEY=KEY)
    assert code == 0, found
    values = {line["name"]: (line["value"], line["origin"]) for line in found["values"]}
    assert values["API key"] == ("***abcd", "environment KEYAPI_API_KEY")
    assert values["run.data"] == (str(data), "flag --data")
    assert values["seller list"][0] == "1 sellers, 1 repeated, 0 bad"
    assert values["lock"][0] == "free"
    assert values["run.json"] == ("false", "default")
    assert list(tmp_path.iterdir()) == [sellers]


def test_check_prints_all_problems_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("a file")
    missing = str(tmp_path / "missing.csv")
    flags = ["--data", str(data), "--qps", "x", "--stop", "y", "--online"]
    code, found = checked(missing, *flags, CRAWLER_RESERVE_MIB="", CRAWLER_JOURNAL_RESERVE_MIB=str(10**9))
    assert code == 2
    problems = "\n".join(found["problems"])
    for part in ("run.qps", "run.stop", "no API key", "cannot be written", "make room", "missing.csv"):
        assert part in problems
    assert {"name": "online", "value": "not asked"}.items() <= found["values"][-1].items()


def test_check_says_who_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "lock"
    lock.parent.mkdir()
    lock.write_text('{"pid": 12345, "run_id": "a-run"}')
    assert checked("--data", str(tmp_path), KEYAPI_API_KEY=KEY)[0] == 0
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, found = checked("--data", str(tmp_path), KEYAPI_API_KEY=KEY)
    assert code == 2
    assert "run a-run (process 12345)" in found["problems"][0]


def test_check_warns_of_a_key_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    code, found = checked("--data", str(tmp_path), CRAWLER_API_KEY_FILE=str(path), CRAWLER_HOME="x")
    assert code == 0
    assert any("chmod 600" in text for text in found["warnings"])
    assert any("CRAWLER_HOME" in text for text in found["warnings"])
    path.chmod(0o600)
    assert not checked("--data", str(tmp_path), CRAWLER_API_KEY_FILE=str(path))[1]["warnings"]


def test_check_asks_online_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_once = Mock(return_value="answered")
    monkeypatch.setattr("crawler.nightly.online.ask_once", ask_once)
    code, found = checked("--data", str(tmp_path), "--online", KEYAPI_API_KEY=KEY)
    assert code == 0
    assert [call_.args[1].value for call_ in ask_once.call_args_list] == [KEY]
    assert found["values"][-1]["value"] == "answered"
    assert KEY not in json.dumps(found)


def test_check_aligns_its_table(tmp_path: Path) -> None:
    done = call("check", "--data", str(tmp_path), env={"KEYAPI_API_KEY": KEY})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[-1] == "ready"
    start = lines[0].index("https://")
    assert all(line[start - 2 : start] == "  " and line[start] != " " for line in lines[:-1])


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_proxy_that_cannot_be_used_is_a_two_before_anything_is_sent(tmp_path: Path, command: str) -> None:
    source = tmp_path / "sellers.csv"
    source.write_text("7494662098975951181\n")
    environ = {"https_proxy": "socks5://us:secret@proxy.test:1080", "KEYAPI_API_KEY": KEY}
    done = call(command, str(source), "--data", str(tmp_path / "data"), env=environ)
    assert done.returncode == 2, done.stderr
    assert "https_proxy cannot be used: socks5:// is not supported" in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()
