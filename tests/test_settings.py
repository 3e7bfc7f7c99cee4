"""Settings and command line: precedence, faults told at once, and one name everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from crawler.cli import _OPTIONS, cli
from crawler.errors import InputError
from crawler.settings import FLAGS, Loaded, Settings, load, mask, read_key, setting_names

ROOT = Path(__file__).parent.parent


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "crawler.toml"
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = config(tmp_path, "[run]\nqps = 1\nmax_pages = 7\nattempts = 8\n")
    environ = {"CRAWLER_QPS": "2", "CRAWLER_MAX_PAGES": "9"}
    loaded = load({"run.qps": "3"}, path, environ)
    run = loaded.settings.run
    assert (run.qps, run.max_pages, run.attempts, run.patience) == (3.0, 9, 8, 900.0)
    names = ("run.qps", "run.max_pages", "run.attempts", "run.patience")
    origins = [loaded.origins[name] for name in names]
    assert origins == ["flag --qps", "environment CRAWLER_MAX_PAGES", str(path), "default"]


@pytest.mark.parametrize(
    ("environ", "flags", "text", "told"),
    [
        ({"CRAWLER_BUGDET": "5"}, {}, "", "did you mean CRAWLER_BUDGET"),
        ({"CRAWLER_QPS": "1", "CRAWLER_RUN_QPS": "2"}, {}, "", "contradict"),
        ({}, {"run.qps": "nan"}, "", "run.qps (flag --qps)"),
        ({}, {"run.qps": "0"}, "", "run.qps"),
        ({}, {"run.workers": "0"}, "", "run.workers"),
        ({}, {"credits.budget": "-1"}, "", "credits.budget"),
        ({}, {}, "[run]\nqsp = 1", "did you mean run.qps"),
        ({}, {}, "qps = 1", "run.qps"),
        ({}, {}, "[run]\nqps = true", "run.qps"),
        ({}, {}, "[run", "TOML"),
        ({}, {"api.url": "http://example.com"}, "", "allow_http"),
        ({}, {"api.url": "ftp://example.com"}, "", "api.url"),
        ({}, {"api.url": "https://u:p@example.com"}, "", "no user"),
        ({"CRAWLER_RUN_TIMEZONE": "Mars/Base"}, {}, "", "time zone"),
        ({}, {"run.lookahead": "gallop"}, "", "not built yet"),
        ({}, {"run.resume": True, "run.fresh": True}, "", "contradict"),
        ({}, {"run.crawl_date": "2026-02-30"}, "", "run.crawl_date"),
    ],
)
def test_faults_name_the_setting(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, Any], text: str, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(flags, config(tmp_path, text), environ)
    assert told in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(
            {"run.qps": "-1", "run.stop": "never"},
            config(tmp_path, "[api]\ntimeot = 3\n"),
            {"CRAWLER_BUDGET": "x"},
        )
    for name in ("run.qps", "run.stop", "api.timeot", "credits.budget"):
        assert name in str(caught.value)


def test_http_is_for_loopback_or_by_leave() -> None:
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://example.com"):
        assert load({"api.url": url}, Path(os.devnull), {}).settings.api.url == url
    assert load({"api.url": "http://example.com"}, Path(os.devnull), {"CRAWLER_API_ALLOW_HTTP": "true"})


def test_key_comes_from_environment_or_file_and_is_masked(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk_live_from_a_file\n")
    settings = load({}, Path(os.devnull), {"CRAWLER_API_KEY_FILE": str(path)}).settings
    assert read_key(settings, {}) == "sk_live_from_a_file"
    assert read_key(settings, {"KEYAPI_API_KEY": "other"}) == "other"
    assert mask("sk_live_from_a_file") == "***file"
    path.write_text("two words")
    with pytest.raises(InputError) as caught:
        read_key(settings, {})
    assert "two words" not in str(caught.value)
    with pytest.raises(InputError, match="KEYAPI_API_KEY"):
        read_key(Settings(), {})


def test_the_shipped_file_holds_every_setting_at_its_default() -> None:
    text = (ROOT / "config" / "crawler.toml").read_text()
    for name in setting_names():
        key = name.partition(".")[2]
        assert any(line.removeprefix("# ").startswith(f"{key} = ") for line in text.splitlines()), name
    loaded: Loaded = load({}, ROOT / "config" / "crawler.toml", {})
    assert loaded.settings == Settings()
    assert tomllib.loads(text)


def test_every_flag_is_a_setting_and_is_documented() -> None:
    assert {name: flag.removeprefix("--") for name, flag, _, _ in _OPTIONS} == FLAGS
    readme = (ROOT / "README.md").read_text()
    shown = CliRunner().invoke(cli, ["run", "--help"]).output
    for flag in FLAGS.values():
        assert f"--{flag}" in shown
        assert f"--{flag}" in readme
    for code in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "130"):
        assert f"| {code} " in readme


def call(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLER_", "KEYAPI_"))}
    command = [sys.executable, "-m", "crawler", *arguments]
    return subprocess.run(
        command, env={**clean, **environ}, capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run"], "SELLERS"),
        (["run", "x.csv", "--bugdet", "3"], "--budget"),
        (["run", "no-such.csv"], "KEYAPI_API_KEY"),
        (["frobnicate"], "frobnicate"),
        (["run", "data/sellers.csv", "--config", "missing.toml"], "missing.toml"),
    ],
)
def test_bad_usage_is_a_two(arguments: list[str], told: str) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_light() -> None:
    code = "import sys, crawler.cli; assert not {'aiohttp', 'pyarrow', 'pydantic', 'rich'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_check_tells_settings_and_problems(tmp_path: Path) -> None:
    done = call("check", "data/sellers.csv", "--data", str(tmp_path), KEYAPI_API_KEY="sk_live_0123456789abcd")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "***abcd" in done.stdout
    assert "0123456789" not in done.stdout
    assert "100 sellers" in done.stdout
    assert call("check", "--data", str(tmp_path)).returncode == 2


def test_status_of_nothing(tmp_path: Path) -> None:
    assert "no runs" in call("status", "--data", str(tmp_path)).stdout
