"""`crawler check`: is this machine ready for tonight."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from crawler.api.proxies import proxy_for
from crawler.models.errors import CrawlerError, DataLockedError, InputError, QuotaUsedUpError
from crawler.models.keys import ApiKey
from crawler.models.seller import Strategy
from crawler.nightly.dates import require_reached
from crawler.nightly.folders import require_form
from crawler.nightly.shell import quoted
from crawler.notify.messages import read_template
from crawler.options import OPTIONS, Settings, value_of
from crawler.sellers.listing import SellerList
from crawler.sellers.reading import read_sellers
from crawler.settings.key import key_origin, mask, named_origin, read_keys
from crawler.settings.load import Loaded
from crawler.settings.values import displayed
from crawler.store.files import free_bytes
from crawler.store.layout import Layout
from crawler.store.lock import holder_of

T = TypeVar("T")
_PROBE_S = 60.0


@dataclass(slots=True)
class _Findings:
    """Lines of name, value and origin; warnings; problems, and the exit code of the last one."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    exit_code: int = 0

    def tried(self, look: Callable[[], T]) -> T | None:
        """What `look` returns; None where it raises, which is then a problem."""
        try:
            return look()
        except CrawlerError as error:
            self.problems.append(str(error))
            self.exit_code = error.exit_code
            return None


def check_command(
    loaded: Loaded, sellers: str | None, *, online: bool, as_json: bool, faults: tuple[str, ...]
) -> int:
    """Print every effective value and its origin, then every problem; 0 if ready, 2 otherwise.

    Where only the request of `online` failed, or a run holds the folder so that it was not sent, the exit
    code is that of a run which ends for the same reason.
    `faults` are those of the settings: with any, `loaded` is what is usable, and nothing is sent.
    """
    found = _Findings(warnings=list(loaded.warnings), problems=list(faults))
    settings = loaded.settings
    _list_settings(loaded, found)
    if (crawl_date := settings.run.crawl_date) is not None:
        found.tried(lambda: require_reached(crawl_date, datetime.now(UTC)))
    keys = _look_at_keys(settings, found)
    _look_at_proxy(settings.api.url, found)
    _look_at_template(settings.notify.template, found)
    _look_at_command(settings.notify.command, found)
    _look_at_textfile(settings.metrics.textfile, found)
    _look_at_folder(settings.run.data, found)
    found.tried(lambda: require_form(settings))
    _look_at_disk(settings, found)
    is_locked = _is_locked(settings.run.data, found)
    if sellers is not None:
        _look_at_sellers(settings, sellers, found)
    offline_problems = len(found.problems) - is_locked
    if online:
        _reach_places(settings, found)
        _ask(settings, () if faults else keys, found, is_locked=is_locked)
    (_print_json if as_json else _print_text)(found)
    if online and found.problems and not offline_problems:
        return found.exit_code
    if not found.problems:
        return 0
    count = f"{len(found.problems)} problems" if len(found.problems) > 1 else "a problem"
    sys.stderr.write(f"crawler: not ready, {count}: {'; '.join(found.problems)}\n")
    return InputError.exit_code


def _list_settings(loaded: Loaded, found: _Findings) -> None:
    for name in OPTIONS:
        value = value_of(loaded.settings, name)
        if name != "api.keys" or value is not None:
            found.lines.append((name, displayed(name, value), loaded.origins[name]))


def _look_at_keys(settings: Settings, found: _Findings) -> tuple[ApiKey, ...]:
    """Every key; none where one is missing."""
    keys = found.tried(lambda: read_keys(settings, os.environ)) or ()
    values = [mask(key.value) for key in keys]
    named = settings.api.keys
    if named is None:
        names, origins, paths = ["API key"], [key_origin(settings, os.environ)], [settings.api.key_file]
    else:
        names, paths = [f"API key {key.name}" for key in named], [key.file for key in named]
        origins = [named_origin(key) for key in named]
    for name, value, origin, path in zip(
        names, values or ["missing"] * len(names), origins, paths, strict=True
    ):
        found.lines.append((name, value, origin))
        if keys and path is not None and origin.startswith("file") and path.stat().st_mode & 0o077:
            found.warnings.append(
                f"{path} may be read by others than its owner: {quoted(['chmod', '600', str(path)])}"
            )
    return keys


def _look_at_proxy(url: str, found: _Findings) -> None:
    before = len(found.problems)
    proxy = found.tried(lambda: proxy_for(url))
    if len(found.problems) == before:
        shown = "none" if proxy is None else proxy.rpartition("@")[2].rpartition("/")[2]
        found.lines.append(("proxy", shown, "environment"))


def _look_at_template(template: str | None, found: _Findings) -> None:
    if template is not None:
        try:
            read_template(template)
        except (OSError, ValueError, RecursionError) as error:
            found.problems.append(f"notify.template cannot be used: {error}; correct it")


def _look_at_command(command: tuple[str, ...] | None, found: _Findings) -> None:
    if command is not None and shutil.which(command[0]) is None:
        name = Path(command[0]).name
        found.problems.append(f"notify.command cannot be started: there is no program {name}; correct it")


def _look_at_textfile(path: Path | None, found: _Findings) -> None:
    if path is not None and (reason := _why_not_writable(path.parent)):
        found.problems.append(f"metrics.textfile: {path.parent} cannot be written: {reason}; correct it")


