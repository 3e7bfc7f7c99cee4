"""All settings, from flags, environment, file and defaults, each with where its value came from.

What is unknown there is a fault, with the name that was meant where one is near.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from crawler import events
from crawler.models.encodings import decoded
from crawler.models.errors import InputError
from crawler.options import OPTIONS, PREFIX, RESULT_PREFIX, SECTIONS, Settings
from crawler.settings.key import KEY_VARIABLE, without_key
from crawler.settings.values import RefusedValueError, contradictions, read_value, shown

DEFAULT_CONFIG = Path("config/crawler.toml")
VARIABLES = {variable: option.name for option in OPTIONS.values() for variable in option.variables}
"""Every environment variable that is read, with the section.name it sets; `CRAWLER_CONFIG` apart."""
_CONFIG_VARIABLE = "CRAWLER_CONFIG"
_NEAR = 0.65
_MOST_QPS = 100_000.0
_KEYS = {option.key: option.name for option in OPTIONS.values()}
_KEY_HINT = f"the key is never kept here: set {KEY_VARIABLE}, or name its file in api.key_file"
_KEY_NAMES = {"KEY", "API_KEY", "API_API_KEY", "TOKEN", "API_TOKEN", "KEYAPI_API_KEY"}

# The words that all names share would make strangers look near.
_SHARED_WORDS = re.compile(rf"{PREFIX}(?:(?:{'|'.join(SECTIONS).upper()})_)?")
_SERVICE_VARIABLE = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(rf"{PREFIX}(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*", re.IGNORECASE | re.DOTALL)


class Given(NamedTuple):
    """A raw value, and where it came from."""

    value: Any
    origin: str


Layer = dict[str, Given]
"""What one source gives, by section.name."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value; `layers` has the raw ones: of file, environment and flags."""

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[events.Sentence, ...]
    config_path: Path | None
    layers: tuple[Layer, ...] = ()
    is_config_named: bool = False


