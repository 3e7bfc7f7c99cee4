"""The named steps of `crawler/store/failpoints.py`, at each of which a test stops the program."""

from __future__ import annotations

STEPS = (
    "pins.built",
    "lease.reserve",
    "lease.reserved",
    "commit.begin",
    "commit.written",
    "commit.durable",
    "segment.begin",
    "segment.written",
    "segment.adopted",
    "publish.begin",
    "publish.built",
    "publish.judged",
    "publish.staged",
    "publish.synced",
    "publish.digests",
    "publish.announced",
    "publish.withdrawn",
    "publish.videos",
    "publish.sellers",
    "publish.changes",
    "publish.raw",
    "publish.noted",
    "ledger.settle",
    "ledger.finish",
    "report.written",
    "nights.staged",
    "nights.digests",
    "nights.exchanged",
)
"""Every step, in the order in which a run first comes to them."""
UPGRADE_STEPS = ("upgrade.night", "upgrade.built", "upgrade.digests", "upgrade.exchanged")
"""The steps of giving nights one file each."""
COPY_STEPS = (
    "copy.object",
    "copy.objects",
    "copy.manifest",
    "copy.remembered",
    "copy.removed",
    "copy.table",
)
"""The steps of copying what is published to a bucket or to tables."""
BACKUP_STEPS = ("backup.answered", "backup.copied")
"""The steps of a backup beside a run."""
REBUILD_STEPS = ("rebuild.read", "rebuild.adopted")
"""The steps of making a date's files anew from its journal's answers, before it is published."""
REWRITE_STEPS = (
    "rewrite.synced",
    "rewrite.digests",
    "rewrite.withdrawn",
    "rewrite.sellers",
    "rewrite.changes",
)
"""The steps of writing published files anew under their own names, which few runs do."""
COMPACT_STEPS = (
    "compact.written",
    "compact.compared",
    "compact.digests",
    "compact.exchanged",
    "compact.withdrawn",
    "compact.forgotten",
)
"""The steps of making a month of nights."""
ATTEMPT_STEPS = (
    "attempt.append",
    "attempt.written",
    "attempt.durable",
    "attempt.absorbed",
    "attempt.removed",
)
"""The steps of a worker's log: written by the worker, and taken into the date's journal by its driver."""
