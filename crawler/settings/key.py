"""The API keys: from the environment or files, and never in any text that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from crawler.models.encodings import decoded, without_secret
from crawler.models.errors import InputError
from crawler.models.keys import ApiKey, KeySettings
from crawler.options import Settings

KEY_VARIABLE = "KEYAPI_API_KEY"
_ASSIGNMENT = re.compile(r"(?:export\s+|set\s+|\$env:)?(KEYAPI_\w+)\s*=\s*", re.IGNORECASE)

_READ: set[str] = set()
"""Every key that this process has read: a fault of the program must not show one either."""


def read_keys(settings: Settings, environ: Mapping[str, str]) -> tuple[ApiKey, ...]:
    """Every key that requests may carry: the one of `read_key`, or all of `api.keys`; else `InputError`."""
    if (several := settings.api.keys) is None:
        keys = [ApiKey(read_key(settings, environ))]
    else:
        _require_one_way(settings, several, environ)
        keys = [ApiKey(_read_named(key, environ), key) for key in several]
        _require_different(keys)
    _READ.update(key.value for key in keys)
    return tuple(keys)


def read_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """The API key from `KEYAPI_API_KEY`, or from the file that `api.key_file` names; else `InputError`."""
    key, where = _key_in(environ), KEY_VARIABLE
    if not key and settings.api.key_file is not None:
        where = f"the file {shown_key_file(settings.api.key_file)}"
        key = _key_from(settings.api.key_file, where)
    if not key:
        raise InputError(f"no API key: set {KEY_VARIABLE}, or name a file in the setting api.key_file")
    _require_plain(key, f"the API key from {where}")
    return key


def key_origin(settings: Settings, environ: Mapping[str, str]) -> str:
    """Where `read_key` looks for the key."""
    if _key_in(environ):
        return f"environment {KEY_VARIABLE}"
    if settings.api.key_file is not None:
        return f"file {shown_key_file(settings.api.key_file)}"
    return "nowhere"


def named_origin(key: KeySettings) -> str:
    """Where one of several keys is looked for."""
    return f"environment {key.variable}" if key.file is None else f"file {shown_key_file(key.file)}"


def key_variables(settings: Settings) -> set[str]:
    """The environment variables that may hold a key: no other program needs them."""
    return {KEY_VARIABLE} | {key.variable for key in settings.api.keys or () if key.variable is not None}


def may_hold_key(variable: str, value: str) -> bool:
    """Whether no other process is to get this environment variable."""
    return variable == KEY_VARIABLE or _unquoted(value) in _READ


def mask(key: str) -> str:
    """The last 4 characters of a long key, none of a short one."""
    return f"***{key[-4:]}" if len(key) >= 16 else "***"


def shown_key_file(path: Path) -> str:
    """The path, unless it may be the key itself."""
    is_path_like = len(path.parts) > 1 or bool(path.suffix) or len(path.name) < 16
    return str(path) if is_path_like or path.exists() else "(its name is not shown: it looks like a key)"


def _require_one_way(
    settings: Settings, several: tuple[KeySettings, ...], environ: Mapping[str, str]
) -> None:
    """Raise `InputError` where a single key is given beside several: which was meant, nobody can tell."""
    given = []
    if _key_in(environ) and all(key.variable != KEY_VARIABLE for key in several):
        given.append(f"{KEY_VARIABLE} is set")
    if settings.api.key_file is not None:
        given.append("api.key_file names a file")
    if given:
        raise InputError(
            f"{' and '.join(given)}, and [[api.keys]] names keys as well: unset it, or remove the others "
            f"(one of them may have {KEY_VARIABLE} as its variable)"
        )


def _read_named(key: KeySettings, environ: Mapping[str, str]) -> str:
    what = f"the API key {key.name}"
    if key.file is not None:
        return _plain_in(key.file, what)
    found = _unquoted(environ.get(key.variable or "", ""))
    if not found:
        raise InputError(f"no API key {key.name}: the variable that [[api.keys]] names for it is not set")
    _require_plain(found, what)
    return found


def _plain_in(path: Path, what: str) -> str:
    where = f"the file {shown_key_file(path)}"
    text = _text_of(path, f"{what} from {where}", "correct its file in [[api.keys]]")
    found = _unquoted(_ASSIGNMENT.sub("", text, count=1) if _ASSIGNMENT.match(text) else text)
    if not found:
        raise InputError(f"{where} is empty: write {what} into it")
    _require_plain(found, f"{what} from {where}")
    return found


def _require_different(keys: list[ApiKey]) -> None:
    """Raise `InputError` where two names have the same key: its limits would be exceeded."""
    names: dict[str, str] = {}
    for key in keys:
        name = "" if key.limits is None else key.limits.name
        if key.value in names:
            raise InputError(
                f"the keys {names[key.value]} and {name} of [[api.keys]] are the same key: remove one of them"
            )
        names[key.value] = name


def _require_plain(key: str, what: str) -> None:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            f"{what} holds blanks, line breaks or characters that no key has: "
            "it must be the key alone, on one line"
        )


def _key_from(path: Path, where: str) -> str:
    advice = f"correct it, or set {KEY_VARIABLE}"
    text = _text_of(path, f"the API key from {where}", advice, " (setting api.key_file)")
    assigned = _ASSIGNMENT.match(text)
    is_ours = assigned is not None and assigned[1].upper() == KEY_VARIABLE
    key = _unquoted(_ASSIGNMENT.sub("", text, count=1) if is_ours else text)
    if not key:
        raise InputError(f"no API key: {where} is empty; write the key into it, or set {KEY_VARIABLE}")
    return key


def _text_of(path: Path, what: str, advice: str, setting: str = "") -> str:
    """The text of a key's file, without blanks around it. Raises `InputError` with the advice."""
    try:
        with path.open("rb") as file:
            return decoded(file.read(65_536)).strip()
    except OSError as error:
        raise InputError(f"cannot read {what}{setting}: {error.strerror}; {advice}") from None
    except UnicodeDecodeError:
        raise InputError(
            f"cannot read {what}: it is no plain ASCII text: save the key alone, as UTF-8"
        ) from None


def _key_in(environ: Mapping[str, str]) -> str:
    return _unquoted(environ.get(KEY_VARIABLE, ""))


def _unquoted(text: str) -> str:
    """The text without blanks, byte order mark and quotes around it, which editors and env files leave."""
    bare = text.strip().strip("\ufeff").strip()
    is_quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'"
    return bare[1:-1].strip() if is_quoted else bare


def without_key(text: str, environ: Mapping[str, str]) -> str:
    """The text with every key struck out, should someone have put one where a setting belongs."""
    for key in sorted({_key_in(environ), *_READ}, key=len, reverse=True):
        text = without_secret(text, key)
    return text
