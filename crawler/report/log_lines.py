"""Log lines on standard error: text for people, JSON for programs. Open it to change their form.

What they say is in `events.py`; nothing else is ever logged.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, ClassVar

from crawler import events
from crawler.events import EVENTS, Sentence
from crawler.models.encodings import as_text, printable, without_secret
from crawler.options import LogSettings

_LOG = logging.getLogger("crawler")
_COLLECTED: ContextVar[list[list[Any]] | None] = ContextVar("collected", default=None)
_MOST_COLLECTED = 200


def set_up_logging(settings: LogSettings, warnings: Iterable[Sentence] = ()) -> None:
    """Send log lines to standard error as text or JSON, `warnings` first; `quiet` leaves those and errors.

    Messages of libraries become such lines too.
    """
    logging.root.handlers[:] = [_Lines(settings.format)]
    _LOG.setLevel(logging.WARNING if settings.quiet else logging.INFO)
    for warning in warnings:
        warning.log()


def quiet_library(name: str) -> None:
    """Let a library log nothing: the code that uses it reports its failures."""
    logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def collected_lines() -> Iterator[list[list[Any]]]:
    """The lines that are logged within, by this task and those that it begins: event, sentence and fields.

    Nothing is written; who draws from the list passes them on.
    """
    if not any(isinstance(handler, _Collector) for handler in _LOG.handlers):
        _LOG.addHandler(_Collector())
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False
    lines = list[list[Any]]()
    mark = _COLLECTED.set(lines)
    try:
        yield lines
    finally:
        _COLLECTED.reset(mark)


def is_set_up(form: str = "") -> bool:
    """Whether log lines have their form; with `form`, whether it is this one."""
    return any(form in ("", lines.form) for lines in _all_lines())


def hide(secret: str) -> None:
    """Let no line of the log hold this."""
    for lines in _all_lines():
        lines.secrets.add(secret)


def draw_on(console: Any) -> None:
    """Write lines above the live display of this `rich` console; None: there is none."""
    _Lines.console = console


class _Collector(logging.Handler):
    """Keeps lines for `collected_lines`."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        lines = _COLLECTED.get()
        if lines is not None and isinstance(record.msg, Sentence) and len(lines) < _MOST_COLLECTED:
            lines.append([record.msg.event.name, str(record.msg), record.msg.fields])


class _Lines(logging.StreamHandler[Any]):
    """Writes lines to standard error, above the live display where its `console` is there.

    Of each event as many as it may have: `seen` counts all of them. No line holds one of the `secrets`.
    """

    console: ClassVar[Any] = None

    def __init__(self, form: str) -> None:
        super().__init__(sys.stderr)
        self.form = form
        self.seen: Counter[str] = Counter()
        self.secrets: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, which the display must not break: it may hold a command to be pasted."""
        event = _sentence_of(record).event
        if event in (events.RUN_COMPLETE, events.RUN_INCOMPLETE):
            self._say_what_was_left_out()
        self.seen[event.name] += 1
        if event.most and self.seen[event.name] > event.most:
            return
        if self.console is None:
            super().emit(record)
        else:
            line = self.format(record)
            self.console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)

    def _say_what_was_left_out(self) -> None:
        left_out = {name: count - EVENTS[name].most for name, count in self.seen.items() if EVENTS[name].most}
        self.seen.clear()
        if left_out := {name: count for name, count in left_out.items() if count > 0}:
            events.LINES_LEFT_OUT(lines=left_out).log()

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment, sentence = datetime.fromtimestamp(record.created, UTC), _sentence_of(record)
        if self.form == "text":
            # What a file's name or the API's text holds must not reach the terminal as it is.
            text = printable(self._plain(sentence))
            return f"{moment.astimezone():%Y-%m-%dT%H:%M:%S%z} {record.levelname} {text}"
        head = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": sentence.event.level,
            "event": sentence.event.name,
        }
        # ASCII alone: whatever encoding standard error has, the line is JSON.
        return json.dumps(self._plain({**head, **sentence.fields, "message": str(sentence)}))

    def _plain(self, value: Any) -> Any:
        """The value as JSON has it, without secrets."""
        if isinstance(value, dict):
            return {name: self._plain(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [*map(self._plain, value)]
        if isinstance(value, int | float | None):
            return value
        text = as_text(str(value))
        for secret in self.secrets:
            text = without_secret(text, secret)
        return text


def _sentence_of(record: logging.LogRecord) -> Sentence:
    """What a record says; also where it is a library's own."""
    if isinstance(record.msg, Sentence):
        return record.msg
    error = record.exc_info[1] if record.exc_info else None
    text = " ".join((record.getMessage() + (f" {error!r}" if error else "")).split())
    return events.LIBRARY_WARNED(library=record.name, text=text)


def _all_lines() -> list[_Lines]:
    return [handler for handler in logging.root.handlers if isinstance(handler, _Lines)]
