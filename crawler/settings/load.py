"""Every setting: typed, validated as a whole, each knowing where its value came from."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from crawler.models.addresses import is_loopback
from crawler.models.api import MAX_PAGE_NUM, SortField, SortOrder, StopRule, Strategy
from crawler.models.encodings import decoded
from crawler.models.errors import InputError

DEFAULT_CONFIG = Path("config/crawler.toml")
KEY_VARIABLE = "KEYAPI_API_KEY"
_PREFIX = "CRAWLER_"
_CONFIG_VARIABLE = "CRAWLER_CONFIG"
_SHOWN = 80
_NEAR = 0.65
_KEY_HINT = f"the key is never kept here: set {KEY_VARIABLE}, or name its file in api.key_file"
_KEY_NAMES = {"KEY", "API_KEY", "API_API_KEY", "TOKEN", "API_TOKEN", "KEYAPI_API_KEY"}

_SERVICE_VARIABLE = re.compile(
    rf"{_PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(rf"{_PREFIX}(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*", re.IGNORECASE | re.DOTALL)
_ASSIGNMENT = re.compile(rf"(?:export\s+|set\s+|\$env:)?{KEY_VARIABLE}\s*=\s*", re.IGNORECASE)

SECONDS = "a number of seconds from 0"
POSITIVE_SECONDS = "a number of seconds above 0"
YES_NO = "true or false"


class _Section(BaseModel):
    """A section of the settings; each field's description says what is allowed, for its faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: Any) -> Any:
        field = cls.model_fields[info.field_name]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError(f"{field.description} is wanted, not true or false")
        return value


def _path(value: Any) -> Any:
    """Refuse what names no file, and read a leading ~ as the shell would: a file has no shell."""
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("a path is wanted")
    if isinstance(value, str):
        try:
            return Path(value).expanduser()
        except RuntimeError:
            raise ValueError("~ stands for no home folder here: name the path in full") from None
    return value


class ApiSettings(_Section):
    """How the API is reached; times in seconds."""

    url: str = Field("https://api.keyapi.ai", description="an address such as https://api.keyapi.ai")
    key_file: Path | None = Field(None, description="the path of a file")
    allow_http: bool = Field(False, description=YES_NO)
    timeout: float = Field(30.0, gt=0, allow_inf_nan=False, description=POSITIVE_SECONDS)
    connect_timeout: float = Field(10.0, gt=0, allow_inf_nan=False, description=POSITIVE_SECONDS)
    retry_after_cap: float = Field(60.0, gt=0, allow_inf_nan=False, description=POSITIVE_SECONDS)

    _read_path = field_validator("key_file", mode="before")(_path)

    @field_validator("url")
    @classmethod
    def _is_base_address(cls, value: str) -> str:
        # urlsplit drops line breaks in silence, and others read a backslash as a slash
        if not value.isprintable() or " " in value or "\\" in value:
            raise ValueError("no blanks, control characters or \\ may stand in the address")
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("an address such as https://api.keyapi.ai is wanted") from None
        if parts.scheme not in {"http", "https"} or not host or port == 0:
            raise ValueError("an address such as https://api.keyapi.ai is wanted")
        if "@" in parts.netloc or "?" in value or "#" in value:
            raise ValueError("no user, password, ? or # may stand in the address")
        return value


