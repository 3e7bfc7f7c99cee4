"""Text as editors, shells and spreadsheets save it: byte order marks, other encodings, and files' names."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    # UTF-32's mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)

_ESCAPED_BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")

LEGACY_ENCODINGS = (
    *("gb18030", "cp1252", "cp932", "big5hkscs", "cp949", "cp1251", "cp1250", "cp1258", "cp874", "cp1254"),
    *("cp1253", "cp1255", "cp1256", "cp1257", "mac-roman", "cp850", "cp437", "koi8-r", "euc-jp"),
)
"""What spreadsheets save a CSV in, by their country, the most frequent first."""
_SHORTEST_SECRET = 8


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte order mark announces; None without a mark."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def decoded(content: bytes) -> str:
    """The text of a whole file: by its byte order mark, which is dropped, or else as UTF-8.

    Raises `UnicodeDecodeError` where it is neither. UTF-16 without a mark may be valid UTF-8: its NUL bytes
    are refused.
    """
    marked = marked_encoding(content)
    if marked is None and (at := content.find(b"\0")) >= 0:
        raise UnicodeDecodeError("utf-8", content, at, at + 1, "a NUL byte")
    return content.decode(marked or "utf-8")


def as_text(name: str) -> str:
    """A file's name, which need not be UTF-8, as text that can be printed and kept anywhere."""
    return name.encode("utf-8", "backslashreplace").decode()


def as_name(text: str) -> str:
    """The file's name of which `as_text` made a text."""
    return _ESCAPED_BYTE.sub(lambda byte: chr(int(byte[1], 16)), text)


def printable(text: str) -> str:
    r"""The text with what a terminal obeys, or a reader does not see, spelled out: `\x1b`, `\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_secret(text: str, secret: str) -> str:
    """The text with a secret struck out; a short one may be part of any word."""
    return text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
