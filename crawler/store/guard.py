"""The guard of a run's open files: what is written by path must be what the run holds open."""

from __future__ import annotations

from pathlib import Path

from crawler.models.errors import DisplacedError

_Identity = tuple[int, int]


class Guard:
    """Knows the files that a run holds open; calling it makes sure that they are still at their paths.

    Each must stay open for as long as it is watched: its inode could be given to another file otherwise.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._data_identity = _identity_at(data)
        self._files: dict[Path, _Identity] = {}

    def __call__(self) -> None:
        """Raise `DisplacedError` where a watched file is no longer at its path."""
        for path, identity in self._files.items():
            if _identity_at(path) != identity:
                raise DisplacedError(
                    f"{path} is no longer the file that this run uses: {self._data} was moved, or its state "
                    "was removed, while the run went on; nothing more was sent, and nothing was published. "
                    "If it was moved, what was paid for is in it: move it back, or name its new place by "
                    "--data, and run again. What was removed is lost"
                )

    def watch(self, *paths: Path) -> None:
        """Watch files that are open now; those that are not there are left out."""
        found = {path: _identity_at(path) for path in paths}
        self._files |= {path: identity for path, identity in found.items() if identity is not None}

    @property
    def is_data_in_place(self) -> bool:
        """Whether the data folder is the one that the run began in."""
        return _identity_at(self._data) == self._data_identity


def _identity_at(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