class RunSettings(_Section):
    """What a run does; times in seconds, `late_after` in hours, `qps` in requests a second."""

    data: Path = Field(Path("data"), description="the path of a folder")
    qps: float = Field(5.0, ge=0.1, le=10_000, allow_inf_nan=False, description="a number from 0.1 to 10000")
    workers: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = Field(
        "auto", description="auto or a whole number from 1 to 4096"
    )
    patience: float = Field(900.0, ge=0, allow_inf_nan=False, description=SECONDS)
    stop: StopRule = Field(StopRule.SHORT, description="short or empty")
    max_pages: int = Field(
        MAX_PAGE_NUM, ge=1, le=MAX_PAGE_NUM, description=f"a whole number from 1 to {MAX_PAGE_NUM}"
    )
    lookahead: Literal["off", "history", "gallop"] = Field("history", description="off, history or gallop")
    lookahead_pages: int = Field(
        10, ge=2, le=MAX_PAGE_NUM, description=f"a whole number from 2 to {MAX_PAGE_NUM}"
    )
    sort: SortField = Field(SortField.VIEWS, description="views, sales or gmv")
    order: SortOrder = Field(SortOrder.DESC, description="desc or asc")
    strategy: Strategy = Field(Strategy.DEPTH_FIRST, description="depth-first, breadth-first or best-first")
    top: int | None = Field(None, ge=1, le=1_000_000, description="a whole number from 1 to 1000000")
    min_value: float | None = Field(None, allow_inf_nan=False, description="a number")
    probe: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, description="a share from 0 to 1")
    carry_forward: bool = Field(False, description=YES_NO)
    max_age: int = Field(7, ge=1, le=365, description="a whole number of days from 1 to 365")
    audit: float = Field(0.05, ge=0, le=1, allow_inf_nan=False, description="a share from 0 to 1")
    repair_drift: bool = Field(False, description=YES_NO)
    crawl_date: date | None = Field(None, description="a date such as 2026-11-23")
    timezone: str = Field("UTC", description="a time zone name such as UTC or Asia/Singapore")
    column: str | None = Field(None, min_length=1, description="the name of a column")
    skip_bad_ids: bool = Field(False, description=YES_NO)
    fresh: bool = Field(False, description=YES_NO)
    late: bool = Field(False, description=YES_NO)
    late_after: float = Field(
        36.0, ge=0, le=876_000, allow_inf_nan=False, description="a number of hours from 0 to 876000"
    )
    retry_failed: bool = Field(False, description=YES_NO)
    resume: bool = Field(False, description=YES_NO)
    json_report: bool = Field(False, alias="json", description=YES_NO)
    attempts: int = Field(6, ge=5, le=10, description="a whole number from 5 to 10")
    backoff: float = Field(1.0, gt=0, allow_inf_nan=False, description=POSITIVE_SECONDS)
    grace: float = Field(10.0, ge=0, allow_inf_nan=False, description=SECONDS)
    # the upper end keeps dates within what a calendar can count
    keep_days: int = Field(30, ge=1, le=36_500, description="a whole number of days from 1 to 36500")

    _read_path = field_validator("data", mode="before")(_path)

    @field_validator("data")
    @classmethod
    def _is_text(cls, value: Path) -> Path:
        """Arrow takes no other names."""
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise ValueError("the path of a folder whose name is UTF-8 is wanted") from None
        return value

    @field_validator("late_after", mode="before")
    @classmethod
    def _without_unit(cls, value: Any) -> Any:
        """A number may be followed by its unit, as in "36 h"."""
        return value.strip().removesuffix("h") if isinstance(value, str) else value

    @field_validator("crawl_date", mode="before")
    @classmethod
    def _is_calendar_date(cls, value: Any) -> Any:
        """Numbers and times would be read as moments, which is not what a crawl date is."""
        if value is None or type(value) is date:
            return value
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                raise ValueError("no such day in the calendar") from None
        raise ValueError("a date such as 2026-11-23 is wanted")

    @field_validator("carry_forward")
    @classmethod
    def _is_not_for_top(cls, value: bool, info: Any) -> bool:
        if value and info.data.get("top") is not None:
            raise ValueError("it cannot go with top: what is carried is not certain")
        return value

    @field_validator("strategy", "top", "min_value")
    @classmethod
    def _goes_down(cls, value: Any, info: Any) -> Any:
        wants_order = value is not None and value not in {Strategy.DEPTH_FIRST, Strategy.BREADTH_FIRST}
        if wants_order and info.data.get("order") is SortOrder.ASC:
            raise ValueError("it needs the order desc: what comes later must be worth less")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("a time zone name such as UTC or Asia/Singapore is wanted") from None
        return value


class CreditSettings(_Section):
    """What may be spent, in credits."""

    # the upper end keeps sums within what the ledger's integers hold
    budget: int | None = Field(None, ge=0, le=10**15, description="a whole number of credits from 0")
    monthly_budget: int | None = Field(None, ge=0, le=10**15, description="a whole number of credits from 0")
    # each month has these days
    month_begins: int = Field(1, ge=1, le=28, description="a day of the month from 1 to 28")


class JournalSettings(_Section):
    """How safely pages are kept: `commit_ms` in milliseconds, `reserve_mib` in MiB."""

    sync: Literal["power-loss", "process-kill"] = Field(
        "power-loss", description="power-loss or process-kill"
    )
    commit_ms: int = Field(5, ge=1, le=1000, description="a whole number of milliseconds from 1 to 1000")
    reserve_mib: int = Field(64, ge=0, description="a whole number of MiB from 0")


