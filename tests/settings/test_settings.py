"""Settings and command line: precedence, all faults at once, and one name everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crawler.cli import cli
from crawler.models.errors import InputError
from crawler.options import FLAGS, GROUPS, OPTIONS, Settings, value_of
from crawler.settings.key import mask, read_key
from crawler.settings.load import VARIABLES, Loaded, SettingsError, load
from crawler.settings.resume import flags_of
from crawler.settings.values import RefusedValueError, read_value

ROOT = Path(__file__).parents[2]


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
    ("environ", "flags", "text", "expected"),
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
        ({}, {"api.url": "https://u:p@example.com"}, "", "not allowed in the address"),
        ({"CRAWLER_RUN_TIMEZONE": "Mars/Base"}, {}, "", "time zone"),
        ({}, {"run.top": "5", "run.carry_forward": True}, "", "cannot go with top"),
        ({}, {"run.resume": True, "run.fresh": True}, "", "contradict"),
        ({}, {"run.crawl_date": "2026-02-30"}, "", "run.crawl_date"),
        ({}, {}, "[run]\ndata = 'gs://bucket/x'", "a local folder is wanted, not a URL"),
    ],
)
def test_faults_name_the_setting(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, Any], text: str, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(flags, config(tmp_path, text), environ)
    assert expected in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_the_flags_to_be_shown_set_a_default_again_that_the_file_does_not(tmp_path: Path) -> None:
    """A flag or variable that sets a default against the settings file is shown with that file."""
    path = config(tmp_path, "[run]\nqps = 50\nmax_age = 3\nmax_pages = 9\n")
    loaded = load({"run.qps": "5", "run.stop": "empty"}, path, {"CRAWLER_MAX_AGE": "7"})
    assert flags_of(loaded) == [
        *("--config", str(path), "--qps", "5.0", "--stop", "empty", "--max-pages", "9", "--max-age", "7")
    ]


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
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
    for name in OPTIONS:
        key = name.partition(".")[2]
        assert any(line.removeprefix("# ").startswith(f"{key} = ") for line in text.splitlines()), name
    loaded: Loaded = load({}, ROOT / "config" / "crawler.toml", {})
    assert loaded.settings == Settings()
    assert tomllib.loads(text)


def test_the_file_says_each_range() -> None:
    text = (ROOT / "config" / "crawler.toml").read_text()
    shown = dict(re.findall(r"^(?:# )?(\w+) = .*# .*?\b([\d.]+ to \d+)", text, re.MULTILINE))
    assert len(shown) > 5
    assert shown["qps"] == "0.1 to 100000"


def test_every_flag_is_documented() -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    shown = CliRunner().invoke(cli, ["run", "--help"]).output
    for flag in FLAGS.values():
        assert flag in shown
        assert f"`{flag}" in page


def call(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLER_", "KEYAPI_"))}
    command = [sys.executable, "-m", "crawler", *arguments]
    return subprocess.run(
        command, env={**clean, **environ}, capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "SELLERS"),
        (["run", "x.csv", "--bugdet", "3"], "--budget"),
        (["run", "no-such.csv"], "KEYAPI_API_KEY"),
        (["frobnicate"], "frobnicate"),
        (["run", "data/sellers.csv", "--config", "missing.toml"], "missing.toml"),
    ],
)
def test_bad_usage_is_a_two(arguments: list[str], expected: str) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
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


@pytest.mark.parametrize("words", [["check", "--data"], ["demo", "--data"], ["backup"], ["init"]])
def test_a_url_is_no_folder(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [*words, "s3://user:secret-word@bucket/x"], standalone_mode=False)
    assert done.return_value == 2 or isinstance(done.exception, click.UsageError)
    assert "a local folder is wanted, not a URL" in done.output + str(done.exception)
    assert "secret" not in done.output + str(done.exception)
    assert not list(tmp_path.iterdir())


def test_status_of_nothing(tmp_path: Path) -> None:
    done = call("status", "--data", str(tmp_path))
    assert done.returncode == 2
    assert "no data folder" in done.stderr


NO_FILE = Path(os.devnull)


def faults_of(flags: dict[str, Any], environ: dict[str, str], path: Path | None = NO_FILE) -> str:
    with pytest.raises(InputError) as caught:
        load(flags, path, environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "flag", "variable", "file"),
    [
        ("run.qps", 3.5, 2.5, 1.5),
        ("credits.budget", 30, 20, 10),
        ("run.sort", "gmv", "sales", "views"),
        ("log.quiet", True, False, True),
        ("api.timeout", 3, 2, 1),
    ],
)
def test_each_source_in_turn(tmp_path: Path, name: str, flag: Any, variable: Any, file: Any) -> None:
    """Taking the sources away one by one uncovers the next one, down to the default."""
    section, key = name.split(".")
    path = config(tmp_path, f"[{section}]\n{key} = {str(file).lower() if file is True else repr(file)}\n")
    name_of_it = f"CRAWLER_{FLAGS[name][2:].replace('-', '_').upper()}"
    environ = {name_of_it: str(variable)}
    empty = {name_of_it: " "}
    flags = [
        (loaded.origins[name], value_of(loaded.settings, name))
        for loaded in (
            load({name: flag}, path, environ),
            load({}, path, environ),
            load({}, path, empty),
            load({}, NO_FILE, empty),
        )
    ]
    assert flags == [
        (f"flag {FLAGS[name]}", flag),
        (f"environment {name_of_it}", variable),
        (str(path), file),
        ("default", value_of(Settings(), name)),
    ]


@pytest.mark.parametrize(
    "text", ['["mail", "-s", "a crawl"]', ' ["mail","-s","a crawl"]', "mail -s 'a crawl'"]
)
def test_a_variable_has_a_command_as_a_shell_or_the_file_has_it(text: str) -> None:
    command = load({}, NO_FILE, {"CRAWLER_NOTIFY_COMMAND": text}).settings.notify.command
    assert command == ("mail", "-s", "a crawl")


@pytest.mark.parametrize("text", ['["mail"', '["mail", 1]', '[""]'])
def test_a_list_that_is_none_is_no_command(text: str) -> None:
    assert "notify.command" in faults_of({}, {"CRAWLER_NOTIFY_COMMAND": text})


def test_every_variable_is_read_also_with_double_underscores() -> None:
    assert set(VARIABLES.values()) == set(OPTIONS)
    for variable in ("CRAWLER_RUN_MAX_PAGES", "CRAWLER_MAX_PAGES", "CRAWLER_RUN__MAX_PAGES"):
        assert load({}, NO_FILE, {variable: "7"}).settings.run.max_pages == 7
    both = {"CRAWLER_RUN_MAX_PAGES": "7", "CRAWLER_MAX_PAGES": "7"}
    assert load({}, NO_FILE, both).settings.run.max_pages == 7


def test_the_environment_names_the_file_and_the_flag_beats_it(tmp_path: Path) -> None:
    path = config(tmp_path, "[run]\nqps = 9\n")
    assert load({}, None, {"CRAWLER_CONFIG": str(path)}).settings.run.qps == 9
    loaded = load({}, NO_FILE, {"CRAWLER_CONFIG": str(path)})
    assert (loaded.settings.run.qps, loaded.config_path) == (5, NO_FILE)


def test_the_default_file_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({}, None, {}).config_path is None
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "crawler.toml").write_text("[run]\nqps = 8\n")
    loaded = load({}, None, {})
    assert (loaded.settings.run.qps, loaded.origins["run.qps"]) == (8, "config/crawler.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[api]\nbudget = 3", "unknown setting api.budget; did you mean credits.budget? It belongs in"),
        ("[runs]\nqps = 3", "unknown section [runs]; did you mean [run]?"),
        ("[zzzzzz]\nqps = 3", "unknown section [zzzzzz]"),
        ("[run]\nmax-pages = 3", "did you mean run.max_pages?"),
        ("[run]\njson_report = true", "unknown setting run.json_report"),
        ("run = 3", "[run] is a section"),
        ("[run.qps]\nx = 3", "run.qps"),
        ("[run]\nqps = 1\nqps = 2\n[run]", "line 3"),
        ("[run", "line 1"),
        ('[api]\nkey = "sk_live_0123456789"', "set KEYAPI_API_KEY"),
        (f"[run]\nmax_pages = {'9' * 5000}", "cannot be read"),
        (f"[run]\nqps = {'9' * 400}", "a number from 0.1 to 100000 is wanted"),
        ("[run]\ncrawl_date = 2026-11-23T00:00:00Z", "a date such as 2026-11-23 is wanted"),
        ("[run]\ncrawl_date = 0", "a date such as 2026-11-23 is wanted"),
        ('[run]\ncolumn = ""', "the name of a column is wanted"),
        ('[run]\ndata = ""', "a path is wanted"),
        ("[run]\nattempts = 11", "a whole number from 5 to 10 is wanted"),
        ('[run]\norder = "asc"\nstrategy = "best-first"', "needs the order desc"),
        ('[run]\norder = "asc"\ntop = 3', "needs the order desc"),
        ('[journal]\nsync = "never"', "power-loss or process-kill is wanted"),
        ("[journal]\ncommit_ms = 0", "from 1 to 1000 is wanted"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_file(tmp_path: Path, text: str, expected: str) -> None:
    path = config(tmp_path, text)
    message = faults_of({}, {}, path)
    assert expected in message
    assert "sk_live" not in message
    assert str(path) in message


def test_a_named_file_must_be_there_and_be_toml(tmp_path: Path) -> None:
    assert "no such file" in faults_of({}, {}, tmp_path / "missing.toml")
    assert "no such file" in faults_of({}, {"CRAWLER_CONFIG": str(tmp_path / "no")}, None)
    assert "a folder" in faults_of({}, {}, tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "no UTF-8" in faults_of({}, {}, binary)


def test_strange_variables_are_faults_only_where_they_are_near() -> None:
    near = {"CRAWLER_QSP": "1", "CRAWLER_RUN_MAXPAGES": "1", "CRAWLER_URL": "x", "CRAWLER_API_KEY": "k"}
    message = faults_of({}, near)
    for hint in ("CRAWLER_QPS?", "MAX_PAGES?", "CRAWLER_OUTPUT_URL?", "set KEYAPI_API_KEY"):
        assert hint in message
    loaded = load({}, NO_FILE, {"CRAWLER_HOME": "/x", "CRAWLER_RUN_ID": "1", "CRAWLER_QSP": ""})
    assert len(loaded.warnings) == 2
    assert "CRAWLER_HOME" in loaded.warnings[0]


KUBERNETES = {
    "SERVICE_HOST": "10.3.241.7",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP": "80",
    "PORT": "tcp://10.3.241.7:80",
    "PORT_80_TCP": "tcp://10.3.241.7:80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_ADDR": "10.3.241.7",
    "PORT_53_UDP_ADDR": "10.3.241.7",
}


def test_the_variables_of_kubernetes_services_are_ignored_but_no_slip() -> None:
    for service in ("CRAWLER_", "CRAWLER_UI_", "CRAWLER_QPS_", "CRAWLER_RUN_DATA_"):
        loaded = load({}, NO_FILE, {service + name: value for name, value in KUBERNETES.items()})
        assert (loaded.warnings, loaded.settings) == ((), Settings())
    message = faults_of({}, {"CRAWLER_QSP": "1", "CRAWLER_PORT": "tcp://10.3.241.7:80"})
    assert "CRAWLER_QPS?" in message
    assert "CRAWLER_PORT" not in message
    assert "CRAWLER_SORT?" in faults_of({}, {"CRAWLER_PORT": "views"})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_files_with_a_byte_order_mark_are_read(tmp_path: Path, encoding: str) -> None:
    """As Notepad saves them, and as PowerShell's `>` does."""
    settings_file, key_file = tmp_path / "crawler.toml", tmp_path / "key"
    settings_file.write_bytes("[run]\r\nqps = 9 # é\r\n\r\n".encode(encoding))
    key_file.write_bytes("sk_live_0123456789\r\n\r\n".encode(encoding))
    settings = load({"api.key_file": str(key_file)}, settings_file, {}).settings
    assert settings.run.qps == 9
    assert read_key(settings, {}) == "sk_live_0123456789"


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp1252"])
def test_a_settings_file_in_another_encoding_is_to_be_saved_as_utf_8(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "crawler.toml"
    path.write_bytes(f"[run]\nqps = 9\n{'# é' if encoding == 'cp1252' else ''}\n".encode(encoding))
    assert "save it as UTF-8" in faults_of({}, {}, path)


@pytest.mark.parametrize(
    "content",
    [
        '"sk_live_0123456789"\n',
        "'sk_live_0123456789'",
        "KEYAPI_API_KEY=sk_live_0123456789\n",
        'export KEYAPI_API_KEY="sk_live_0123456789"\r\n',
        "\ufeff  sk_live_0123456789 \n\n",
    ],
)
def test_a_key_is_read_without_what_surrounds_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    settings = load({"api.key_file": str(path)}, NO_FILE, {}).settings
    assert read_key(settings, {}) == "sk_live_0123456789"
    environ = {"KEYAPI_API_KEY": content.partition("=")[2] or content}
    assert read_key(settings, environ) == "sk_live_0123456789"
    assert "sk_live" not in faults_of({"run.stop": "sk_live_0123456789"}, environ)


def test_contradictions_are_named_beside_refused_values() -> None:
    flags = {"api.url": "http://example.com", "run.fresh": True, "run.resume": True, "run.qps": "x"}
    message = faults_of({**flags, "run.crawl_date": "2026-11-23"}, {})
    assert len(message.splitlines()) == 5
    with pytest.raises(SettingsError) as caught:
        load(flags, NO_FILE, {})
    assert caught.value.usable.settings.run.qps == 5
    assert "flag --qps is refused" in caught.value.usable.origins["run.qps"]


@pytest.mark.parametrize(
    "url",
    [
        "api.keyapi.ai",
        "https://",
        "https://h:99999",
        "https://[::1",
        "https://h/?key=secret-word",
        "https://h/#secret-word",
        "https://u:secret-word@h",
        "https://u:secret/word@h",
        "https://h\n/x",
        "https://h\\@evil",
        "",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1",
        "http://[::2]",
        "http://0.0.0.0",
    ],
)
def test_bad_addresses_are_refused_without_their_secrets(url: str) -> None:
    message = faults_of({"api.url": url}, {})
    assert "api.url (flag --api-url)" in message
    assert "secret" not in message


def test_no_message_holds_the_key() -> None:
    key = "sk_live_0123456789"
    environ = {
        "KEYAPI_API_KEY": key,
        "CRAWLER_QPS": key,
        "CRAWLER_BUDGET": key,
        "CRAWLER_CREDITS_BUDGET": "1",
    }
    assert key not in faults_of({"run.stop": key}, environ, Path(key))
    with pytest.raises(InputError) as caught:
        read_key(load({"api.key_file": key}, NO_FILE, {}).settings, {})
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"a\nb", "line breaks"),
        (b"\xffx", "ASCII"),
        (b"a\tb", "blanks"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_key_file(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_key(load({"api.key_file": str(path)}, NO_FILE, {}).settings, {"KEYAPI_API_KEY": " "})
    with pytest.raises(InputError, match="Is a directory"):
        read_key(load({"api.key_file": str(tmp_path)}, NO_FILE, {}).settings, {})


@pytest.mark.parametrize(("key", "shown"), [("sk_live_0123456789", "***6789"), ("short", "***"), ("", "***")])
def test_the_mask_shows_four_characters_at_most(key: str, shown: str) -> None:
    assert mask(key) == shown


def test_settings_are_frozen_and_every_option_tells_what_is_allowed() -> None:
    settings = Settings()
    with pytest.raises(AttributeError, match="cannot assign"):
        settings.run.qps = 3  # type: ignore[misc]
    for option in OPTIONS.values():
        assert option.kind.allowed
        assert option.help
        assert option.group in {"", *GROUPS}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_default_is_a_value_that_would_be_taken(name: str) -> None:
    """The default is of its option's kind, in what the file, a flag or a variable would say."""
    default = value_of(Settings(), name)
    if default is not None:
        flag = f"{default}".lower() if isinstance(default, bool) else str(default)
        for raw in (default, flag):
            assert (type(taken(name, raw)[0]), taken(name, raw)[0]) == (type(default), default)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("run.fresh", "yes", True),
        ("run.fresh", "OFF", False),
        ("run.fresh", 1, True),
        ("run.fresh", "2", None),
        ("run.fresh", 2, None),
        ("run.max_pages", "1_000", 1000),
        ("run.max_pages", "7.0", 7),
        ("run.max_pages", " 7 ", 7),
        ("run.max_pages", "7e1", None),
        ("run.max_pages", "9" * 5000, None),
        ("run.max_pages", 10**400, None),
        ("run.max_pages", [7], None),
        ("run.workers", "auto", "auto"),
        ("run.workers", "Auto", None),
        ("run.late_after", "36 h", 36.0),
        ("run.late_after", "36m", None),
        ("run.qps", "5h", None),
        ("run.qps", "1e1", 10.0),
        ("run.backoff", 0, None),
        ("run.min_value", "-1.5", -1.5),
        ("run.min_value", "inf", None),
        ("run.stop", "Short", None),
        ("run.column", 3, None),
        ("run.column", "x\udcff", None),
        ("run.max_pages", "7.", None),
        ("run.timezone", 3, None),
        ("run.timezone", "Asia/Singapore", "Asia/Singapore"),
        ("run.data", 3, None),
        ("run.data", "a\0b", None),
        ("api.url", 3, None),
        ("api.key_file", Path("key"), Path("key")),
        ("run.crawl_date", date(2026, 11, 23), date(2026, 11, 23)),
    ],
)
def test_a_value_is_read_by_its_kind(name: str, raw: Any, value: Any) -> None:
    found, message = taken(name, raw)
    assert (type(found), found) == (type(value), value)
    assert (value is None) is (f"{name} (" in message)


