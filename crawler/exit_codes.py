"""Every exit code once. Open it to add one, or to change what is said of one.

The report, `status`, `--help` and the errors read this table; the tables of docs/exit-codes.md and
docs/operations.md are made from it (`make tables`).
"""

from __future__ import annotations

from typing import NamedTuple

_PAID = "what was paid for is published, a later run goes on"
_PAID_OR_HELD = (
    "what was paid for is published, or held back if the night is implausible; a later run goes on"
)
_UNTOUCHED = "untouched"


class ExitCode(NamedTuple):
    """What a code means, for people; `verdict` says it in a few words."""

    number: int
    verdict: str
    meaning: str
    advice: str = "run again"
    published: str = _PAID_OR_HELD


COMPLETE = ExitCode(
    0,
    "complete",
    "every seller was crawled to its end, or as far as was asked for",
    "nothing",
    "published; as before where nothing was left to do",
)
BUG = ExitCode(
    1,
    "a fault of the program",
    "a fault of the program",
    "report it with the file that the last line names; run the same command again, nothing paid is lost",
    "the journal is kept",
)
BAD_INPUT = ExitCode(
    2,
    "bad usage, settings or list",
    "bad usage, settings, key or seller list; nothing was sent",
    "correct what the message names",
    _UNTOUCHED,
)
BUDGET_SPENT = ExitCode(
    3,
    "credit budget spent",
    "our own credit budget ran out",
    "raise the budget that the message names and go on with the same date, or leave it; "
    "the rest is `partial` or `pending` in `sellers/`",
    _PAID,
)
SELLERS_FAILED = ExitCode(
    4,
    "some sellers failed",
    "some sellers failed, the rest is complete",
    "read the failures in the report; failures other than a refusal (400, 404, 410, 422 …) are tried again "
    "by any later run of the date, refusals with `--retry-failed`",
    "published",
)
KEY_REFUSED = ExitCode(5, "key refused", "the API refused the key (401, 403)", "check the key, run again")
QUOTA_USED_UP = ExitCode(
    6, "quota used up", "the provider's quota is used up", "top up the account, run again"
)
LOCKED = ExitCode(
    7,
    "data folder in use",
    "another run holds this data folder",
    "wait for the run that the message names",
    _UNTOUCHED,
)
OUTPUT = ExitCode(
    8,
    "output not writable, or damaged",
    "the disk is full, or the output cannot be written or is damaged; or all is published here, and the copy "
    "elsewhere (`output.url`) failed",
    "do what the message says, such as make room or correct permissions, then run again; "
    "nothing paid for is asked for again; a copy is sent by `crawler upload` or the next run",
    "the journal is kept, nothing is half-published; published where only the copy failed",
)
API_DOWN = ExitCode(
    9,
    "API down",
    "the API was down for as long as `--patience`; or `--api-url` is wrong: all sellers asked, up to 25 over "
    "the list, were answered 404",
    "read the last error in the message or the report (DNS, TLS, proxy, a status …), or correct `--api-url` "
    "where the message asks for it; once its cause is gone, run again",
)
IMPLAUSIBLE = ExitCode(
    10,
    "implausible, held back",
    "the night is implausible, and none of 1, 8, 130, 143, 5, 6 and 9 holds as well",
    "read the reasons in the report, and look at the API; then run the same command again, which asks again "
    "for what was implausible, or publish the night as it is with `crawler publish --crawl-date D --accept`",
    "nothing: the night is held back in the journal, the last good snapshot stays the newest",
)
INTERRUPTED = ExitCode(
    130,
    "interrupted",
    "interrupted by SIGINT, after a clean stop; a second SIGINT or SIGTERM stops at once",
)
READER_LEFT = ExitCode(
    141,
    "reader of the output left",
    "the reader of standard output has gone (`crawler … | head`); nothing is said, as nobody reads any more",
    "nothing; run again where a run was cut off",
    "as without it",
)
TERMINATED = ExitCode(
    143,
    "interrupted",
    "interrupted by SIGTERM or SIGHUP, after a clean stop; a second SIGINT or SIGTERM stops at once",
)

_ALL = (
    *(COMPLETE, BUG, BAD_INPUT, BUDGET_SPENT, SELLERS_FAILED, KEY_REFUSED, QUOTA_USED_UP, LOCKED),
    *(OUTPUT, API_DOWN, IMPLAUSIBLE, INTERRUPTED, READER_LEFT, TERMINATED),
)
EXIT_CODES = {code.number: code for code in _ALL}
_EARLIER = {129: INTERRUPTED}
"""Codes that only ledgers of earlier builds hold."""


def verdict_of(number: int, unknown: str = "unknown exit code") -> str:
    """A run's exit code in a few words."""
    code = EXIT_CODES.get(number) or _EARLIER.get(number)
    return unknown if code is None else code.verdict
