"""The files of a new folder: settings, a sample list, and what git leaves out. None is ever overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from crawler.models.errors import InputError
from crawler.settings.load import DEFAULT_CONFIG
from crawler.settings.settings_file import settings_file
from crawler.store.files import output_errors, write_new

GITIGNORE, LIST_NAME, KEY_NAME = ".gitignore", "sellers.csv", "key"
_IGNORED = ("/data/", f"/{KEY_NAME}")
_SAMPLE = """\
# One seller ID a line. These two are examples: put your own in their place.
seller_id
7494662098975951181
8357387246317527113
"""


class Written(NamedTuple):
    """A file, and whether it was written just now; else it was there, and is as it was."""

    path: Path
    is_new: bool


def beginning() -> dict[str, str]:
    """The text of each file that a night needs, by its path below the folder."""
    return {
        str(DEFAULT_CONFIG): settings_file({"api.key_file": f'"{KEY_NAME}"'}),
        LIST_NAME: _SAMPLE,
        GITIGNORE: "".join(f"{line}\n" for line in _IGNORED),
    }


def write_files(folder: Path, texts: Mapping[str, str]) -> list[Written]:
    """Write each file that is not there.

    Raises `InputError` where the folder is something else, `OutputError` where it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one to be made, or one that is there")
    written = []
    for name, text in texts.items():
        path = folder / name
        with output_errors(str(path)):
            written.append(Written(path, write_new(path, text)))
    return written


def not_ignored(folder: Path) -> list[str]:
    """The lines that the folder's `.gitignore` would need to keep data and key out of git."""
    try:
        text = (folder / GITIGNORE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return list(_IGNORED)
    ignored = {line.strip("/") for line in text.split()}
    return [line for line in _IGNORED if line.strip("/") not in ignored]