@pytest.mark.parametrize("raw", [5, 2.5, True, [], [5], [["x"]], {"a": 1}, date(2026, 11, 23), "", "["])
def test_a_value_of_any_other_kind_is_refused_in_our_words(raw: Any) -> None:
    for option in OPTIONS.values():
        with suppress(RefusedValueError):
            read_value(option, raw, {})


def taken(name: str, raw: Any) -> tuple[Any, str]:
    """The value as taken, None where it is refused; and the message."""
    try:
        return value_of(load({name: raw}, NO_FILE, {}).settings, name), ""
    except InputError as error:
        return None, str(error)


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.floats().map(str), st.text(max_size=8)))
@hypothesis_settings(deadline=None, max_examples=80)
def test_a_number_is_taken_exactly_within_its_bounds(raw: float | str) -> None:
    """Whatever comes for --qps, it is a finite number within the bounds or a fault in our words."""
    qps, message = taken("run.qps", raw)
    if qps is None:
        assert "run.qps (flag --qps)" in message
        assert isinstance(raw, (bool, str)) or not 0.1 <= raw <= 100_000
    else:
        assert 0.1 <= qps <= 100_000
        assert not isinstance(raw, bool)
        assert qps == float(raw)


@given(st.sampled_from(["run.max_pages", "credits.budget", "run.workers", "journal.reserve_mib"]), st.data())
@hypothesis_settings(deadline=None, max_examples=60)
def test_whole_numbers_are_whole(name: str, data: st.DataObject) -> None:
    raw = data.draw(st.one_of(st.floats(), st.integers(), st.booleans()))
    value, message = taken(name, raw)
    if value is None:
        assert name in message
    else:
        assert type(value) is int
        assert value == raw
        assert not isinstance(raw, bool)
