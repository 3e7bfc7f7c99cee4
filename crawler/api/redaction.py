"""The key taken out of what is received: an API that echoes it must not make us store it."""

from __future__ import annotations

import re


class Redaction:
    """Replaces the key in answers, however JSON spells it, by `***`."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._in_json = re.compile("".join(map(_spellings, key)).encode())
        # Other characters than these are escaped by their number alone, which begins with 00.
        self._may_be_escaped = not key.isascii() or any(character in key for character in '"/\\')

    def __call__(self, body: bytes) -> bytes:
        """The body without the key."""
        if b"\\" in body and (self._may_be_escaped or b"\\u00" in body):
            return self._in_json.sub(b"***", body)
        return body.replace(self._key, b"***") if self._key in body else body


def _spellings(character: str) -> str:
    """A pattern for a character of a JSON string, escaped or not."""
    backslash = r"\\?" if character in '"/\\' else ""
    return rf"(?:{backslash}{re.escape(character)}|\\u(?i:{ord(character):04x}))"
