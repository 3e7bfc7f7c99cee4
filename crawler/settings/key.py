"""The API key: from the environment or a file, and never in any text that is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from crawler.models.encodings import decoded, without_secret
from crawler.models.errors import InputError
from crawler.options import Settings

KEY_VARIABLE = "KEYAPI_API_KEY"
_ASSIGNMENT = re.compile(rf"(?:export\s+|set\s+|\$env:)?{KEY_VARIABLE}\s*=\s*", re.IGNORECASE)


def read_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """The API key from `KEYAPI_API_KEY`, or from the file that `api.key_file` names; else `InputError`."""
    key, where = _key_in(environ), KEY_VARIABLE
    if not key and settings.api.key_file is not None:
        where = f"the file {shown_key_file(settings.api.key_file)}"
        key = _key_from(settings.api.key_file, where)
    if not key:
        raise InputError(f"no API key: set {KEY_VARIABLE}, or name a file in the setting api.key_file")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            f"the API key from {where} holds blanks, line breaks or characters that no key has: "
            "it must be the key alone, on one line"
        )
    return key


def key_origin(settings: Settings, environ: Mapping[str, str]) -> str:
    """Where `read_key` looks for the key."""
    if _key_in(environ):
        return f"environment {KEY_VARIABLE}"
    if settings.api.key_file is not None:
        return f"file {shown_key_file(settings.api.key_file)}"
    return "nowhere"


def mask(key: str) -> str:
    """The last 4 characters of a long key, none of a short one."""
    return f"***{key[-4:]}" if len(key) >= 16 else "***"


def shown_key_file(path: Path) -> str:
    """The path, unless it may be the key itself."""
    is_path_like = len(path.parts) > 1 or bool(path.suffix) or len(path.name) < 16
    return str(path) if is_path_like or path.exists() else "(its name is not shown: it looks like a key)"


def _key_from(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            text = decoded(file.read(65_536)).strip()
    except OSError as error:
        raise InputError(
            f"cannot read the API key from {where} (setting api.key_file): {error.strerror}; "
            f"correct it, or set {KEY_VARIABLE}"
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            f"cannot read the API key from {where}: it is no plain ASCII text: save the key alone, as UTF-8"
        ) from None
    key = _unquoted(_ASSIGNMENT.sub("", text, count=1) if _ASSIGNMENT.match(text) else text)
    if not key:
        raise InputError(f"no API key: {where} is empty; write the key into it, or set {KEY_VARIABLE}")
    return key


def _key_in(environ: Mapping[str, str]) -> str:
    return _unquoted(environ.get(KEY_VARIABLE, ""))


def _unquoted(text: str) -> str:
    """The text without blanks, byte order mark and quotes around it, which editors and env files leave."""
    bare = text.strip().strip("\ufeff").strip()
    is_quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'"
    return bare[1:-1].strip() if is_quoted else bare


def without_key(text: str, environ: Mapping[str, str]) -> str:
    """The text with the key struck out, should someone have put it where a setting belongs."""
    return without_secret(text, _key_in(environ))
