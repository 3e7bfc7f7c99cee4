"""What the ledger keeps of a run for ever, beside its figures: open it to let `nights/` say more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from crawler.models.night import RunFacts
from crawler.nightly.opening import Opened
from crawler.nightly.publishing import Published
from crawler.report.run_report import RunReport
from crawler.store.held import Held
from crawler.store.journal import Journal
from crawler.store.layout import VIDEOS


def facts_at_end(opened: Opened, published: Published, report: RunReport) -> RunFacts:
    """All of it, once the run has ended."""
    night, rows, sellers = opened.night, published.rows, report.sellers
    is_held = Held.of(opened.journal) is not None
    return replace(
        night.facts,
        is_late=report.late,
        is_published=night.layout.snapshot(VIDEOS, night.crawl_date).is_dir(),
        is_held=is_held,
        verdict=report.plausibility["verdict"],
        published_rows=None if rows is None or is_held else rows.written,
        partial=sellers["partial"],
        pending=sellers["pending"],
        certain_above=report.certain_above,
        drift=report.drift["gaps"],
        audited=report.carry_forward.get("audited"),
        audit_wrong=report.carry_forward.get("wrong"),
    )


def has_late_pages(journal: Journal, late_from: datetime) -> bool:
    """Whether any page of the date came when its rows were late."""
    last = journal.reader.last_received
    return last is not None and datetime.fromisoformat(last) > late_from