def _why_not_writable(folder: Path) -> str | None:
    """Write and remove a test file."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".crawler-check-") as test_file:
            test_file.write(b"?")
            test_file.flush()
    except OSError as error:
        return error.strerror
    return None


def _look_at_folder(data: Path, found: _Findings) -> None:
    """Try to write in the folder or in what would hold it; not in what readers scan."""
    folder = _existing(data)
    for place in (folder, Layout(data).state, Layout(data).runs):
        if place != folder and not place.exists():
            continue
        if reason := _why_not_writable(place):
            found.problems.append(
                f"{place} cannot be written: {reason}; correct it, or choose another --data"
            )


def _existing(path: Path) -> Path:
    """The path itself, or the nearest one above that is there."""
    full = path.absolute()
    return next(folder for folder in (full, *full.parents) if os.path.lexists(folder))


def _look_at_disk(settings: Settings, found: _Findings) -> None:
    try:
        free = free_bytes(_existing(settings.run.data)) >> 20
    except OSError as error:
        found.problems.append(
            f"{settings.run.data}: its free space cannot be read: {error.strerror}; correct the path"
        )
        return
    reserve = settings.journal.reserve_mib
    found.lines.append(("free disk", f"{free} MiB", f"{reserve} MiB are kept in reserve"))
    if free < reserve:
        found.problems.append(
            f"only {free} MiB are free under {settings.run.data}, {reserve} MiB are kept in reserve: "
            "make room, or lower journal.reserve_mib"
        )


def _is_locked(data: Path, found: _Findings) -> bool:
    path = Layout(data).lock
    try:
        holder = holder_of(data)
    except OSError as error:
        found.problems.append(f"{path} cannot be opened: {error.strerror}; correct its permissions")
        return False
    if holder is None:
        found.lines.append(("lock", "free", str(path)))
        return False
    found.problems.append(f"{data} is in use by {holder}: wait for it to end, or stop it with SIGTERM")
    found.lines.append(("lock", "in use", str(holder)))
    return True


def _look_at_sellers(settings: Settings, sellers: str, found: _Findings) -> None:
    run = settings.run
    listed = found.tried(lambda: read_sellers(sellers, column=run.column, skip_bad_ids=run.skip_bad_ids))
    if listed is not None:
        found.warnings += listed.warnings
        counts = f"{len(listed)} sellers, {listed.repeated} repeated, {listed.bad_count} bad"
        found.lines.append(("seller list", counts, listed.name))
        if run.strategy is Strategy.FRESHEST and settings.credits.budget is not None:
            _look_at_budget(settings, listed, found)


def _look_at_budget(settings: Settings, listed: SellerList, found: _Findings) -> None:
    """Warn where the budget of a night is too small for `--strategy freshest`."""
    from crawler.planning.freshest_plan import tonight  # noqa: PLC0415 - heavy

    today = datetime.now(ZoneInfo(settings.run.timezone)).date()
    night = found.tried(lambda: tonight(settings, listed.ids, settings.run.crawl_date or today))
    if night is not None:
        found.warnings += night.doubts(settings)


def _ask(settings: Settings, keys: Sequence[ApiKey], found: _Findings, *, is_locked: bool) -> None:
    """Send one request with each key. Where they fail for several reasons, they count as used up."""
    if not keys:
        found.lines.append(("online", "not asked", "the settings and the key must be right first"))
        return
    if is_locked:
        found.lines.append(("online", "not asked", "the run that holds the data folder must end first"))
        found.exit_code = DataLockedError.exit_code
        return
    from crawler.nightly.online import ask_once  # noqa: PLC0415 - heavy

    codes = set()
    for key in keys:
        name = "online" if key.limits is None else f"online {key.limits.name}"
        answer = found.tried(partial(ask_once, settings, key))
        found.lines.append((name, "failed" if answer is None else answer, settings.api.url))
        codes |= {found.exit_code} if answer is None else set()
    if len(codes) > 1:
        found.exit_code = QuotaUsedUpError.exit_code


def _reach_places(settings: Settings, found: _Findings) -> None:
    """Write and remove a small object wherever copies go."""
    if not settings.output.is_copied:
        return
    from crawler.copies.places import places_of  # noqa: PLC0415 - heavy
    from crawler.copies.sending import probe  # noqa: PLC0415 - heavy
    from crawler.nightly.world import World  # noqa: PLC0415 - heavy

    run_id = World().run_id(datetime.now(UTC))
    for place in places_of(settings.output):
        answer = found.tried(partial(probe, place, settings.run.data, run_id, _PROBE_S))
        found.lines.append(("copies", "failed" if answer is None else answer, str(place)))


def _print_text(found: _Findings) -> None:
    first, second, _ = (max(map(len, column)) for column in zip(*found.lines, strict=True))
    for name, value, origin in found.lines:
        sys.stdout.write(f"{name:{first}}  {value:{second}}  {origin}\n")
    for text in found.warnings:
        sys.stdout.write(f"warning: {text}\n")
    for text in found.problems:
        sys.stdout.write(f"problem: {text}\n")
    sys.stdout.write("not ready\n" if found.problems else "ready\n")


def _print_json(found: _Findings) -> None:
    report = {
        "ready": not found.problems,
        "values": [{"name": n, "value": value, "origin": origin} for n, value, origin in found.lines],
        "warnings": found.warnings,
        "problems": found.problems,
    }
    sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
