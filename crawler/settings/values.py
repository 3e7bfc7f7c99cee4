"""One raw value as its option has it, or why it is refused: text of flags and environment, or a TOML value.

Open it to add a kind of value, or a rule between two values.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import date
from importlib.util import find_spec
from math import nan
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from crawler.models.api import SortOrder, is_loopback
from crawler.models.errors import InputError
from crawler.models.keys import KeySettings
from crawler.models.seller import Strategy
from crawler.models.storage import StorageAddress
from crawler.options import (
    OPTIONS,
    PREFIX,
    Choice,
    DaskSettings,
    Kind,
    Number,
    Option,
    RunSettings,
    Settings,
    Switch,
)
from crawler.settings.key import shown_key_file

_FIRST_DATE = date(2000, 1, 1)
_YES = frozenset({"true", "1", "yes", "on", "t", "y"})
_NO = frozenset({"false", "0", "no", "off", "f", "n"})
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9-]+")
_NODE = re.compile(r"(?:tcp|tls)://(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}")
_HOST_PORT = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:]+\])?:\d{1,5}")
_KEY_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(rf"(?!{PREFIX})[A-Z_][A-Z0-9_]*")
_KEY_WORDS = frozenset({"key", "api_key", "value", "token", "secret"})
_QPS, _BUDGET = OPTIONS["run.qps"].kind, OPTIONS["credits.budget"].kind
_KEY_LIMITS: dict[str, Any] = {"qps": _QPS, "daily_budget": _BUDGET, "monthly_budget": _BUDGET}
_WHOLE = re.compile(r"([+-]?\d+(?:_\d+)*)(?:\.0+)?", re.ASCII)


NO_URL = (
    "a local folder is wanted, not a URL: its files are locked, synced and renamed in place, which storage "
    "behind a URL cannot do; name a path such as /var/lib/crawler"
)
"""Why no URL can be a data folder, and what to do."""


class RefusedValueError(Exception):
    """A value that an option does not take: says what is wanted."""


def read_value(option: Option, raw: Any, taken: Mapping[str, Any]) -> Any:
    """The value that `raw` is of this option, beside those `taken` before it. Raises `RefusedValueError`."""
    kind = option.kind
    if isinstance(raw, bool) and not isinstance(kind, Switch):
        raise RefusedValueError(f"{kind.allowed} is wanted, not true or false")
    value = None
    # What cannot be converted is none of the kind.
    with suppress(ValueError, OverflowError, KeyError, OSError):
        value = _read(kind, raw)
    if value is None:
        raise RefusedValueError(f"{kind.allowed} is wanted")
    _require_compatible(option.name, value, taken)
    return value


def read_crawl_date(text: str) -> date:
    """A crawl date that a command is about; raises `InputError`."""
    try:
        found: date = read_value(OPTIONS["run.crawl_date"], text, {})
    except RefusedValueError as error:
        raise InputError(f"{text!r} is no crawl date: {error}") from None
    return found


def contradictions(settings: Settings, origins: Mapping[str, str]) -> Iterator[str]:
    """What cannot be meant together, though each value can."""
    parts = urlsplit(settings.api.url)
    if parts.scheme == "http" and not settings.api.allow_http and not is_loopback(parts.hostname or ""):
        yield (
            f"api.url ({origins['api.url']}): {shown('api.url', settings.api.url)}: the key would travel "
            "in the clear: use https, or set api.allow_http"
        )
    yield from _faults_of_tables(settings, origins["output.delta"])
    yield from _faults_of_executor(settings.run, settings.dask, origins)
    if settings.run.resume and settings.run.fresh:
        yield (
            f"run.resume ({origins['run.resume']}) and run.fresh ({origins['run.fresh']}) contradict each "
            "other: go on with a date, or crawl it anew"
        )
    if settings.run.resume and settings.run.crawl_date is not None:
        yield (
            f"run.resume ({origins['run.resume']}) and run.crawl_date ({origins['run.crawl_date']}) "
            "contradict each other: --crawl-date alone goes on with that date"
        )


def _faults_of_executor(run: RunSettings, dask: DaskSettings, origins: Mapping[str, str]) -> Iterator[str]:
    """Why a crawl cannot run where the settings say."""
    executor = f"run.executor ({origins['run.executor']})"
    if (run.executor == "dask") != (run.scheduler is not None):
        yield (
            f"{executor} and run.scheduler ({origins['run.scheduler']}) do not go together: "
            "--executor dask needs the address of a scheduler, and nothing else takes one"
        )
    if run.executor == "local":
        return
    if find_spec("distributed") is None:
        yield f"{executor} needs an extra: pip install 'shop-video-crawler[dask]', or use --executor local"
    given = [dask.tls_ca_file, dask.tls_cert_file, dask.tls_key_file]
    if any(given) and not all(given):
        yield "dask.tls_ca_file, dask.tls_cert_file and dask.tls_key_file go together: give all or none"
    for address in (run.scheduler, dask.listen):
        if address is not None and address.startswith("tls://") != all(given):
            yield f"{address} and the certificates of [dask] do not go together: only tls:// takes them"
    for name, why in _NEEDS_ONE_PROCESS.items():
        value = getattr(run, name.removeprefix("run."))
        if value == Strategy.BEST_FIRST if name == "run.strategy" else value:
            yield f"{name} ({origins[name]}) needs --executor local: {why}"


def _faults_of_tables(settings: Settings, origin: str) -> Iterator[str]:
    """Why Delta tables cannot be kept where the settings say."""
    delta = settings.output.delta
    if delta is None:
        return
    if find_spec("deltalake") is None:
        yield f"output.delta ({origin}) needs an extra: pip install 'shop-video-crawler[delta]', or unset it"
    data = settings.run.data.absolute()
    if not is_url(delta) and Path(delta).absolute().is_relative_to(data):
        yield (
            f"output.delta ({origin}): {shown('output.delta', delta)} lies in the data folder {data}, where "
            "others scan and copy: name a folder outside it"
        )


def shown(name: str, value: Any) -> str:
    """A value as a message may show it: short, and without what may be a secret."""
    if name == "api.key_file" or OPTIONS[name].is_secret:
        return "(not shown)"
    text = value if isinstance(value, str) else repr(value)
    if name == "api.url" or is_url(text):
        text = re.sub(r"^(\w+:/*)?.*@", r"\1…@", text, flags=re.DOTALL)
        text = re.sub(r"([?#]).*", r"\1…", text, flags=re.DOTALL)
    text = text if len(text) <= 80 else text[:79] + "…"
    return repr(text) if isinstance(value, str) else text


def displayed(name: str, value: Any) -> str:
    """A setting's value for a list of settings: of a secret one only what does not give it away."""
    if value is None:
        return "none"
    if name == "api.key_file":
        return shown_key_file(value)
    if name == "api.keys":
        return ", ".join(key.name for key in value)
    if OPTIONS[name].is_secret:
        return f"{value[0] if isinstance(value, tuple) else host_of(value)} …"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def host_of(url: str) -> str:
    """The host that an address names, and its port where it has one: nothing else of it may be shown."""
    return urlsplit(url).netloc.rpartition("@")[2]


