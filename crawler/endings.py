"""How a command ends: each error as one line for people and an exit code, a bug as a file to report.

Open it to say better what the system is short of, or what to do about an error.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from crawler import __version__
from crawler.exit_codes import INTERRUPTED, READER_LEFT
from crawler.models.encodings import printable
from crawler.models.errors import CrawlerError, InputError, OutputError
from crawler.settings.key import without_key

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_NO_THREAD = re.compile("can't start new thread|failed to launch worker thread", re.IGNORECASE)


class ReaderLeftError(Exception):
    """Standard output's reader has gone: of a `BrokenPipeError` click would make exit code 1, a bug's."""


@contextmanager
def broken_pipe_named() -> Iterator[None]:
    """Raise `ReaderLeftError` where a pipe breaks within the block."""
    try:
        yield
    except BrokenPipeError:
        raise ReaderLeftError from None


def exit_code_of(command: Callable[[], int | None]) -> int:
    """Run a command; an error that ends it is printed on standard error, and becomes its exit code."""
    try:
        return command() or 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.stderr.write("crawler: interrupted; run the same command again\n")
        return INTERRUPTED.number
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug becomes an exit code
        return _print_error(error)


def _print_error(error: Exception) -> int:
    if isinstance(error, click.ClickException):
        error.show()
        return InputError.exit_code
    if isinstance(error, ReaderLeftError):
        return _leave_quietly()
    code, message = code_and_message(error)
    if code == CrawlerError.exit_code and not isinstance(error, CrawlerError):
        return _print_bug(error, message)
    _say(code, message)
    if _is_of_standard_output(error):
        _leave_quietly()
    return code


def _say(code: int, message: str) -> None:
    """Print why a command has ended: as a log line, where these are JSON."""
    if "crawler.report.log_lines" in sys.modules:
        from crawler import events  # noqa: PLC0415 - a usage error stays light
        from crawler.report.log_lines import is_set_up  # noqa: PLC0415

        if is_set_up("json"):
            events.COMMAND_FAILED(exit_code=code, reason=message).log()
            return
    lines = "\n".join(map(printable, message.split("\n")))
    sys.stderr.write(f"crawler: {lines}\n")


def code_and_message(error: Exception) -> tuple[int, str]:
    """The exit code that an error becomes, and what is said of it."""
    if isinstance(error, click.ClickException):
        return InputError.exit_code, error.format_message()
    if isinstance(error, CrawlerError):
        return error.exit_code, str(error)
    if isinstance(error, ReaderLeftError | BrokenPipeError):
        return READER_LEFT.number, READER_LEFT.meaning
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        where = error.filename or "standard output"
        return (
            OutputError.exit_code,
            f"cannot write {where}: {error.strerror}; make room, then run it again",
        )
    short = shortage(error)
    if short is not None:
        return OutputError.exit_code, f"{short}, then run the same command again; the journal is kept"
    what = _without_key(" ".join(str(error).split()))[:200]
    what = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return CrawlerError.exit_code, f"a fault of the program: {what}"


def _is_of_standard_output(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK_FULL and error.filename is None


def shortage(error: BaseException) -> str | None:
    """What the system is short of, or which file it cannot read, where that ended the command."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(shortage, error.exceptions)), None)
    if type(error).__module__ == "sqlite3":
        return f"a database below state/ cannot be read ({error}): restore it from a copy"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "there is not enough memory (ulimit -v, or the container's limit): give it more"
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return "too many files are open (ulimit -n): raise the limit"
    if _NO_THREAD.search(str(error)) and type(error).__module__.split(".")[0] in {"builtins", "pyarrow"}:
        return (
            "no further thread may be started (ulimit -u, memory by ulimit -v, or the container's limit): "
            "raise the limit"
        )
    return None


def _leave_quietly() -> int:
    # what is still buffered would fail again at exit, with a complaint
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_LEFT.number


def _print_bug(error: Exception, message: str) -> int:
    import tempfile  # noqa: PLC0415 - slow to import, and bugs are rare

    trace = _without_key("".join(traceback.format_exception(error)))
    whole = f"crawler {__version__}, Python {sys.version}\n{trace}".encode(errors="backslashreplace")
    where = "the lines above"
    try:
        with tempfile.NamedTemporaryFile(prefix="crawler-bug-", suffix=".txt", delete=False) as file:
            file.write(whole)
            where = file.name
    except OSError:
        sys.stderr.write(trace)
    versions = f"crawler {__version__}, Python {sys.version.split()[0]}"
    code = CrawlerError.exit_code
    _say(code, f"{message}; what was paid for is in the journal. Please report it with {where} ({versions})")
    return code


def _without_key(text: str) -> str:
    return re.sub(r"(?i)(bearer\s+)[^\s'\"]+", r"\1***", without_key(text, os.environ))
