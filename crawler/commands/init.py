"""`crawler init`: a folder to begin with, and what starts a run every night; prints what comes next."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from crawler.nightly.shell import program, quoted, whole_path
from crawler.scaffold.crontab import crontab
from crawler.scaffold.folder import GITIGNORE, KEY_NAME, LIST_NAME, beginning, not_ignored, write_files
from crawler.scaffold.job import Job, job_in
from crawler.scaffold.systemd import SERVICE, TIMER, USER, units

_UNITS, _CRONTAB = "systemd", "crontab"
_FIRST_BUDGET = "100"


def init_command(folder: Path, *, systemd: bool, cron: bool) -> int:
    """Write what is not there, and print the commands that come next; 0.

    Raises `InputError` where the folder or its settings cannot be used, `OutputError` where nothing can be
    written.
    """
    whole = Path(whole_path(str(folder)))
    _write(whole, beginning())
    if missing := not_ignored(whole):
        sys.stdout.write(f"add to {whole / GITIGNORE}, so that git leaves them out: {' '.join(missing)}\n")
    _say_next(whole)
    if systemd:
        _set_up_systemd(job_in(whole))
    if cron:
        _set_up_cron(job_in(whole))
    return 0


def _write(folder: Path, texts: dict[str, str]) -> None:
    for path, is_new in write_files(folder, texts):
        sys.stdout.write(f"made {path}\n" if is_new else f"kept {path}, which was there\n")


def _say_next(folder: Path) -> None:
    go = f"cd {quoted([str(folder)])} &&"
    start, key = quoted(program()), quoted([str(folder / KEY_NAME)])
    _print_steps(
        f"Put your seller IDs into {folder / LIST_NAME}, and the API key, alone on one line, into a file:",
        f"(umask 077; cat > {key})   # paste the key, then Enter and Ctrl-D",
    )
    _print_steps(
        "Then:",
        f"{go} {start} check {LIST_NAME}",
        f"{go} {start} run {LIST_NAME} --budget {_FIRST_BUDGET}",
    )


def _set_up_systemd(job: Job) -> None:
    made = job.folder / _UNITS
    sys.stdout.write("\n")
    _write(made, units(job))
    data = quoted([str(job.data)])
    _print_steps(
        f"To start it every night as the user {USER}, who must be able to read {job.program[0]}:",
        f"sudo useradd --system --no-create-home --shell /usr/sbin/nologin {USER}",
        f"sudo install -d -o {USER} -g {USER} -m 750 {data} && sudo chown -R {USER}: {data}",
        f"sudo cp {quoted([str(made / SERVICE), str(made / TIMER)])} /etc/systemd/system/",
        f"sudo systemctl daemon-reload && sudo systemctl enable --now {TIMER}",
    )


def _set_up_cron(job: Job) -> None:
    sys.stdout.write("\n")
    _write(job.folder, {_CRONTAB: crontab(job, _user())})
    path = quoted([str(job.folder / _CRONTAB)])
    _print_steps(
        "To start it every night by cron, after what your crontab has already:",
        f"(crontab -l 2>/dev/null || :; cat {path}) | crontab -",
    )


def _user() -> str:
    """Who gets cron's mail."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _print_steps(what: str, *commands: str) -> None:
    sys.stdout.write(f"\n{what}\n")
    sys.stdout.writelines(f"  {command}\n" for command in commands)
