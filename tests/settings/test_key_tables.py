"""`[[api.keys]]`: what is taken, what is refused, and that no refusal shows a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.models.errors import InputError
from crawler.models.keys import KeySettings
from crawler.settings.key import read_keys, without_key
from crawler.settings.load import Loaded, SettingsError, load

KEY, OTHER = "sk_live_0123456789_first", "sk_live_0123456789_other"
ENVIRON = {"KEYAPI_FIRST": KEY, "KEYAPI_OTHER": OTHER}
FIRST = '[[api.keys]]\nname = "first"\nvariable = "KEYAPI_FIRST"\n'


def loaded(folder: Path, text: str, flags: dict[str, Any] | None = None) -> Loaded:
    path = folder / "crawler.toml"
    path.write_text(text)
    return load(flags or {}, path, {})


def keys_of(folder: Path, text: str, environ: dict[str, str] = ENVIRON) -> dict[str, str]:
    keys = read_keys(loaded(folder, text).settings, environ)
    return {key.limits.name: key.value for key in keys if key.limits is not None}


def test_each_key_has_its_own_source_and_limits(tmp_path: Path) -> None:
    path = tmp_path / "other.key"
    path.write_text(f'\ufeffKEYAPI_OTHER="{OTHER}"\n')
    text = f"""
[api]
timeout = 5

{FIRST}qps = 20

