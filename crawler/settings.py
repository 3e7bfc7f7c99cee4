"""Every setting: typed, validated as a whole, each knowing where its value came from."""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from crawler.errors import InputError
from crawler.models import MAX_PAGE_NUM, SortField, SortOrder, StopRule, Strategy

DEFAULT_CONFIG = Path("config/crawler.toml")
_PREFIX = "CRAWLER_"

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: Any) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("a number or a word is wanted, not true or false")
        return value


class ApiSettings(_Section):
    """How the API is reached."""

    url: str = "https://api.keyapi.ai"
    key_file: Path | None = None
    allow_http: bool = False
    timeout: PositiveSeconds = 30.0
    connect_timeout: PositiveSeconds = 10.0
    retry_after_cap: PositiveSeconds = 60.0

    @field_validator("url")
    @classmethod
    def _is_base_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("an address such as https://api.keyapi.ai is wanted")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("no user, password, ? or # may stand in the address")
        return value


class RunSettings(_Section):
    """What a run does."""

    data: Path = Path("data")
    qps: float = Field(5.0, ge=0.1, le=2000, allow_inf_nan=False)
    workers: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    patience: Seconds = 900.0
    stop: StopRule = StopRule.SHORT
    max_pages: int = Field(MAX_PAGE_NUM, ge=1, le=MAX_PAGE_NUM)
    lookahead: Literal["off", "history", "gallop"] = "off"
    sort: SortField = SortField.VIEWS
    order: SortOrder = SortOrder.DESC
    strategy: Strategy = Strategy.DEPTH_FIRST
    crawl_date: date | None = None
    timezone: str = "UTC"
    column: str | None = None
    skip_bad_ids: bool = False
    fresh: bool = False
    retry_failed: bool = False
    resume: bool = False
    json_report: bool = Field(False, alias="json")
    attempts: int = Field(6, ge=5, le=10)
    backoff: PositiveSeconds = 1.0
    grace: Seconds = 10.0
    keep_days: int = Field(30, ge=1)

    @field_validator("lookahead")
    @classmethod
    def _is_built(cls, value: str) -> str:
        if value != "off":
            raise ValueError("look-ahead is not built yet: use off")
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
    """What may be spent."""

    budget: Annotated[int, Field(ge=0)] | None = None


class JournalSettings(_Section):
    """How safely pages are kept."""

    sync: Literal["power-loss", "process-kill"] = "power-loss"
    commit_ms: int = Field(50, ge=1, le=1000)
    reserve_mib: int = Field(64, ge=0)


class LogSettings(_Section):
    """What is printed."""

    format: Literal["text", "json"] = "text"
    quiet: bool = False
    no_progress: bool = False


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value, and what is worth a warning."""

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[str, ...]
    config_path: Path | None


_RUN_FLAGS = (
    "data qps workers patience stop max_pages lookahead sort order strategy crawl_date column",
    "skip_bad_ids fresh retry_failed resume json",
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


def setting_names() -> list[str]:
    """Every setting as section.name, as the file spells it."""
    return [
        f"{section}.{field.alias or name}"
        for section, model in _sections()
        for name, field in model.model_fields.items()
    ]


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Merge flags, environment and file over the defaults, and validate the whole.

    `flags` maps section.name to the raw value of each flag given. Raises `InputError` that tells all
    faults at once, each with its setting and where it came from.
    """
    faults: list[str] = []
    warnings: list[str] = []
    path = config or (Path(environ[f"{_PREFIX}CONFIG"]) if environ.get(f"{_PREFIX}CONFIG") else None)
    if path is None and DEFAULT_CONFIG.is_file():
        path = DEFAULT_CONFIG
    values: dict[str, Any] = {}
    origins = dict.fromkeys(setting_names(), "default")
    sources = (
        _from_file(path, faults),
        _from_environment(environ, faults, warnings),
        ((name, value, f"flag --{FLAGS[name]}") for name, value in flags.items()),
    )
    for source in sources:
        for name, value, origin in source:
            values[name], origins[name] = value, origin
    settings = _validate(values, origins, faults)
    if settings is None or faults:
        raise InputError("these settings cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
    return Loaded(settings, origins, tuple(warnings), path)


def read_key(settings: Settings, environ: Mapping[str, str]) -> str:
    """The API key from `KEYAPI_API_KEY`, or from the file that `api.key_file` names.

    Raises `InputError`, never naming the key.
    """
    key, where = environ.get("KEYAPI_API_KEY", "").strip(), "KEYAPI_API_KEY"
    if not key and settings.api.key_file is not None:
        where = str(settings.api.key_file)
        try:
            key = settings.api.key_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no plain text"
            raise InputError(f"cannot read the API key from {where}: {reason}") from None
    if not key:
        raise InputError("no API key: set KEYAPI_API_KEY, or name a file in the setting api.key_file")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"the API key from {where} holds blanks or characters that no key has")
    return key


