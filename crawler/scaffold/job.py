"""The nightly job that systemd or cron is to start: program, folder, list, key and data as whole paths."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from crawler.models.errors import InputError
from crawler.options import Settings
from crawler.scaffold.folder import KEY_NAME, LIST_NAME
from crawler.settings.load import DEFAULT_CONFIG, load

HOUR, MINUTE = 2, 10
"""When a night begins."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run a night, in `folder`, by the settings that are there."""

    folder: Path
    settings: Settings
    program: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The command, to be started in the folder."""
        return (*self.program, "run", LIST_NAME)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / self.settings.run.data

    @property
    def key(self) -> Path:
        """The file that holds the API key."""
        return self.folder / (self.settings.api.key_file or KEY_NAME)

    @property
    def read(self) -> tuple[Path, ...]:
        """What it reads: the folder, and the places of Python and of the program."""
        return (self.folder, Path(sys.prefix), Path(sys.base_prefix), Path(__file__))


def job_in(folder: Path) -> Job:
    """The job of a folder with a settings file.

    Raises `InputError` where the settings cannot be used, or no unit or crontab can hold a path.
    """
    whole = folder.absolute()
    job = Job(whole, load({}, whole / DEFAULT_CONFIG, {}).settings, _program())
    for path in (*map(str, (whole, job.data, job.key)), *job.program):
        if not path.isprintable() or "\\" in path:
            raise InputError(
                f"{path!r} has characters that a unit or a crontab cannot hold: choose another path"
            )
    return job


def _program() -> tuple[str, ...]:
    """The words that start this program without a PATH."""
    script = Path(sys.executable).with_name("crawler")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "crawler")
