"""The options of an earlier run: kept beside its journal, shown as a command, restored by `--resume`."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crawler.models.errors import InputError
from crawler.options import FLAGS, OPTIONS, value_of
from crawler.settings.load import Given, Layer, Loaded, from_file, merged

_LEVELS = {"file": "settings file", "environment": "environment", "flags": "flag"}


def flags_of(loaded: Loaded, names: Iterable[str] = FLAGS) -> list[str]:
    """The flags that set again what is not as by default, for a command to be shown; no crawl date.

    A default that was asked for is shown too, as the settings file may say otherwise.
    """
    words = [] if loaded.config_path is None else ["--config", str(loaded.config_path)]
    for name in names:
        option, value = OPTIONS[name], value_of(loaded.settings, name)
        is_asked_for = value is not False and loaded.origins[name].startswith(("flag", "environment"))
        if option.is_repeated and (value != option.default or is_asked_for):
            words += [option.flag] if value is True else [option.flag, str(value)]
    return words


def options_of(loaded: Loaded) -> str:
    """What `resumed` sets again, as JSON: the raw values by where they came from, without the key's file."""
    options: dict[str, Any] = {
        level: {name: value for name, (value, _) in layer.items() if OPTIONS[name].is_resumed}
        for level, layer in zip(_LEVELS, loaded.layers, strict=True)
    }
    if loaded.is_config_named:
        options["config"] = os.path.abspath(loaded.config_path or "")  # noqa: PTH100 - links stay as they are
    return json.dumps(options, default=str)


def resumed(loaded: Loaded, options: str, environ: Mapping[str, str], left_out: Iterable[str] = ()) -> Loaded:
    """These settings over the `options` of the run that is gone on with (see `options_of`).

    A flag then beats variable and file now, as if it were given again; of the same source the value now
    beats the one then. The settings file that was named then is read, unless another one is named now.
    Raises `InputError` where the options cannot be read, `SettingsError` where they cannot be used.
    """
    layers, config = _stored_options(options)
    skipped = set(left_out)
    faults: list[str] = []
    now, named = list(loaded.layers), loaded.config_path if loaded.is_config_named else None
    if named is None and config is not None:
        named = Path(config)
        now[0] = from_file(named, faults)
    return merged(_over(layers, now, skipped), named, environ, faults, loaded.warnings)


def as_then(loaded: Loaded, options: str, environ: Mapping[str, str]) -> Loaded:
    """The `options` of an earlier run as they were; of these settings only what no run takes over.

    That is the data folder, the key, and who is told; and a month may cost no more than it may now. Raises
    `InputError` where the options cannot be read, `SettingsError` where they cannot be used.
    """
    layers, _ = _stored_options(options)
    now = [
        {name: given for name, given in layer.items() if OPTIONS[name].is_local} for layer in loaded.layers
    ]
    named = loaded.config_path if loaded.is_config_named else None
    then = merged(_over(layers, now), named, environ, [], ())
    limits = [one.settings.credits.monthly_budget for one in (then, loaded)]
    least = min((limit for limit in limits if limit is not None), default=None)
    credit = replace(then.settings.credits, monthly_budget=least)
    return replace(then, settings=replace(then.settings, credits=credit))


def _over(
    then: list[dict[str, Any]], now: list[Layer], skipped: Container[str] = frozenset()
) -> tuple[Layer, ...]:
    """The layers of now over the raw values of an earlier run."""
    return tuple(
        {
            name: Given(value, f"{word} of the run that is gone on with")
            for name, value in earlier.items()
            if OPTIONS[name].is_resumed and name not in skipped
        }
        | layer
        for word, earlier, layer in zip(_LEVELS.values(), then, now, strict=True)
    )


def _stored_options(options: str) -> tuple[list[dict[str, Any]], str | None]:
    """The values of each level, and the settings file that was named."""
    fault, stored = "", None
    try:
        stored = json.loads(options)
    except (ValueError, RecursionError) as error:
        fault = f" ({error})"
    values = stored if isinstance(stored, dict) else {}
    config = values.get("config")
    layers: list[dict[str, Any]] = [v for level in _LEVELS if isinstance(v := values.get(level), dict)]
    if len(layers) == len(_LEVELS) and isinstance(config, str | None):
        unknown = sorted({name for layer in layers for name in layer} - OPTIONS.keys())
        if not unknown:
            return layers, config
        fault = f" (unknown setting {unknown[0]})"
    raise InputError(
        f"the options of the run to go on with cannot be read{fault}: in the place of --resume name its "
        "--crawl-date, its list and every option that is to hold"
    )


def in_words(loaded: Loaded) -> str:
    """Every setting that is not as by default, for people: flags as such, the others by their names."""
    values = {
        name: value_of(loaded.settings, name)
        for name, option in OPTIONS.items()
        if name not in FLAGS and option.is_resumed
    }
    others = [f"{name}={value}" for name, value in values.items() if value != OPTIONS[name].default]
    return shlex.join([*flags_of(loaded), *others]) or "the default options"
