"""What an answer says of itself beside its rows: its message, and the flags that mean failure.

Open it when an API words a used-up quota, a refused key or a failure in a way that is not recognised yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from crawler.models.api import API_COLUMNS

OK_CODES = (0, 200)
"""Values of `code` that mean success."""
_LIMIT = (
    r"quotas?|allowance"
    r"|(usage|credits?|account|plan|subscription|package|trial|billing|spending|overage"
    r"|monthly|daily|weekly|yearly|annual)( \w+){0,2} (limits?|caps?)"
    r"|(requests|calls)( \w+){0,2} (this|per|a) (month|day)"
)
_FUNDS = r"credits?|balance|funds"
_GONE = r"exceeded|exhausted|used up|not enough|insufficient|r[au]n out|depleted"
# "1 credit used; the end is reached": what is reached is another thing, and so it is after a "not".
_NOT_AFTER_NOT = r"(?<!not )(?<!not yet )(?<!not been )\b"
_GAP = rf"\b[^.;!?]{{0,40}}?{_NOT_AFTER_NOT}"
_QUOTA_USED_UP = re.compile(
    rf"\b({_LIMIT}){_GAP}({_GONE}|reached|hit)\b"
    rf"|\b({_FUNDS}){_GAP}({_GONE}|too low)\b"
    rf"|{_NOT_AFTER_NOT}(insufficient|not (have )?(enough|sufficient)|no more|no remaining|out of"
    rf"|exceed(s|ed))\b.{{0,30}}?\b({_LIMIT}|{_FUNDS})\b"
    rf"|{_NOT_AFTER_NOT}(reached|hit) (\w+ ){{0,3}}?({_LIMIT})\b"
    rf"|{_NOT_AFTER_NOT}(used up|exhausted) (\w+ ){{0,3}}?({_LIMIT}|{_FUNDS})\b"
    rf"|\b(no|0|zero) (\w+ ){{0,3}}?(quota|{_FUNDS}) (are |is )?(left|remaining|remain|available)\b"
    rf"|{_NOT_AFTER_NOT}(used|consumed|spent) (up )?all (\w+ ){{0,4}}?({_LIMIT}|{_FUNDS})\b"
    r"|\b(requests?|calls?|api) limit\b.{0,20}?\b(exceeded|reached|hit)\b.{0,20}?\b(day|today|month|year)\b"
    r"|^payment required\W*$"
    r"|(额度|配额|余额|积分|点数|次数)\w{0,8}(用完|用尽|耗尽|不足)",
    re.IGNORECASE,
)
_PER_TIME = re.compile(r"\b[qr]ps\b|\brates?\b|per (second|minute)|too many (requests|calls)", re.IGNORECASE)
_TOO_FAST = re.compile(
    r"too many (requests|calls|connections)|\bthrottl|slow down|too (frequent|fast)\b"
    r"|\b([qr]ps|rates?|frequency|concurrency|per (second|minute))\b.{0,40}?\b(limit|exceed|reached|quota)"
    r"|\b(limit|exceed|quota)\w*\b.{0,40}?\b([qr]ps|rates?|per (second|minute))\b"
    r"|\b(requests?|calls?|api) limit\b.{0,20}?\b(exceeded|reached|hit)\b",
    re.IGNORECASE,
)
_KEY = r"(api|access|auth|subscription) (key|token)|credentials"
_KEY_REFUSED = re.compile(
    rf"\b(invalid|missing|expired|unknown|wrong|revoked|disabled)\b.{{0,15}}?\b({_KEY})\b"
    rf"|\b({_KEY})( \w+){{0,3}}? (null|invalid|missing|expired|revoked|disabled|required|not valid)\b"
    r"|\b(subscription|plan|trial|licen[cs]e)( \w+){0,2} (expired|ended|inactive|cancell?ed)\b"
    r"|\baccount( \w+){0,2} (suspended|disabled|blocked|deactivated|frozen)\b"
    r"|^unauthori[sz]ed\W*$|\bunauthori[sz]ed (access|request)",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(style|script)\b.*?</\1>|<[^<>]*>", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"https?://\S+")
_WORD_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])|[\s_-]+")
_NO_LETTER = re.compile("[^a-z]")
_NUMBER = re.compile(r"\s*(-?[0-9]{1,9})(?:\.0+)?\s*")
_ERROR_MESSAGE_NAMES = ("errormessage", "errormsg", "errmsg")
_MESSAGE_NAMES = ("message", "msg", *_ERROR_MESSAGE_NAMES, "error", "errors", "detail", "details")
_TEXT_NAMES = frozenset(_MESSAGE_NAMES) | {
    *("messages", "err", "description", "errordescription", "reason", "title", "info", "fault"),
    *("status", "statustext", "statusmessage", "code", "errorcode", "errcode", "type", "faultstring"),
    *("data", "result", "response", "body", "base", "meta"),
}
_SUCCESS_NAMES = frozenset({"success", "issuccess", "ok", "isok", "succeeded", "successful", "issuccessful"})
_STATUS_NAMES = frozenset({"status", "state", "result", "outcome"})
_ERROR_NAMES = frozenset({"error", "errors", "err", "exception", "fault", *_ERROR_MESSAGE_NAMES})
_ERROR_CODE_NAMES = frozenset({"errorcode", "errcode", "errno", "errorno"})
_HTTP_NAMES = _ERROR_CODE_NAMES | {
    *("status", "statuscode", "httpstatus", "httpcode", "httpstatuscode", "error", "code")
}
_FALSE = frozenset({"false", "0", "no"})
_NO_ERROR = _FALSE | {"", "none", "null", "nil", "ok", "success", "succeeded", "no error"}
_FAILED = frozenset({"error", "fail", "failed", "failure", "nok", "ko", "exception", "unsuccessful"})
_USUAL = frozenset({"code", "message", "data", "requestId"})
_COLUMNS = frozenset(column.name for column in API_COLUMNS)
_MAX_FIELDS, _MAX_DEPTH, _MAX_VALUES, _MAX_TEXT, _MAX_PLAIN = 50, 4, 500, 500, 5000
"""Limits of what is looked at: an answer may be hostile."""


@dataclass(frozen=True, slots=True)
class Message:
    """The texts of an answer; `text` is what to show of them, on one short line."""

    text: str
    texts: tuple[str, ...]

    @property
    def quota_text(self) -> str:
        """The text that says that the account's quota is used up, other than for the moment; or empty."""
        texts = (text for text in self.texts if _QUOTA_USED_UP.search(text) and not _PER_TIME.search(text))
        return next(texts, "")

    @property
    def says_too_fast(self) -> bool:
        """Whether requests come too fast: what a 429 means."""
        return any(_TOO_FAST.search(text) for text in self.texts)

    @property
    def says_key_refused(self) -> bool:
        """Whether the key is missing, wrong or no longer valid."""
        return any(_KEY_REFUSED.search(text) for text in self.texts)