[[api.keys]]
name = "other-2_b"
file = "{path}"
qps = 0.5
daily_budget = 0
monthly_budget = 1000
"""
    assert keys_of(tmp_path, text) == {"first": KEY, "other-2_b": OTHER}
    assert loaded(tmp_path, text).settings.api.keys == (
        KeySettings(name="first", variable="KEYAPI_FIRST", qps=20),
        KeySettings(name="other-2_b", file=path, qps=0.5, daily_budget=0, monthly_budget=1000),
    )
    (key, _) = read_keys(loaded(tmp_path, text).settings, ENVIRON)
    assert KEY not in repr(key)


def test_a_key_that_ends_like_an_assignment_is_no_assignment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("c2tfbGl2ZV8wMTIz==\n")
    text = f'[[api.keys]]\nname = "first"\nfile = "{path}"\n'
    assert keys_of(tmp_path, text) == {"first": "c2tfbGl2ZV8wMTIz=="}


@pytest.mark.parametrize(
    ("rates", "flag", "qps", "limit"),
    [
        ((20, 30), None, 50, 50),
        ((20, 30), "35", 35, 35),
        ((20, 30), "80", 80, 50),
        ((0.5, 0.5, 0.5), None, 3, 1.5),
        ((90_000, 90_000), None, 100_000, 100_000),
    ],
)
def test_the_ceiling_over_all_is_what_the_keys_allow_or_less(
    tmp_path: Path, rates: tuple[float, ...], flag: str | None, qps: float, limit: float
) -> None:
    text = "".join(
        f'[[api.keys]]\nname = "k{n}"\nvariable = "KEYAPI_{n}"\nqps = {rate}\n'
        for n, rate in enumerate(rates)
    )
    found = loaded(tmp_path, text, {} if flag is None else {"run.qps": flag})
    assert (found.settings.run.qps, found.settings.qps) == (qps, limit)
    assert found.origins["run.qps"] == ("flag --qps" if flag else "what api.keys allow")


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (f'name = "{KEY.upper()}"\nvariable = "A"', "table 1 needs a name"),
        ('variable = "A"', "table 1 needs a name"),
        ('name = "a"', "key a needs a variable or a file"),
        (f'name = "a"\nvariable = "A"\nfile = "{KEY}"', "one of the two"),
        (f'name = "a"\nvariable = "{KEY}"', "key a: variable must be the name"),
        ('name = "a"\nvariable = "CRAWLER_A"', "does not begin with CRAWLER_"),
        (f'name = "a"\nkey = "{KEY}"', "key a has key: the key itself is never kept here"),
        (f'name = "a"\nvariable = "A"\n{KEY} = 1', "1 settings that no key has"),
        ('name = "a"\nvariable = "A"\nqps = 0', "key a: qps must be a number from 0.1 to 100000"),
        (f'name = "a"\nvariable = "A"\nqps = "{KEY}"', "key a: qps must be"),
        ('name = "a"\nvariable = "A"\ndaily_budget = 1.5', "key a: daily_budget must be a whole number"),
        ('name = "a"\nvariable = "A"\nmonthly_budget = true', "key a: monthly_budget must be"),
        ('name = "a"\nfile = 7', "key a: file must be the path"),
        ('name = "a"\nfile = " "', "key a: file: a path is wanted"),
    ],
)
def test_a_table_that_is_refused_says_why_and_shows_no_key(tmp_path: Path, table: str, what: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, f"[[api.keys]]\n{table}\n")
    assert what in str(caught.value)
    assert "sk_live" not in str(caught.value).lower()


@pytest.mark.parametrize("text", ["[api]\nkeys = []\n", '[api]\nkeys = "a"\n', "[api.keys]\nname = 'a'\n"])
def test_what_is_no_list_of_tables_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"api\.keys .* is refused"):
        loaded(tmp_path, text)


def test_keys_of_a_variable_are_json() -> None:
    text = '[{"name": "first", "variable": "KEYAPI_FIRST", "qps": 7}]'
    settings = load({}, Path("/dev/null"), {"CRAWLER_API_KEYS": text}).settings
    assert settings.api.keys == (KeySettings(name="first", variable="KEYAPI_FIRST", qps=7),)


def test_two_keys_have_different_names_and_are_different(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"two keys have the name first"):
        loaded(tmp_path, FIRST + FIRST)
    text = FIRST + '[[api.keys]]\nname = "other"\nvariable = "KEYAPI_OTHER"\n'
    with pytest.raises(InputError, match=r"the keys first and other of .* are the same key") as caught:
        keys_of(tmp_path, text, {**ENVIRON, "KEYAPI_OTHER": KEY})
    assert KEY not in str(caught.value)


def test_a_missing_key_is_named_and_an_unreadable_file_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no API key first: .* is not set"):
        keys_of(tmp_path, FIRST, {"KEYAPI_FIRST": " "})
    text = f'[[api.keys]]\nname = "other"\nfile = "{tmp_path / "none.key"}"\n'
    with pytest.raises(InputError, match=r"cannot read the API key other from the file .*none\.key: No such"):
        keys_of(tmp_path, text)
    (tmp_path / "none.key").write_text("")
    with pytest.raises(InputError, match=r"the file .*none\.key is empty: write the API key other"):
        keys_of(tmp_path, text)
    (tmp_path / "none.key").write_text(f"{KEY}\n{OTHER}")
    with pytest.raises(InputError, match=r"the API key other from .* it must be the key alone") as caught:
        keys_of(tmp_path, text)
    assert KEY not in str(caught.value)
    with pytest.raises(InputError, match=r"the API key first holds blanks"):
        keys_of(tmp_path, FIRST, {"KEYAPI_FIRST": "two words"})


def test_one_key_beside_several_is_ambiguous(tmp_path: Path) -> None:
    """Unless the variable of the one is that of one of the several."""
    with pytest.raises(InputError, match=r"KEYAPI_API_KEY is set, and \[\[api.keys\]\]") as caught:
        keys_of(tmp_path, FIRST, {**ENVIRON, "KEYAPI_API_KEY": OTHER})
    assert OTHER not in str(caught.value)
    with pytest.raises(InputError, match=r"api\.key_file names a file, and"):
        keys_of(tmp_path, f'[api]\nkey_file = "{tmp_path / "key"}"\n{FIRST}')
    text = '[[api.keys]]\nname = "first"\nvariable = "KEYAPI_API_KEY"\n'
    assert keys_of(tmp_path, text, {"KEYAPI_API_KEY": OTHER}) == {"first": OTHER}


def test_keys_that_were_read_are_struck_out_of_what_is_shown(tmp_path: Path) -> None:
    keys_of(tmp_path, FIRST)
    assert without_key(f"a fault about {KEY}", {}) == "a fault about ***"