_NEEDS_ONE_PROCESS = {
    "run.strategy": "best-first chooses each page by the pages of all sellers",
    "run.top": "when it is over depends on the pages of all sellers",
}

_NOT_WITH_FRESHEST = {
    "run.top": "what is carried is not certain",
    "run.min_value": "what is not read is carried, whatever it is worth",
    "run.carry_forward": "that carries what it does not read by itself",
    "run.fresh": "that reads all listed sellers again",
}


def _require_compatible(name: str, value: Any, taken: Mapping[str, Any]) -> None:
    if value and name in _NOT_WITH_FRESHEST and taken.get("run.strategy") == Strategy.FRESHEST:
        raise RefusedValueError(f"it cannot go with the strategy freshest: {_NOT_WITH_FRESHEST[name]}")
    most = OPTIONS["run.max_pages"].default
    if name == "run.strategy" and value == Strategy.FRESHEST and taken.get("run.max_pages", most) != most:
        raise RefusedValueError("freshest cannot go with max-pages: what lies beyond would only grow older")
    if name == "run.target" and taken.get("run.strategy") != Strategy.FRESHEST:
        raise RefusedValueError("it needs the strategy freshest: the others know no gains")
    if name == "run.carry_forward" and value and taken.get("run.top") is not None:
        raise RefusedValueError("it cannot go with top: what is carried is not certain")
    is_best_first = name == "run.strategy" and value == Strategy.BEST_FIRST
    if (is_best_first or name in {"run.top", "run.min_value"}) and taken.get("run.order") == SortOrder.ASC:
        raise RefusedValueError("it needs the order desc: what comes later must be worth less")


