"""Raw settings from the file and the environment, with where each came from.

What is unknown there is a fault, with the name that was meant where one is near.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crawler.models.encodings import decoded
from crawler.options import OPTIONS, PREFIX, SECTIONS
from crawler.settings.key import KEY_VARIABLE
from crawler.settings.values import shown

DEFAULT_CONFIG = Path("config/crawler.toml")
_CONFIG_VARIABLE = "CRAWLER_CONFIG"
_NEAR = 0.65
_KEY_HINT = f"the key is never kept here: set {KEY_VARIABLE}, or name its file in api.key_file"
_KEY_NAMES = {"KEY", "API_KEY", "API_API_KEY", "TOKEN", "API_TOKEN", "KEYAPI_API_KEY"}

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


def variables() -> dict[str, str]:
    """Every environment variable that is read, with the section.name it sets; `CRAWLER_CONFIG` apart."""
    return {variable: option.name for option in OPTIONS.values() for variable in option.variables}


def default_config() -> Path | None:
    """The settings file that is read where none is named; None where it is not there."""
    try:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    except OSError:
        return None


def from_file(named: Path | None, faults: list[str]) -> Layer:
    """The values of the settings file: the one that is named, or else the default one if it is there."""
    path = named or default_config()
    return {} if path is None else dict(_entries(path, _read_toml(path, faults), faults))


def _entries(path: Path, document: Mapping[str, Any], faults: list[str]) -> Iterator[tuple[str, Given]]:
    for section, table in document.items():
        if section not in SECTIONS:
            faults.append(f"{path}: {_unknown_section(section, table)}")
        elif not isinstance(table, dict):
            faults.append(f"{path}: [{section}] is a section, not a value of its own")
        else:
            for key, value in table.items():
                if f"{section}.{key}" in OPTIONS:
                    yield f"{section}.{key}", Given(value, str(path))
                else:
                    faults.append(f"{path}: unknown setting {section}.{key}{_nearest(section, key)}")


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
    near = difflib.get_close_matches(section.lower(), sorted(SECTIONS), 1, _NEAR)
    return f"unknown section [{section}]" + (f"; did you mean [{near[0]}]?" if near else "")


def _nearest(section: str, key: str) -> str:
    """What a key that is unknown in its section may have meant: the same key elsewhere, or a near one."""
    leaf = key.replace("-", "_").lower()
    if leaf.upper() in _KEY_NAMES:
        return f"; {_KEY_HINT}"
    same = [name for name in OPTIONS if name.partition(".")[2] == leaf]
    if same and not same[0].startswith(f"{section}."):
        return f"; did you mean {same[0]}? It belongs in [{same[0].partition('.')[0]}]"
    here = [name.partition(".")[2] for name in OPTIONS if name.startswith(f"{section}.")]
    near = [f"{section}.{name}" for name in difflib.get_close_matches(leaf, here, 1, _NEAR)]
    leaves = {name.partition(".")[2]: name for name in OPTIONS}
    near = near or [leaves[name] for name in difflib.get_close_matches(leaf, leaves, 1, _NEAR)]
    return f"; did you mean {near[0]}?" if near else ""


def from_environment(
    environ: Mapping[str, str], faults: list[str], warnings: list[str]
) -> tuple[Layer, Path | None]:
    """The values of the environment, and the settings file it names."""
    names = variables() | {_CONFIG_VARIABLE: _CONFIG_VARIABLE}
    seen: dict[str, tuple[str, str]] = {}
    for variable, raw in sorted(environ.items()):
        value = raw.strip()
        if not variable.startswith(PREFIX) or not value:
            continue
        name = names.get(variable.replace("__", "_"))
        if name is None and _is_of_a_service(variable, value):
            continue
        if name is None:
            _report_unknown(variable, names, faults, warnings)
        elif name in seen and seen[name][1] != value:
            other, former = seen[name]
            faults.append(
                f"{name}: environment {other}={shown(name, former)} and {variable}={shown(name, value)} "
                "contradict each other: unset one"
            )
        else:
            seen.setdefault(name, (variable, value))
    config = seen.pop(_CONFIG_VARIABLE, None)
    values = {name: Given(value, f"environment {variable}") for name, (variable, value) in seen.items()}
    return values, None if config is None else Path(config[1])


def _is_of_a_service(variable: str, value: str) -> bool:
    """Whether Kubernetes sets it in every pod for a service whose name begins with "crawler"."""
    return bool(_SERVICE_VARIABLE.fullmatch(variable) or _SERVICE_PORT.fullmatch(f"{variable}={value}"))


def _report_unknown(variable: str, names: Mapping[str, str], faults: list[str], warnings: list[str]) -> None:
    """A near miss is a fault, as its value would be missed; a stranger may belong to someone else."""
    fault = f"environment {variable}: unknown setting"
    word = variable.replace("__", "_").removeprefix(PREFIX)
    if word in _KEY_NAMES:
        faults.append(f"{fault}; {_KEY_HINT}")
        return
    sections = tuple(f"{section.upper()}_" for section in SECTIONS)
    # the words that all names share would make strangers look near
    leaves = {_leaf(name.removeprefix(PREFIX), sections): name for name in names}
    near = difflib.get_close_matches(_leaf(word, sections), leaves, 1, _NEAR)
    if near:
        faults.append(f"{fault}; did you mean {leaves[near[0]]}?")
    else:
        warnings.append(f"{fault}: it is not read")


def _leaf(word: str, sections: tuple[str, ...]) -> str:
    section = next((s for s in sections if word.startswith(s)), "")
    return word.removeprefix(section)