class SettingsError(InputError):
    """Faults in the settings, all at once; `usable` has the default in the place of each refused value."""

    def __init__(self, faults: tuple[str, ...], usable: Loaded) -> None:
        super().__init__("these settings cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
        self.faults = faults
        self.usable = usable


def load(flags: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Merge flags, environment and file over the defaults, and validate the whole.

    `flags` maps section.name to the raw value of each flag given; `config` is the file a flag named.
    Raises `SettingsError` with all faults: each setting, where it came from, its value, what is allowed.
    """
    faults: list[str] = []
    warnings: list[events.Sentence] = []
    variables, path = from_environment(environ, faults, warnings)
    path = config or path
    layers = (
        from_file(path, faults),
        variables,
        {name: Given(value, f"flag {OPTIONS[name].flag}") for name, value in flags.items()},
    )
    return merged(layers, path, environ, faults, warnings)


def merged(
    layers: tuple[Layer, ...],
    named: Path | None,
    environ: Mapping[str, str],
    faults: list[str],
    warnings: Iterable[events.Sentence],
) -> Loaded:
    """Later layers over earlier ones; `named`: the settings file. Raises `SettingsError` for any fault."""
    given = {name: value for layer in layers for name, value in layer.items()}
    origins = dict.fromkeys(OPTIONS, "default") | {name: value.origin for name, value in given.items()}
    settings = _validated(given, origins, faults)
    path = named or default_config()
    loaded = Loaded(settings, origins, tuple(warnings), path, layers, named is not None)
    if faults:
        raise SettingsError(tuple(without_key(fault, environ) for fault in faults), loaded)
    return loaded


def _validated(given: Layer, origins: dict[str, str], faults: list[str]) -> Settings:
    """The settings; a value that is refused is a fault, and its default is taken to check the rest."""
    taken: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if name in given:
            raw, origin = given[name]
            try:
                taken[name] = read_value(option, raw, taken)
            except RefusedValueError as error:
                faults.append(f"{name} ({origin}): {shown(name, raw)} is refused: {error}")
                origins[name] = f"default, as that of the {origin} is refused"
    by_section: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in taken.items():
        by_section[OPTIONS[name].section][OPTIONS[name].key] = value
    if "run.qps" not in taken and (keys := taken.get("api.keys")):
        # In a second a key below 1 a second may have one request, too.
        by_section["run"]["qps"] = min(_MOST_QPS, sum(max(1.0, key.qps) for key in keys))
        origins["run.qps"] = "what api.keys allow"
    settings = Settings(**{section: kind(**by_section[section]) for section, kind in SECTIONS.items()})
    faults.extend(contradictions(settings, origins))
    return settings


def default_config() -> Path | None:
    """The settings file that is read where none is named; None where it is not there."""
    try:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    except OSError:
        return None


def from_file(named: Path | None, faults: list[str]) -> Layer:
    """The values of the settings file: the one that is named, or else the default one if it is there."""
    path = named or default_config()
    document = {} if path is None else _read_toml(path, faults)
    layer: Layer = {}
    for section, table in document.items():
        if section not in SECTIONS:
            faults.append(f"{path}: {_unknown_section(section, table)}")
        elif not isinstance(table, dict):
            faults.append(f"{path}: [{section}] is a section, not a value of its own")
        else:
            for key, value in table.items():
                if f"{section}.{key}" in OPTIONS:
                    layer[f"{section}.{key}"] = Given(value, str(path))
                else:
                    faults.append(f"{path}: unknown setting {section}.{key}{_nearest(section, key)}")
    return layer


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


def _unknown_section(section: str, table: Any) -> str:
    if not isinstance(table, dict):
        return f"unknown setting {section}{_nearest('', section)}"
    near = get_close_matches(section.lower(), sorted(SECTIONS), 1, _NEAR)
    return f"unknown section [{section}]" + (f"; did you mean [{near[0]}]?" if near else "")


def _nearest(section: str, key: str) -> str:
    """What a key that is unknown in its section may have meant: the same key elsewhere, or a near one."""
    leaf = key.replace("-", "_").lower()
    if leaf.upper() in _KEY_NAMES:
        return f"; {_KEY_HINT}"
    same = OPTIONS.get(_KEYS.get(leaf, ""))
    if same is not None and same.section != section:
        return f"; did you mean {same.name}? It belongs in [{same.section}]"
    here = [option.key for option in OPTIONS.values() if option.section == section]
    near = get_close_matches(leaf, here, 1, _NEAR) or get_close_matches(leaf, _KEYS, 1, _NEAR)
    return f"; did you mean {_KEYS[near[0]]}?" if near else ""


def from_environment(
    environ: Mapping[str, str], faults: list[str], warnings: list[events.Sentence]
) -> tuple[Layer, Path | None]:
    """The values of the environment, and the settings file it names."""
    names = VARIABLES | {_CONFIG_VARIABLE: _CONFIG_VARIABLE}
    seen: dict[str, tuple[str, str]] = {}
    for variable, raw in sorted(environ.items()):
        value = raw.strip()
        if not variable.startswith(PREFIX) or variable.startswith(RESULT_PREFIX) or not value:
            continue
        name = names.get(variable.replace("__", "_"))
        if name is None:
            if not _is_of_a_service(variable, value):
                _report_unknown(without_key(variable, environ), names, faults, warnings)
        elif name in seen and seen[name][1] != value:
            other, earlier = seen[name]
            faults.append(
                f"{name}: environment {other}={shown(name, earlier)} and {variable}={shown(name, value)} "
                "contradict each other: unset one"
            )
        else:
            seen.setdefault(name, (variable, value))
    config = seen.pop(_CONFIG_VARIABLE, None)
    values = {name: Given(value, f"environment {variable}") for name, (variable, value) in seen.items()}
    return values, None if config is None else Path(config[1])


def _is_of_a_service(variable: str, value: str) -> bool:
    """Whether Kubernetes sets it in every pod, for a service whose name begins with "crawler"."""
    return bool(_SERVICE_VARIABLE.fullmatch(variable) or _SERVICE_PORT.fullmatch(f"{variable}={value}"))


def _report_unknown(
    variable: str, names: Iterable[str], faults: list[str], warnings: list[events.Sentence]
) -> None:
    """A near miss is a fault, as its value would be missed; a stranger may belong to someone else."""
    fault = f"environment {variable}: unknown setting"
    unknown, variable = variable, variable.replace("__", "_")
    leaves = {_SHARED_WORDS.sub("", name, 1): name for name in names}
    if variable.removeprefix(PREFIX) in _KEY_NAMES:
        faults.append(f"{fault}; {_KEY_HINT}")
    elif near := get_close_matches(_SHARED_WORDS.sub("", variable, 1), leaves, 1, _NEAR):
        faults.append(f"{fault}; did you mean {leaves[near[0]]}?")
    else:
        warnings.append(events.SETTING_UNKNOWN(variable=unknown))