def mask(key: str) -> str:
    """The key's last characters only."""
    return f"***{key[-4:]}" if len(key) >= 16 else "***"


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)  # noqa: S101, PT018 - by construction
        yield name, model


def _from_file(path: Path | None, faults: list[str]) -> Iterator[tuple[str, Any, str]]:
    if path is None:
        return
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        faults.append(f"{path}: cannot be read: {reason}")
        return
    known = setting_names()
    for section, table in document.items():
        entries = table.items() if isinstance(table, dict) else [(None, table)]
        for key, value in entries:
            name = section if key is None else f"{section}.{key}"
            if name in known:
                yield name, value, str(path)
            else:
                faults.append(f"{path}: unknown setting {name}{_nearest(name, known)}")


def _from_environment(
    environ: Mapping[str, str], faults: list[str], warnings: list[str]
) -> Iterator[tuple[str, Any, str]]:
    names = {f"{_PREFIX}{name.replace('.', '_').upper()}": name for name in setting_names()}
    names |= {f"{_PREFIX}{flag.replace('-', '_').upper()}": name for name, flag in FLAGS.items()}
    seen: dict[str, tuple[str, str]] = {}
    for variable, value in environ.items():
        folded = variable.replace("__", "_")
        if not variable.startswith(_PREFIX) or not value or folded == f"{_PREFIX}CONFIG":
            continue
        name = names.get(folded)
        if name is None:
            near = difflib.get_close_matches(folded, names, 1, 0.8)
            told = f"environment {variable}: unknown setting"
            (faults if near else warnings).append(told + (f"; did you mean {near[0]}?" if near else ""))
        elif name in seen and seen[name][1] != value:
            faults.append(f"{name}: {seen[name][0]} and {variable} contradict each other")
        else:
            seen[name] = (variable, value)
            yield name, value, f"environment {variable}"


def _nearest(name: str, known: list[str]) -> str:
    last = name.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == last]
    near = same or difflib.get_close_matches(name, known, 1, 0.6)
    near = near or [o for o in known if difflib.get_close_matches(last, [o.rpartition(".")[2]], 1, 0.6)]
    return f"; did you mean {near[0]}?" if near else ""


def _validate(values: dict[str, Any], origins: dict[str, str], faults: list[str]) -> Settings | None:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = value
    try:
        settings = Settings(**nested)  # type: ignore[arg-type]  # validated right here
    except ValidationError as error:
        told: dict[str, str] = {}
        for fault in error.errors(include_url=False):
            name = ".".join(str(part) for part in fault["loc"][:2])
            reason = fault["msg"].removeprefix("Value error, ")
            told.setdefault(name, f"{name} ({origins.get(name, '?')}): {values.get(name)!r}: {reason}")
        faults.extend(told.values())
        return None
    faults.extend(_contradictions(settings, origins))
    return settings


def _contradictions(settings: Settings, origins: dict[str, str]) -> Iterator[str]:
    parts = urlsplit(settings.api.url)
    if parts.scheme == "http" and not settings.api.allow_http and not _is_loopback(parts.hostname or ""):
        yield (
            f"api.url ({origins['api.url']}): {settings.api.url!r}: the key would travel in the clear: "
            "use https, or set api.allow_http"
        )
    if settings.run.resume and settings.run.fresh:
        yield "run.resume and run.fresh contradict each other: go on with a date, or crawl it anew"
    if settings.run.resume and settings.run.crawl_date is not None:
        yield "run.resume and run.crawl_date contradict each other: --crawl-date alone goes on with that date"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
