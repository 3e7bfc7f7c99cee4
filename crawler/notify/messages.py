"""What is told, and to which address: values in, text out. Open it to change a message."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies

import orjson

from crawler.exit_codes import verdict_of
from crawler.options import RESULT_PREFIX
from crawler.report.head import as_head, shortened
from crawler.settings.values import is_json_text

START, SUCCESS = "/start", ""
_MIN_SECRET = 6
"""Characters from which on a secret is struck out: a shorter one may be part of any word."""
_CHAT_HEAD = 1900
"""Bytes of `{head}` in a template: Discord takes 2,000 characters."""
_FIELD = re.compile(r"\{(\w+(?:\.\w+)*)\}", re.ASCII)
_INHERITED = ("PATH", "HOME", "LANG")
_BREAK = "\u200b"
_MAX_TEMPLATE = 65_536


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `document` is `report.json`, or the little that is known of a run without one."""

    exit_code: int
    is_ok: bool
    document: bytes
    fields: Mapping[str, Any]
    head: str
    report: Path | None = None

    @property
    def needs_attention(self) -> bool:
        """Whether the run failed, or a note of its report is a warning."""
        return not self.is_ok or bool(self.fields.get("is_warning"))


def outcome(document: bytes, ok: Collection[int], secrets: Iterable[str], report: Path | None) -> Outcome:
    """The outcome that a document of JSON is about, without the secrets."""
    document = without(document, secrets)
    fields = orjson.loads(document)
    code = fields["exit_code"]
    return Outcome(code, code in ok, document, fields, as_head(fields), report)


def early_document(exit_code: int, message: str, crawl_date: str | None) -> bytes:
    """What is told of a run that ended before it had a report."""
    text = {"exit_code": exit_code, "message": message, "crawl_date": crawl_date, "status": "failed"}
    return orjson.dumps(text, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def without(document: bytes, secrets: Iterable[str]) -> bytes:
    """JSON without the secrets, should one have found its way into it."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET:
            document = document.replace(orjson.dumps(secret)[1:-1], b"***")
    return document


def proxy_passwords() -> list[str]:
    """The passwords of the proxies that the environment names, as written and as meant."""
    found = []
    for proxy in getproxies().values():
        user, at, _ = proxy.rpartition("@")
        if at and (password := user.partition("://")[2].partition(":")[2]):
            found += [password, unquote(password)]
    return found


def ping_address(url: str, end: str, run: str) -> str:
    """The address of one ping; `run` tells the service which start and which end belong together."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, f"rid={run}")))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + end, query=query))


def ping_end(outcome: Outcome) -> str:
    """What the address of a run's last ping ends with."""
    if outcome.is_ok:
        return SUCCESS
    # /0 would be a success.
    return f"/{outcome.exit_code}" if outcome.exit_code else "/fail"


def read_template(template: str) -> Any:
    """The JSON of a template, or of the file that it names. Raises `OSError` or `ValueError`."""
    if is_json_text(template):
        return json.loads(template)
    with Path(template).expanduser().open("rb") as file:
        return json.loads(file.read(_MAX_TEMPLATE))


def filled(template: Any, outcome: Outcome) -> Any:
    """A template of JSON with its fields filled in: they are text in its strings, and never more.

    `{credits.spent}` is a key of the report, `{head}` its head, `{line}` that head's first line, and
    `{verdict}` the exit code in words. What the report lacks is a dash, what it cannot have stays as it is.
    """
    if isinstance(template, str):
        return _FIELD.sub(lambda found: _field(found, outcome), template)
    if isinstance(template, dict):
        return {key: filled(value, outcome) for key, value in template.items()}
    return [filled(value, outcome) for value in template] if isinstance(template, list) else template


def _field(found: re.Match[str], outcome: Outcome) -> str:
    extra = {
        "head": shortened(outcome.head, _CHAT_HEAD).rstrip("\n"),
        "line": outcome.head.partition("\n")[0],
        "verdict": verdict_of(outcome.exit_code),
    }
    value: Any = {**outcome.fields, **extra}
    for key in found[1].split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict | list):
        value = orjson.dumps(value).decode()
    # Chat services read <!channel>, <http://…|…> and @everyone as more than text.
    return "-" if value in (None, "") else str(value).replace("<", f"<{_BREAK}").replace("@", f"@{_BREAK}")


def command_environment(outcome: Outcome, run: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: results, and nothing of ours that could hold a secret."""
    results = {
        "EXIT_CODE": outcome.exit_code,
        "OK": int(outcome.is_ok),
        "VERDICT": verdict_of(outcome.exit_code),
        "STATUS": outcome.fields.get("status"),
        "CRAWL_DATE": outcome.fields.get("crawl_date"),
        "RUN_ID": outcome.fields.get("run_id"),
        "REPORT": outcome.report,
        "RID": run,
    }
    inherited = {name: environ[name] for name in _INHERITED if name in environ}
    return inherited | {f"{RESULT_PREFIX}{name}": str(v) for name, v in results.items() if v is not None}