class LogSettings(_Section):
    """What is printed."""

    format: Literal["text", "json"] = Field("text", description="text or json")
    quiet: bool = Field(False, description=YES_NO)
    no_progress: bool = Field(False, description=YES_NO)


class Settings(BaseSettings):
    """All settings; `load` fills them from flags, environment and file."""

    model_config = ConfigDict(extra="forbid", frozen=True)  # type: ignore[assignment]  # a plain config suffices

    api: ApiSettings = ApiSettings()
    run: RunSettings = RunSettings()
    credits: CreditSettings = CreditSettings()
    journal: JournalSettings = JournalSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        *_args: Any,
        **_others: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: it has merged the sources, knowing each value's origin."""
        return (init_settings,)


_Layer = dict[str, tuple[Any, str]]
_LEVELS = ("file", "environment", "flags")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value (by section.name), and what is worth a warning.

    `layers` has the raw values with their origins, those of the file first, those of the flags last.
    """

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[str, ...]
    config_path: Path | None
    layers: tuple[_Layer, ...] = ()
    is_config_named: bool = False


class SettingsError(InputError):
    """Faults in the settings, all at once; `usable` has the default in the place of each refused value."""

    def __init__(self, faults: tuple[str, ...], usable: Loaded) -> None:
        super().__init__("these settings cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
        self.faults = faults
        self.usable = usable


_RUN_FLAGS = (
    "data qps workers patience stop max_pages lookahead sort order strategy top min_value probe",
    "carry_forward max_age audit repair_drift",
    "crawl_date column skip_bad_ids fresh late retry_failed resume json",
)

FLAGS: dict[str, str] = {
    "api.url": "api-url",
    "api.timeout": "timeout",
    "credits.budget": "budget",
    "log.format": "log-format",
    "log.quiet": "quiet",
    "log.no_progress": "no-progress",
    **{f"run.{name}": name.replace("_", "-") for line in _RUN_FLAGS for name in line.split()},
}
"""The flag of each setting that has one."""

_NOT_REPEATED = {"run.crawl_date", "run.fresh", "run.late", "run.resume", "run.json"}
_NOT_RESUMED = _NOT_REPEATED | {
    "run.data",
    "api.key_file",
    "log.format",
    "log.quiet",
    "log.no_progress",
}
"""What `--resume` does not restore: where it looks, what is done once, what is printed, the key's place."""


def setting_names() -> list[str]:
    """Every setting as section.name, as the file spells it."""
    return [
        f"{section}.{field.alias or name}"
        for section, model in _sections()
        for name, field in model.model_fields.items()
    ]


def variables() -> dict[str, str]:
    """Every environment variable that is read, with the section.name it sets; `CRAWLER_CONFIG` apart."""
    names = {f"{_PREFIX}{name.replace('.', '_').upper()}": name for name in setting_names()}
    return names | {f"{_PREFIX}{flag.replace('-', '_').upper()}": name for name, flag in FLAGS.items()}


def value_of(settings: Settings, name: str) -> Any:
    """The value of section.name."""
    section, _, key = name.partition(".")
    return getattr(getattr(settings, section), "json_report" if key == "json" else key)


