"""Commands as a shell reads them: to be pasted into one on this machine, from any folder."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

_NAME = "crawler"


def program() -> list[str]:
    """The words that start this program again in the same shell."""
    invoked = sys.argv[0]
    if Path(invoked).name == "__main__.py":
        script = str(Path(sys.executable).with_name(_NAME))
        return [_NAME] if _is_found(_NAME, script) else [_python(), "-m", _NAME]
    if Path(invoked).name != _NAME or _is_found(_NAME, invoked):
        return [_NAME]
    return [whole_path(invoked)]


def _python() -> str:
    return next((name for name in ("python", "python3") if _is_found(name, sys.executable)), sys.executable)


def _is_found(name: str, path: str) -> bool:
    """Whether the shell finds this very path by a bare name: not only what a link of that name leads to."""
    found = shutil.which(name)
    return found is not None and Path(found).absolute() == Path(path).absolute()


def whole_path(path: str) -> str:
    """A path that leads to the same file from every folder."""
    return os.path.abspath(path)  # noqa: PTH100 - links stay as they are


def with_whole_paths(flags: Iterable[str], data: Path) -> list[str]:
    """Flags that lead to the same settings file and to this data folder from every folder."""
    words = list(flags)
    if "--data" not in words:
        words += ["--data", str(data)]
    for at in [words.index(flag) + 1 for flag in ("--config", "--data") if flag in words]:
        words[at] = whole_path(words[at])
    return words


def quoted(words: Iterable[str]) -> str:
    """Words as a shell reads them; printable, though a file's name need not be."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(f"\\x{byte:02x}" for byte in os.fsencode(word)) + "'"