def _read(kind: Kind, raw: Any) -> Any:
    """The value; None where it is none of the kind."""
    match kind:
        case Switch():
            return _switch(raw)
        case Choice():
            return next((word for word in kind.words if raw == word), None)
        case Number(is_whole=True):
            return _whole(kind, raw)
        case Number():
            return _number(kind, raw)
        case _:
            return _FORMS[kind.form](raw)


def _switch(raw: Any) -> bool | None:
    if isinstance(raw, int | float):
        return bool(raw) if raw in {0, 1} else None
    word = raw.lower() if isinstance(raw, str) else ""
    return True if word in _YES else False if word in _NO else None


def _number(kind: Number, raw: Any) -> float | None:
    if isinstance(raw, str):
        raw = raw.strip().removesuffix(kind.unit) if raw.isascii() else ""
    value = float(raw) if isinstance(raw, str | int | float) else nan
    return value if kind.holds(value) else None


def _whole(kind: Number, raw: Any) -> int | str | None:
    if kind.word and raw == kind.word:
        return kind.word
    if isinstance(raw, str):
        found = _WHOLE.fullmatch(raw.strip().removesuffix(kind.unit).rstrip())
        raw = found[1] if found else ""
    elif isinstance(raw, float) and not raw.is_integer():
        return None
    return int(raw) if isinstance(raw, str | int | float) and kind.holds(int(raw)) else None


def _words(raw: Any) -> tuple[str, ...] | None:
    if isinstance(raw, str):
        words = json.loads(raw) if raw.lstrip().startswith('["') else shlex.split(raw)
    else:
        words = raw
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        return None
    return tuple(words) if words[0] and not any("\0" in word for word in words) else None


def _codes(raw: Any) -> tuple[int, ...] | None:
    codes = [int(code) for code in re.split(r"[\s,]+", raw.strip("[()] "))] if isinstance(raw, str) else raw
    if not isinstance(codes, list | tuple) or not codes:
        return None
    is_each_a_code = all(type(code) is int and 0 <= code <= 255 for code in codes)
    return tuple(codes) if is_each_a_code else None


def _keys(raw: Any) -> tuple[str, ...] | None:
    keys = re.findall(r"\w+", raw) if isinstance(raw, str) else raw
    known = (("crawl_date",), ("crawl_date", "region"))
    return next((each for each in known if keys in (each, [*each])), None)


def _key_tables(raw: Any) -> tuple[KeySettings, ...] | None:
    """No word of a table is shown but a name that is one: any other might be the key itself."""
    tables = json.loads(raw) if isinstance(raw, str) else raw
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        return None
    keys = tuple(_key_table(table, number) for number, table in enumerate(tables, 1))
    for name in (key.name for key in keys):
        if sum(key.name == name for key in keys) > 1:
            raise RefusedValueError(f"two keys have the name {name}: give each its own")
    return keys


def _key_table(table: Mapping[str, Any], number: int) -> KeySettings:
    name = table.get("name")
    if not isinstance(name, str) or not _KEY_NAME.fullmatch(name):
        raise RefusedValueError(
            f"table {number} needs a name: 32 of a to z, 0 to 9, - and _ at most, first a letter or a digit"
        )
    allowed = {one.name for one in fields(KeySettings)}
    if unknown := table.keys() - allowed:
        secret = ": the key itself is never kept here, only where it is" if unknown & _KEY_WORDS else ""
        known = ", ".join(sorted(unknown & _KEY_WORDS)) or f"{len(unknown)} settings that no key has"
        raise RefusedValueError(f"key {name} has {known}{secret}; it takes {', '.join(sorted(allowed))}")
    variable, path = table.get("variable"), table.get("file")
    if (variable is None) == (path is None):
        raise RefusedValueError(f"key {name} needs a variable or a file, one of the two")
    if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
        raise RefusedValueError(
            f"key {name}: variable must be the name of an environment variable, in capital letters, digits "
            f"and _, that does not begin with {PREFIX}"
        )
    limits = {
        word: _key_limit(name, word, kind, table[word]) for word, kind in _KEY_LIMITS.items() if word in table
    }
    try:
        file = None if path is None else _file(path)
    except RefusedValueError as error:
        raise RefusedValueError(f"key {name}: file: {error}") from None
    if path is not None and file is None:
        raise RefusedValueError(f"key {name}: file must be the path of a file")
    return KeySettings(name=name, variable=variable, file=file, **limits)