def flags_of(loaded: Loaded, names: Iterable[str] = FLAGS) -> list[str]:
    """The flags that set again what is not as by default, for a command to be shown; no crawl date.

    A default that was asked for is told too: it may stand against the settings file.
    """
    settings, default = loaded.settings, Settings.model_construct()
    words = [] if loaded.config_path in {None, DEFAULT_CONFIG} else ["--config", str(loaded.config_path)]
    for name in names:
        flag, value = FLAGS[name], value_of(settings, name)
        is_asked_for = value is not False and loaded.origins[name].startswith(("flag", "environment"))
        if name in _NOT_REPEATED or (value == value_of(default, name) and not is_asked_for):
            continue
        words += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
    return words


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Merge flags, environment and file over the defaults, and validate the whole.

    `flags` maps section.name to the raw value of each flag given; `config` is the file a flag named.
    Raises `SettingsError` (an `InputError`) that tells all faults at once, each with its setting, where
    it came from, its value, and what is allowed.
    """
    faults: list[str] = []
    warnings: list[str] = []
    from_environment, path = _from_environment(environ, faults, warnings)
    if config is not None:
        path = config
    layers = (
        _layer(_from_file(path, faults)),
        _layer(from_environment),
        _layer((name, value, f"flag --{FLAGS.get(name, name)}") for name, value in flags.items()),
    )
    return _merged(layers, path, environ, faults, warnings)


def _layer(values: Iterable[tuple[str, Any, str]]) -> _Layer:
    return {name: (value, origin) for name, value, origin in values}


def _merged(
    layers: tuple[_Layer, ...],
    named: Path | None,
    environ: Mapping[str, str],
    faults: list[str],
    warnings: Iterable[str],
) -> Loaded:
    """Later layers over earlier ones, validated; `named` is the settings file where one was named."""
    merged = {name: pair for layer in layers for name, pair in layer.items()}
    origins = dict.fromkeys(setting_names(), "default") | {name: pair[1] for name, pair in merged.items()}
    settings = _validate({name: pair[0] for name, pair in merged.items()}, origins, faults)
    told = tuple(_without_key(warning, environ) for warning in warnings)
    loaded = Loaded(settings, origins, told, named or _default_config(), layers, named is not None)
    if faults:
        raise SettingsError(tuple(_without_key(fault, environ) for fault in faults), loaded)
    return loaded


def options_of(loaded: Loaded) -> str:
    """What of these settings `resumed` sets again: JSON of the raw values, by where they came from.

    Neither the key nor the path of its file is in it.
    """
    options: dict[str, Any] = {
        level: {name: value for name, (value, _) in layer.items() if name not in _NOT_RESUMED}
        for level, layer in zip(_LEVELS, loaded.layers, strict=True)
    }
    if loaded.is_config_named:
        options["config"] = os.path.abspath(loaded.config_path or "")  # noqa: PTH100 - links stay as they are
    return json.dumps(options, default=str)


def resumed(loaded: Loaded, options: str, environ: Mapping[str, str], left_out: Iterable[str] = ()) -> Loaded:
    """These settings over the `options` of the run that is gone on with (see `options_of`).

    A flag then beats variable and file now, as if it were given again; of the same source the value now
    beats the one then; what is `left_out` is not restored. The settings file that was named then is read,
    unless another one is named now.
    Raises `InputError` where the options cannot be read, `SettingsError` where they cannot be used.
    """
    layers, config = _stored_options(options)
    not_resumed = _NOT_RESUMED.union(left_out)
    faults: list[str] = []
    now, named = list(loaded.layers), loaded.config_path if loaded.is_config_named else None
    if named is None and config is not None:
        named = Path(config)
        now[0] = _layer(_from_file(named, faults))
    words = {"file": "settings file", "environment": "environment", "flags": "flag"}
    merged = tuple(
        {
            name: (value, f"{words[level]} of the run that is gone on with")
            for name, value in then.items()
            if name not in not_resumed
        }
        | layer
        for level, then, layer in zip(_LEVELS, layers, now, strict=True)
    )
    return _merged(merged, named, environ, faults, loaded.warnings)


def _stored_options(options: str) -> tuple[list[dict[str, Any]], str | None]:
    """The values of each level, and the settings file that was named."""
    fault, stored = "", None
    try:
        stored = json.loads(options)
    except (ValueError, RecursionError) as error:
        fault = str(error)
    values = stored if isinstance(stored, dict) else {}
    config = values.get("config")
    layers: list[dict[str, Any]] = [v for level in _LEVELS if isinstance(v := values.get(level), dict)]
    if len(layers) == len(_LEVELS) and isinstance(config, str | None):
        unknown = sorted({name for layer in layers for name in layer} - set(setting_names()))
        if not unknown:
            return layers, config
        fault = f"unknown setting {unknown[0]}"
    raise InputError(
        f"the options of the run to go on with cannot be read{f' ({fault})' if fault else ''}: in the place "
        "of --resume name its --crawl-date, its list and every option that is to hold"
    )


def in_words(loaded: Loaded) -> str:
    """Every setting that is not as by default, for people: flags as such, the others by their names."""
    default = Settings.model_construct()
    others = [
        f"{name}={value_of(loaded.settings, name)}"
        for name in setting_names()
        if name not in FLAGS
        and name not in _NOT_RESUMED
        and value_of(loaded.settings, name) != value_of(default, name)
    ]
    return shlex.join([*flags_of(loaded), *others]) or "the default options"


def read_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """The API key from `KEYAPI_API_KEY`, or from the file that `api.key_file` names.

    Raises `InputError` that says what to do, never naming the key.
    """
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
    """The path, unless it may be the key itself, put where its file's name belongs."""
    is_path_like = len(path.parts) > 1 or bool(path.suffix) or len(path.name) < 16
    return str(path) if is_path_like or path.exists() else "(its name is not shown: it looks like a key)"


