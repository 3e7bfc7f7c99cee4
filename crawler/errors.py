"""Every error that ends a command, each knowing its exit code.

A message says what was wrong, where (file, line, seller, page), and what to do about it. It never
holds the API key.
"""

from __future__ import annotations

from typing import ClassVar


class CrawlerError(Exception):
    """What ends a command: the message is for its user, `exit_code` for cron."""

    exit_code: ClassVar[int] = 1


class InputError(CrawlerError):
    """Bad usage, settings or seller list: nothing was sent, nothing was touched."""

    exit_code = 2


class BudgetSpentError(CrawlerError):
    """The next request would overrun our own credit budget."""

    exit_code = 3


class KeyRefusedError(CrawlerError):
    """The API refused the key (401, 403)."""

    exit_code = 5


class QuotaUsedUpError(CrawlerError):
    """The provider says that the account's quota is used up (402, or a message that says so)."""

    exit_code = 6


class DataLockedError(CrawlerError):
    """Another run holds this data folder."""

    exit_code = 7


class OutputError(CrawlerError):
    """The disk is full, or the output cannot be written."""

    exit_code = 8


class ApiDownError(CrawlerError):
    """No answer for as long as the run's patience lasts."""

    exit_code = 9
