"""All settings, from flags, environment, file and defaults, each with where its value came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.models.errors import InputError
from crawler.options import OPTIONS, SECTIONS, Settings
from crawler.settings.key import without_key
from crawler.settings.sources import Given, Layer, default_config, from_environment, from_file
from crawler.settings.values import contradictions, read_value, shown


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value (by section.name), and what is worth a warning.

    `layers` has the raw values with their origins, those of the file first, those of the flags last.
    """

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[str, ...]
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
    Raises `SettingsError` (an `InputError`) with all faults at once, each with its setting, where
    it came from, its value, and what is allowed.
    """
    faults: list[str] = []
    warnings: list[str] = []
    variables, path = from_environment(environ, faults, warnings)
    if config is not None:
        path = config
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
    warnings: Iterable[str],
) -> Loaded:
    """Later layers over earlier ones, validated; `named` is the settings file where one was named.

    Raises `SettingsError` where there are `faults`, or values that are refused.
    """
    given = {name: value for layer in layers for name, value in layer.items()}
    origins = dict.fromkeys(OPTIONS, "default") | {name: value.origin for name, value in given.items()}
    settings = _validated(given, origins, faults)
    shown_warnings = tuple(without_key(warning, environ) for warning in warnings)
    path = named or default_config()
    loaded = Loaded(settings, origins, shown_warnings, path, layers, named is not None)
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
            except ValueError as error:
                faults.append(f"{name} ({origin}): {shown(name, raw)} is refused: {error}")
                origins[name] = f"default, as that of the {origin} is refused"
    settings = _settings(taken)
    faults.extend(contradictions(settings, origins))
    return settings


def _settings(values: Mapping[str, Any]) -> Settings:
    by_section: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in values.items():
        section, _, key = name.partition(".")
        by_section[section][key] = value
    return Settings(**{section: kind(**by_section[section]) for section, kind in SECTIONS.items()})
