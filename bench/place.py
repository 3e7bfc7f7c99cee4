"""Where measurements keep what they need meanwhile: `.bench/`, which Git does not see."""

from __future__ import annotations

import tempfile
from pathlib import Path

_HOME = Path(__file__).resolve().parent.parent / ".bench"


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """A new folder, gone when its context ends; on the repository's disk, since `/tmp` may be none."""
    _HOME.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=_HOME)
