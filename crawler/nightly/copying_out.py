"""Copying elsewhere, after publishing: what is published here goes to the places that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crawler import events
from crawler.models.errors import CopyError, OutputError
from crawler.nightly.opening import Opened
from crawler.nightly.publishing import Published
from crawler.options import OutputSettings
from crawler.report.run_report import RunReport

if TYPE_CHECKING:
    from crawler.copies.sending import Copied

_MOST_NAMED = 3


def copy_elsewhere(opened: Opened, published: Published) -> Sequence[Copied]:
    """Copy what is published to each place, as far as it is not there; says what came of it.

    Nothing is copied once a stop was asked for, or where what is here cannot be relied on.
    """
    night = opened.night
    if not night.settings.output.is_copied or isinstance(published.stop_reason, OutputError):
        return []
    opened.progress.enter("copying")
    results = copy_to_places(
        night.data, opened.run_id, night.settings.output, lambda: night.signals.received is not None
    )
    for copied in results:
        for damage in copied.damages:
            opened.notes.add(events.COPY_DAMAGED(place=copied.place.address, damage=damage))
        if copied.is_stopped and copied.left:
            opened.notes.add(events.COPY_STOPPED(place=copied.place.address, left=len(copied.left)))
    return results


def copy_the_rest(opened: Opened, copies: Sequence[Copied]) -> None:
    """Copy what was written with the report, such as the row of this night, where the rest could be copied.

    What goes wrong here costs a warning: the next run copies it.
    """
    night = opened.night
    if not copies or fault_of(copies) or night.signals.received is not None or opened.displacement:
        return
    try:
        results = copy_to_places(
            night.data, opened.run_id, night.settings.output, lambda: night.signals.received is not None
        )
    except OutputError as error:
        events.COPY_LEFT(reason=error).log()
        return
    if (fault := fault_of(results)) is not None:
        events.COPY_LEFT(reason=fault).log()


def copy_to_places(
    data: Path,
    run_id: str,
    output: OutputSettings,
    is_stopping: Callable[[], bool] = lambda: False,
    *,
    always: bool = False,
) -> list[Copied]:
    """Copy to each place in turn; what one cannot take keeps nothing from the others.

    `always`: ask each place what it has, whatever is remembered. Raises `OutputError` where what was copied
    cannot be remembered.
    """
    from crawler.copies.places import places_of  # noqa: PLC0415 - most runs copy nothing
    from crawler.copies.sending import Sending  # noqa: PLC0415 - as above

    results = []
    for place in places_of(output):
        copied = Sending(data, run_id, place, output, is_stopping).run(always=always)
        if copied.parts:
            mib = copied.bytes / (1 << 20)
            events.COPY_DONE(place=place.address, parts=len(copied.parts), mib=mib).log()
        results.append(copied)
    return results


def with_copies(opened: Opened, copies: Sequence[Copied], report: RunReport) -> RunReport:
    """The report with what was copied; where that failed, with exit code 8 and what copies the rest."""
    fault = fault_of(copies)
    report = replace(report, copies=[copied.figures() for copied in copies])
    if fault is None:
        return report
    message = "; ".join(filter(None, (str(fault), report.message)))
    status = "partial" if report.status == "complete" else report.status
    go_on = report.go_on or opened.night.commands.upload()
    return replace(report, exit_code=fault.exit_code, message=message, status=status, go_on=go_on)


def fault_of(results: Sequence[Copied]) -> CopyError | None:
    """Why not all that is published here is there as well; None where nothing failed."""
    faults = [
        f"{copied.place} lacks {_named(copied.left)} of what is published here: {copied.fault}"
        for copied in results
        if copied.fault
    ]
    if not faults:
        return None
    return CopyError(f"{'; '.join(faults)}; the next run sends it as well, without a request for it")


def _named(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST_NAMED
    return ", ".join(parts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