def is_row(element: Any) -> bool:
    """Whether an element of `data` is a row at all: an object with a value in a field that is known."""
    return isinstance(element, dict) and any(element.get(name) is not None for name in _COLUMNS)


def message_of(document: dict[str, Any]) -> Message:
    """Gather the texts in which an answer may say what happened, wherever an API puts them; rows are none."""
    return Message(_shown(document), tuple(map(_normal, _texts(document))))


def message_of_text(body: bytes) -> Message:
    """The message of an answer that is no JSON object: its words, without the tags of a page."""
    words = " ".join(_TAG.sub(" ", body[:_MAX_PLAIN].decode(errors="replace")).split())
    return Message("", (_normal(words[:_MAX_TEXT]),))


def says_refused(document: dict[str, Any]) -> bool:
    """Whether an answer states that the request did not succeed, whatever else it holds."""
    if document.keys() <= _USUAL:
        return False
    return any(
        name in _SUCCESS_NAMES and value is not None and str(value).strip().lower() in _FALSE
        for name, value in _named(document)
    )


def status_named(document: dict[str, Any]) -> int | None:
    """The error status that an answer without rows names, 500 for an error without one, None for no error."""
    named = list(_named(document))
    nested = [pair for name, value in named if name in _ERROR_NAMES for pair in _named(value)]
    numbers = [(name, as_whole_number(value)) for name, value in (*named, *nested)]
    for name, number in numbers:
        if number is not None and 400 <= number < 600 and name in _HTTP_NAMES:
            return number
    if any(number not in (None, *OK_CODES) and name in _ERROR_CODE_NAMES for name, number in numbers):
        return 500
    failed = any(
        (name in _ERROR_NAMES and _is_error(value, 0))
        or (name in _STATUS_NAMES and isinstance(value, str) and _normal(value).lower() in _FAILED)
        or (name == "status" and value is False)
        for name, value in named
    )
    return 500 if failed or says_refused(document) else None


def on_one_line(value: Any) -> str:
    """The beginning of a value's text, with blanks for what cannot be printed."""
    text = ("" if value is None else str(value))[:200]
    return (text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)).strip()


def _shown(document: dict[str, Any]) -> str:
    named = dict(_named(document))
    # A short `error` may be a mere flag beside the message proper.
    places = [document.get("message"), *(named.get(name) for name in _MESSAGE_NAMES), named.get("data")]
    texts = [place if isinstance(place, str | int) else next(iter(_texts(place)), "") for place in places]
    return next(filter(None, map(on_one_line, [document.get("message"), *texts])), "")


def _texts(value: Any) -> list[str]:
    """The strings in a value, the outer ones first, of objects only those under a name of `_TEXT_NAMES`."""
    texts: list[str] = []
    waiting = [value]
    for part in islice(waiting, _MAX_VALUES):
        if isinstance(part, str):
            texts.append(part[:_MAX_TEXT])
        elif isinstance(part, list):
            waiting.extend(part[:_MAX_FIELDS])
        elif isinstance(part, dict) and "video_id" not in part:
            waiting.extend(inner for name, inner in _named(part) if name in _TEXT_NAMES)
    return texts


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """The first fields of an object, their names without capitals and signs; none of anything else."""
    if isinstance(value, dict):
        for name, inner in islice(value.items(), _MAX_FIELDS):
            yield _NO_LETTER.sub("", name[:40].lower()), inner


def _normal(text: str) -> str:
    """The text for patterns: `QUOTA_EXCEEDED` and `quotaExceeded` in words, without addresses."""
    return _WORD_BORDER.sub(" ", _ADDRESS.sub(" ", text)).strip()


def as_whole_number(value: Any) -> int | None:
    """A whole number of at most nine digits, also one in a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _NUMBER.fullmatch(str(value)[:40])
    return int(found[1]) if found else None


def _is_error(value: Any, depth: int) -> bool:
    """Whether the value of a field like `error` is one: many APIs have the field in every answer."""
    if isinstance(value, str):
        return _normal(value).lower() not in _NO_ERROR
    if isinstance(value, int | float):
        return value not in OK_CODES
    if depth >= _MAX_DEPTH or not value:
        return False
    if isinstance(value, list):
        return any(_is_error(element, depth + 1) for element in value[:_MAX_FIELDS])
    fields = dict(_named(value))
    if "code" in fields:
        return _is_error(fields["code"], depth + 1)
    return any(_is_error(inner, depth + 1) for inner in fields.values())