def _key_limit(name: str, word: str, kind: Number, raw: Any) -> Any:
    value = None
    if not isinstance(raw, bool | str):
        with suppress(ValueError, OverflowError):
            value = _whole(kind, raw) if kind.is_whole else _number(kind, raw)
    if value is None:
        raise RefusedValueError(f"key {name}: {word} must be {kind.allowed}")
    return value


def _template(raw: Any) -> str | None:
    if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
        return None
    if is_json_text(raw):
        try:
            json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RefusedValueError(f"it is no JSON: {error}") from None
    return raw


def is_json_text(template: str) -> bool:
    """Whether a template is JSON itself, rather than the path of a file of it."""
    return template.lstrip()[:1] in ("{", "[", '"')


def _hook(raw: Any) -> str | None:
    url = _url_of(raw)
    if url is not None and "#" in url:
        raise RefusedValueError("# is not allowed in the address")
    return url


def _url_of(raw: Any) -> str | None:
    if not isinstance(raw, str):
        return None
    # urlsplit drops line breaks in silence, and others read a backslash as a slash
    if not raw.isprintable() or " " in raw or "\\" in raw:
        raise RefusedValueError("blanks, control characters and \\ are not allowed in the address")
    parts = urlsplit(raw)
    is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    return raw if is_address else None


def _address(raw: Any) -> str | None:
    url = _url_of(raw)
    if url is not None and ("@" in urlsplit(url).netloc or "?" in url or "#" in url):
        raise RefusedValueError("a user, a password, ? and # are not allowed in the address")
    return url


def _bucket(raw: Any) -> str | None:
    if not isinstance(raw, str):
        return None
    if "@" in raw or "?" in raw:
        raise RefusedValueError("a user, a password and ? are not allowed in the address")
    return str(StorageAddress.of(raw))


def _tables(raw: Any) -> str | None:
    if not isinstance(raw, str) or is_url(raw):
        return _bucket(raw)
    return None if (folder := _folder(raw)) is None else str(folder)


def _word(raw: Any) -> str | None:
    return raw if isinstance(raw, str) and _WORD.fullmatch(raw) else None


def _node(raw: Any) -> str | None:
    return raw if isinstance(raw, str) and _NODE.fullmatch(raw) else None


def _host_port(raw: Any) -> str | None:
    return raw if isinstance(raw, str) and _HOST_PORT.fullmatch(raw) else None


def _file(raw: Any) -> Path | None:
    if not isinstance(raw, str):
        return raw if isinstance(raw, Path) else None
    if not raw.strip() or "\0" in raw:
        raise RefusedValueError("a path is wanted")
    try:
        return Path(raw).expanduser()
    except RuntimeError:
        raise RefusedValueError("~ is no home folder here: name the path in full") from None


def _folder(raw: Any) -> Path | None:
    path = _file(raw)
    if is_url(str(raw)):
        raise RefusedValueError(NO_URL)
    if not _is_utf8(str(path)):  # Arrow takes no such names
        raise RefusedValueError("the path of a folder whose name is UTF-8 is wanted")
    return path


def is_url(text: str) -> bool:
    """Whether text that should be a path is an address, such as `s3://bucket/name`."""
    return _URL.match(text) is not None


def _column(raw: Any) -> str | None:
    return raw if isinstance(raw, str) and raw and _is_utf8(raw) else None


def _is_utf8(text: str) -> bool:
    # Other bytes of a command line come as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _zone(raw: Any) -> str | None:
    return ZoneInfo(raw).key if isinstance(raw, str) else None


def _date(raw: Any) -> date | None:
    if isinstance(raw, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", raw):
        try:
            raw = date.fromisoformat(raw)
        except ValueError:
            raise RefusedValueError("no such day in the calendar") from None
    if type(raw) is not date:
        return None
    # Each night since would be one that was missed.
    if raw < _FIRST_DATE:
        raise RefusedValueError(f"a day from {_FIRST_DATE} on is wanted")
    return raw


_FORMS: dict[str, Callable[[Any], Any]] = {
    "address": _address,
    "bucket": _bucket,
    "tables": _tables,
    "word": _word,
    "node": _node,
    "host_port": _host_port,
    "file": _file,
    "folder": _folder,
    "column": _column,
    "zone": _zone,
    "date": _date,
    "hook": _hook,
    "words": _words,
    "codes": _codes,
    "template": _template,
    "keys": _keys,
    "key_tables": _key_tables,
}
