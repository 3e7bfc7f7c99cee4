"""What the page calls the keys of the report and the reasons why sellers stopped."""

from __future__ import annotations

from crawler.models.seller import StopReason

STOPS: dict[str, str] = {
    StopReason.SHORT_PAGE: "came to their end: a page that is not full",
    StopReason.EMPTY_PAGE: "came to their end: a page without rows",
    StopReason.REPEATED_PAGE: "came to their end: a page that repeats an earlier one",
    StopReason.CARRIED: "carried forward: the first page is as it was",
    StopReason.MAX_PAGES: "as many pages as asked for (--max-pages)",
    StopReason.MIN_VALUE: "rows worth less than asked for (--min-value)",
    StopReason.TOP: "the best videos were certain (--top)",
    StopReason.ERROR: "failed",
    StopReason.BUDGET: "the credit budget ran out",
    StopReason.QUOTA: "the provider's quota was used up",
    StopReason.KEY_REFUSED: "the key was refused",
    StopReason.API_DOWN: "the API was down",
    StopReason.INTERRUPTED: "the run was interrupted",
    StopReason.OUTPUT: "the output could not be written",
}
LIST = {
    "total": "sellers listed",
    "repeated_in_list": "repeated in the list",
    "bad_ids_skipped": "bad lines of the list, skipped",
}
ROWS = {
    "received": "received",
    "carried": "carried from earlier snapshots",
    "duplicate": "duplicate, the later one is kept",
    "rejected": "rejected, kept in rejects.jsonl",
    "written": "written",
}
REQUESTS = {"sent": "sent", "ok": "answered with a page", "retried": "asked again"}
ASIDES = {
    "drift": {
        "sellers": "sellers whose list changed while it was read",
        "gaps": "pairs of pages between which rows may be missing",
        "overlap": "rows that came again on the next page",
    },
    "carry_forward": {
        "carried": "sellers carried forward",
        "credits_saved": "credits saved by that",
        "audited": "sellers crawled in full all the same, as an audit",
        "wrong": "of these, not as in the earlier snapshot",
        "changed": "their videos with other counts",
        "missed": "their videos that would have been missing",
        "gone": "their videos that would have been too many",
    },
    "probes": {"sent": "pages after a short one, as a probe", "rows_found": "rows found on them"},
    "after_rejects": {
        "pages": "pages after a short one that held rejected rows",
        "rows_found": "rows found on them",
    },
}
CERTAIN = "every video worth more than this is in the snapshot, by what the API sorts by"
