"""Commands as they are printed: to be pasted into a shell on this machine, from any folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

from crawler.models.encodings import as_name
from crawler.models.errors import CrawlerError
from crawler.options import OPTIONS
from crawler.store.layout import JournalFiles, Layout
from crawler.store.ledger import Ledger

_NAME = "crawler"
_ANY_LIST = "SELLERS"
"""What a command names where no journal says which list its date was begun with."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands of one data folder; `place` is the flags that lead to it and to its settings.

    `key` is what leads a run to its key from every folder, as `key_variables` has it.
    """

    data: Path
    place: Sequence[str]
    key: Sequence[str] = ()

    @classmethod
    def of(cls, data: Path, flags: Sequence[str], key: Sequence[str] = ()) -> Self:
        """Those of a run with such flags."""
        return cls(data, [*_pair("--config", flags), *_pair("--data", flags)], key)

    def close(self, crawl_date: date) -> str:
        """Closes a crawl date."""
        return self._command("close", crawl_date.isoformat())

    def rebuild(self) -> str:
        """Makes changes anew."""
        return self._command("changes", "--rebuild")

    def page(self, run_id: str) -> str:
        """Makes the page of a run."""
        return self._command("report", run_id)

    def upgrade(self) -> str:
        """Gives the nights one file each."""
        return self._command("upgrade")

    def upload(self) -> str:
        """Copies what is published to where it is not yet."""
        return self._command("upload")

    def accept(self, crawl_date: date) -> str:
        """Publishes a night that is held back, as it is."""
        return self._command("publish", "--crawl-date", crawl_date.isoformat(), "--accept")

    def _command(self, *words: str) -> str:
        return quoted([*program(), *words, *with_whole_paths(self.place, self.data)])

    def run(
        self,
        ledger: Ledger,
        crawl_date: date,
        own: tuple[str, Sequence[str]] | None = None,
        extra: Sequence[str] = (),
        variables: Sequence[str] = (),
    ) -> str:
        """Goes on with a crawl date; where the budget in the flags is spent, it is raised by as much again.

        By the seller list and the flags that its journal notes, or by `own`, those of the run that asks;
        `variables` are set for the command alone.
        """
        source, flags = self._noted(crawl_date) if own is None else own
        if source == "-":
            kept = JournalFiles(Layout(self.data).latest_journal(crawl_date)).piped_list
            # A run that was refused has kept none: then the list must be piped in again.
            source = whole_path(str(kept)) if kept.is_file() else source
        elif source != _ANY_LIST:
            source = whole_path(source)
        flags = with_whole_paths(_with_credit(flags, ledger, crawl_date), self.data)
        words = [*program(), "run", source, *flags, "--crawl-date", crawl_date.isoformat()]
        words += [flag for flag in extra if flag not in flags]
        return " ".join([*self.key, *variables, quoted(words)])

    def _noted(self, crawl_date: date) -> tuple[str, list[str]]:
        """The list and the flags that the date's journal notes; the data folder is where it is now."""
        from crawler.store.journal import Journal  # noqa: PLC0415 - heavy

        path = Layout(self.data).latest_journal(crawl_date)
        source, flags = _ANY_LIST, list(self.place)
        if path.exists():
            with suppress(CrawlerError, ValueError), Journal(path, only_read=True) as journal:
                source = as_name(journal.meta("source") or _ANY_LIST)
                if (noted := journal.meta("flags")) is not None:
                    flags = json.loads(noted)
                    at = flags.index("--data") if "--data" in flags else len(flags)
                    flags[at : at + 2] = []
                    flags += _pair("--data", self.place)
        return source, flags


def _pair(name: str, flags: Sequence[str]) -> Sequence[str]:
    """A flag with its value, as far as it is given."""
    at = flags.index(name) if name in flags else len(flags)
    return flags[at : at + 2]


def _with_credit(flags: Sequence[str], ledger: Ledger, crawl_date: date) -> list[str]:
    """The flags with a budget that lets a run of the date go on."""
    words = list(flags)
    if "--budget" not in words:
        return words
    at, spent = words.index("--budget") + 1, ledger.spent_for(crawl_date)
    budget = int(words[at])
    if spent >= budget:
        day = ledger.date(crawl_date)
        left = 0 if day is None else day.pending
        words[at] = str(spent + (budget or left or 1))
    return words


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


def key_variables(path: Path | None) -> list[str]:
    """What `api.key_file` must be set to, so that it leads to the same file from every folder."""
    # What is no file may be the key itself.
    if path is None or path.is_absolute() or not path.is_file():
        return []
    return [f"{OPTIONS['api.key_file'].variables[0]}={quoted([whole_path(str(path))])}"]


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