def _key_from(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            text = decoded(file.read(65_536)).strip()
    except OSError as error:
        raise InputError(
            f"cannot read the API key from {where} (setting api.key_file): {error.strerror}; "
            f"mend it, or set {KEY_VARIABLE}"
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


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)  # noqa: S101, PT018 - by construction
        yield name, model


def _default_config() -> Path | None:
    try:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    except OSError:
        return None


def _from_file(named: Path | None, faults: list[str]) -> Iterator[tuple[str, Any, str]]:
    path = named or _default_config()
    if path is None:
        return
    document = _read_toml(path, faults)
    known = setting_names()
    sections = {name.partition(".")[0] for name in known}
    for section, table in document.items():
        if section not in sections:
            faults.append(f"{path}: {_unknown_section(section, table, sections, known)}")
        elif not isinstance(table, dict):
            faults.append(f"{path}: [{section}] is a section, not a value of its own")
        else:
            for key, value in table.items():
                if f"{section}.{key}" in known:
                    yield f"{section}.{key}", value, str(path)
                else:
                    faults.append(f"{path}: unknown setting {section}.{key}{_nearest(section, key, known)}")


def _read_toml(path: Path, faults: list[str]) -> dict[str, Any]:
    text = ""
    try:
        text = decoded(path.read_bytes())
        return tomllib.loads(text)
    except FileNotFoundError:
        faults.append(f"{path}: cannot be read: no such file")
    except IsADirectoryError:
        faults.append(f"{path}: cannot be read: a folder; name the TOML file in it")
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(f"{path}: cannot be read: no UTF-8 text (line {line}), so no TOML: save it as UTF-8")
    except (ValueError, RecursionError) as error:
        end = f"end of document, line {text.count(chr(10)) + 1}"
        faults.append(f"{path}: cannot be read: no TOML: {error}".replace("end of document", end))
    return {}


def _unknown_section(section: str, table: Any, sections: set[str], known: list[str]) -> str:
    if not isinstance(table, dict):
        return f"unknown setting {section}{_nearest('', section, known)}"
    near = difflib.get_close_matches(section.lower(), sorted(sections), 1, _NEAR)
    return f"unknown section [{section}]" + (f"; did you mean [{near[0]}]?" if near else "")


def _nearest(section: str, key: str, known: list[str]) -> str:
    """What a key that is unknown in its section may have meant: the same key elsewhere, or a near one."""
    leaf = key.replace("-", "_").lower()
    if leaf.upper() in _KEY_NAMES:
        return f"; {_KEY_HINT}"
    same = [name for name in known if name.partition(".")[2] == leaf]
    if same and not same[0].startswith(f"{section}."):
        return f"; did you mean {same[0]}? It belongs in [{same[0].partition('.')[0]}]"
    here = [name.partition(".")[2] for name in known if name.startswith(f"{section}.")]
    near = [f"{section}.{name}" for name in difflib.get_close_matches(leaf, here, 1, _NEAR)]
    leaves = {name.partition(".")[2]: name for name in known}
    near = near or [leaves[name] for name in difflib.get_close_matches(leaf, leaves, 1, _NEAR)]
    return f"; did you mean {near[0]}?" if near else ""


def _from_environment(
    environ: Mapping[str, str], faults: list[str], warnings: list[str]
) -> tuple[list[tuple[str, Any, str]], Path | None]:
    """The values of the environment, and the settings file it names."""
    names = variables() | {_CONFIG_VARIABLE: _CONFIG_VARIABLE}
    seen: dict[str, tuple[str, str]] = {}
    for variable, raw in sorted(environ.items()):
        value = raw.strip()
        if not variable.startswith(_PREFIX) or not value:
            continue
        name = names.get(variable.replace("__", "_"))
        if name is None and _is_of_a_service(variable, value):
            continue
        if name is None:
            _tell_unknown(variable, names, faults, warnings)
        elif name in seen and seen[name][1] != value:
            other, former = seen[name]
            faults.append(
                f"{name}: environment {other}={_shown(name, former)} and {variable}={_shown(name, value)} "
                "contradict each other: unset one"
            )
        else:
            seen.setdefault(name, (variable, value))
    config = seen.pop(_CONFIG_VARIABLE, None)
    values = [(name, value, f"environment {variable}") for name, (variable, value) in seen.items()]
    return values, None if config is None else Path(config[1])


def _is_of_a_service(variable: str, value: str) -> bool:
    """Whether Kubernetes sets it in every pod for a service whose name begins with "crawler"."""
    return bool(_SERVICE_VARIABLE.fullmatch(variable) or _SERVICE_PORT.fullmatch(f"{variable}={value}"))


def _tell_unknown(variable: str, names: Mapping[str, str], faults: list[str], warnings: list[str]) -> None:
    """A near miss is a fault, as its value would be missed; a stranger may belong to someone else."""
    told = f"environment {variable}: unknown setting"
    word = variable.replace("__", "_").removeprefix(_PREFIX)
    if word in _KEY_NAMES:
        faults.append(f"{told}; {_KEY_HINT}")
        return
    sections = tuple(f"{section.upper()}_" for section, _ in _sections())
    # the words that all names share would make strangers look near
    leaves = {_leaf(name.removeprefix(_PREFIX), sections): name for name in names}
    near = difflib.get_close_matches(_leaf(word, sections), leaves, 1, _NEAR)
    if near:
        faults.append(f"{told}; did you mean {leaves[near[0]]}?")
    else:
        warnings.append(f"{told}: it is not read")


def _leaf(word: str, sections: tuple[str, ...]) -> str:
    section = next((s for s in sections if word.startswith(s)), "")
    return word.removeprefix(section)


def _validate(values: Mapping[str, Any], origins: dict[str, str], faults: list[str]) -> Settings:
    """The settings; a value that is refused is told and leaves its default, so that the rest is checked."""
    try:
        settings = Settings(**_nested(values))
    except ValidationError as error:
        refused: dict[str, str] = {}
        for fault in error.errors(include_url=False):
            name = ".".join(str(part) for part in fault["loc"][:2])
            refused.setdefault(name, _reason(name, fault["type"], fault["msg"]))
        for name, reason in refused.items():
            faults.append(f"{name} ({origins[name]}): {_shown(name, values[name])} is refused: {reason}")
            origins[name] = f"default, as that of the {origins[name]} is refused"
        settings = Settings(**_nested({n: v for n, v in values.items() if n not in refused}))
    faults.extend(_contradictions(settings, origins))
    return settings


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = value
    return nested


def _reason(name: str, kind: str, message: str) -> str:
    """Our own words: what a validator of ours said, or else what the field allows."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    section, _, key = name.partition(".")
    fields = dict(_sections())[section].model_fields
    field = fields["json_report" if key == "json" else key]
    return f"{field.description} is wanted"


def _shown(name: str, value: Any) -> str:
    """A value as a message may show it: short, and without what may be a secret."""
    if name == "api.key_file":
        return "(not shown)"
    told = value if isinstance(value, str) else repr(value)
    if name == "api.url":
        told = re.sub(r"^(\w+:/*)?.*@", r"\1…@", told, flags=re.DOTALL)
        told = re.sub(r"([?#]).*", r"\1…", told, flags=re.DOTALL)
    told = told if len(told) <= _SHOWN else told[: _SHOWN - 1] + "…"
    return repr(told) if isinstance(value, str) else told


def _without_key(text: str, environ: Mapping[str, str]) -> str:
    """The text with the key struck out, should someone have put it where a setting belongs."""
    key = _key_in(environ)
    return text.replace(key, "***") if len(key) >= 8 else text


def _contradictions(settings: Settings, origins: Mapping[str, str]) -> Iterator[str]:
    parts = urlsplit(settings.api.url)
    if parts.scheme == "http" and not settings.api.allow_http and not is_loopback(parts.hostname or ""):
        yield (
            f"api.url ({origins['api.url']}): {_shown('api.url', settings.api.url)}: the key would travel "
            "in the clear: use https, or set api.allow_http"
        )
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
