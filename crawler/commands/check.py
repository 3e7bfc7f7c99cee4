"""`crawler check`: is this machine ready for tonight."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from crawler.errors import CrawlerError, InputError
from crawler.sellers import read_sellers
from crawler.settings import Loaded, mask, read_key, setting_names
from crawler.store.files import free_bytes

T = TypeVar("T")


def check_command(loaded: Loaded, sellers: str | None, *, online: bool) -> int:
    """Print every effective value and its origin, then every problem; 0 if ready, 2 otherwise."""
    _print_settings(loaded)
    problems: list[str] = []
    key = _tried(problems, lambda: read_key(loaded.settings, os.environ))
    _say("API key", "missing" if key is None else mask(str(key)))
    _check_disk(loaded, problems)
    _check_lock(loaded.settings.run.data, problems)
    if sellers is not None:
        run = loaded.settings.run
        listed = _tried(
            problems, lambda: read_sellers(sellers, column=run.column, skip_bad_ids=run.skip_bad_ids)
        )
        if listed is not None:
            _say("seller list", f"{len(listed)} sellers, {listed.repeated} repeated, {listed.bad_count} bad")
    if online and key is not None:
        from crawler.commands.online import ask_once  # noqa: PLC0415 - heavy

        answer = _tried(problems, lambda: ask_once(loaded.settings, str(key)))
        _say("online", "failed" if answer is None else str(answer))
    for text in (*loaded.warnings, *problems):
        sys.stdout.write(f"! {text}\n")
    sys.stdout.write("not ready\n" if problems else "ready\n")
    return InputError.exit_code if problems else 0


def _print_settings(loaded: Loaded) -> None:
    for name in setting_names():
        section, _, key = name.partition(".")
        part = getattr(loaded.settings, section)
        value = getattr(part, "json_report" if key == "json" else key)
        _say(name, f"{'none' if value is None else value!s:30} {loaded.origins[name]}")


def _say(name: str, value: str) -> None:
    sys.stdout.write(f"{name:22} {value}\n")


def _tried(problems: list[str], look: Callable[[], T]) -> T | None:
    try:
        return look()
    except CrawlerError as error:
        problems.append(str(error))
        return None


def _check_disk(loaded: Loaded, problems: list[str]) -> None:
    data = loaded.settings.run.data.absolute()
    existing = next(folder for folder in (data, *data.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        problems.append(f"{existing} is not writable: mend its permissions or choose another --data")
    free, reserve = free_bytes(data) >> 20, loaded.settings.journal.reserve_mib
    _say("free disk", f"{free} MiB")
    if free < reserve:
        problems.append(f"only {free} MiB free under {data}, {reserve} MiB are kept in reserve: make room")


def _check_lock(data: Path, problems: list[str]) -> None:
    path = data / "state" / "lock"
    if not path.exists():
        return
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            problems.append(f"{data} is held by another run: {file.read().strip()}")
