"""Telling of a run whoever the settings name, from its first second to its exit code.

Open it to add a way of telling. Whatever goes wrong here costs a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from crawler import events
from crawler.options import NotifySettings, Settings
from crawler.ports import CrawlFigures
from crawler.settings.key import key_variables

if TYPE_CHECKING:
    from crawler.metrics.meter import Meter
    from crawler.notify.notifier import Notifier
    from crawler.report.run_report import RunReport


class Telling:
    """Tells of one run, once. It is the run's observer too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._crawl_date = settings.run.crawl_date
        self._secrets = [os.environ.get(name, "").strip() for name in sorted(key_variables(settings))]
        self._notifier, fault = _notifier(settings.notify)
        self._warn_if(_untold(fault))
        self._meter = _meter(settings)
        self._is_over = False

    def begun(self) -> None:
        """Tell that the run has begun; nothing is waited for."""
        if self._notifier is not None:
            self._notifier.start()

    def knows(self, crawl_date: date, keys: Iterable[str]) -> None:
        """Note what the run is about, and what must not be told."""
        self._crawl_date = crawl_date
        self._secrets += keys

    def crawling(self, figures: CrawlFigures) -> None:
        """See `ports.Observer`."""
        if self._meter is not None:
            self._meter.crawling(figures)

    def notes(self) -> Sequence[events.Sentence]:
        """See `ports.Observer`: why the beginning could not be told, or metrics not be written."""
        faults = [None if self._notifier is None else _untold(self._notifier.fault_so_far())]
        faults += [None if self._meter is None else _unmeasured(self._meter.fault_so_far())]
        return [fault for fault in faults if fault is not None]

    def ended(self, report: RunReport) -> None:
        """Tell how the run ended; returns within seconds."""
        if not self._take_turn():
            return
        if self._meter is not None:
            self._warn_if(_unmeasured(self._meter.ended(report)))
        if self._notifier is not None:
            from crawler.store.layout import RunFolder  # noqa: PLC0415 - a run that does not begin is light

            path = RunFolder(self._settings.run.data, report.run_id).report
            self._tell(report.as_json(), path if os.access(path, os.F_OK) else None)

    def ended_early(self, exit_code: int, message: str) -> None:
        """Tell that the run ended before it had a report."""
        if not self._take_turn():
            return
        if self._meter is not None:
            self._warn_if(_unmeasured(self._meter.ended_early(exit_code)))
        if self._notifier is not None:
            from crawler.notify.messages import early_document  # noqa: PLC0415 - most runs tell nobody

            day = None if self._crawl_date is None else self._crawl_date.isoformat()
            self._tell(early_document(exit_code, message, day), None)

    def give_up(self, _signal: int) -> None:
        """Leave off telling."""
        if self._notifier is not None:
            self._notifier.give_up()

    def close(self) -> None:
        """End what still goes on."""
        if self._meter is not None:
            self._meter.close()
        if self._notifier is not None:
            self._notifier.close()

    def _take_turn(self) -> bool:
        is_over, self._is_over = self._is_over, True
        return not is_over

    def _tell(self, document: bytes, report: Path | None) -> None:
        if self._notifier is None:
            return
        from crawler.notify.messages import outcome, proxy_passwords  # noqa: PLC0415 - most runs tell nobody

        secrets = [*self._secrets, *proxy_passwords()]
        try:
            ended = outcome(document, self._settings.notify.ok, secrets, report)
            faults = self._notifier.end(ended)
        except Exception as error:  # noqa: BLE001 - a fault of telling is no fault of the run
            faults = [f"nobody was told of this run: {type(error).__name__}: {error}"]
        for fault in faults:
            self._warn_if(_untold(fault))

    def _warn_if(self, warning: events.Sentence | None) -> None:
        if warning is None:
            return
        from crawler.report.log_lines import is_set_up, set_up_logging  # noqa: PLC0415 - heavy

        if not is_set_up():
            set_up_logging(self._settings.log)
        warning.log()


@contextmanager
def notifying(settings: Settings, described: Callable[[Exception], tuple[int, str]]) -> Iterator[Telling]:
    """Tell of what runs in the block, also where it raises: `described` says what that means."""
    if settings.log.format == "json":
        from crawler.report.log_lines import set_up_logging  # noqa: PLC0415 - a usage error stays light

        set_up_logging(settings.log)
    telling = Telling(settings)
    try:
        yield telling
    except Exception as error:
        telling.ended_early(*described(error))
        raise
    finally:
        telling.close()


def _untold(fault: str | None) -> events.Sentence | None:
    return None if fault is None else events.NOTIFY_FAILED(reason=fault)


def _unmeasured(fault: str | None) -> events.Sentence | None:
    return None if fault is None else events.METRICS_FAILED(reason=fault)


def _notifier(settings: NotifySettings) -> tuple[Notifier | None, str | None]:
    """Who tells; or why nobody can, where somebody should."""
    if settings.ping_url is None and settings.webhook_url is None and settings.command is None:
        return None, None
    from crawler.notify.notifier import Notifier  # noqa: PLC0415 - most runs tell nobody

    try:
        return Notifier(settings), None
    except (RuntimeError, OSError) as error:  # no thread, or no file, is to be had
        return None, f"nobody can be told of this run: {error}"


def _meter(settings: Settings) -> Meter | None:
    if settings.metrics.textfile is None:
        return None
    from crawler.metrics.meter import Meter  # noqa: PLC0415 - most runs write none

    return Meter(settings.metrics.textfile, settings.notify.ok, settings.qps)
