"""The views by name, and their SQL over a data folder. Open it to add one: its text is a file in `sql/`.

A file begins with comments, the first of which says what a row is. It reads other views by their names, or
published files by patterns of paths, for which it has `{…}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import pyarrow as pa

from crawler.models.errors import InputError
from crawler.store.layout import CHANGES, PUBLISHED_PATTERNS, VIDEOS, has_files, has_region_folders
from crawler.store.schema import CHANGES_SCHEMA

_DAYS = {"gains_1d": 1, "gains_7d": 7, "gains_30d": 30}
_TABLES = ("videos", "sellers", "changes", "nights")
VIEWS = (
    *("latest", "videos_daily", *_DAYS, "movers", "breakouts", "decay"),
    *("sellers_daily", "creators_daily", "concentration", "restatements", "coverage"),
    *_TABLES,
)
"""The names of all views: those that answer questions, then what is published as it is."""

_NAME_READ = re.compile(r"\b(?:FROM|JOIN) (\w+)\b(?!\()")
_SPECIAL = re.compile(r"[*?\[]")
_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_string, "VARCHAR"),
    (pa.types.is_int64, "BIGINT"),
    (pa.types.is_float64, "DOUBLE"),
    (pa.types.is_timestamp, "TIMESTAMP WITH TIME ZONE"),
)

PathOf = Callable[[str], str]
"""Makes an SQL expression of a pattern of paths below the data folder."""


def summary(name: str) -> str:
    """What a row of a view is, in one line. Raises `InputError` where there is no such view."""
    if name not in VIEWS:
        raise InputError(f"no view {name!r}: there are {', '.join(VIEWS)}")
    return _text(name).partition("\n")[0].removeprefix("-- ")


def statement(name: str, data: Path) -> str:
    """A view as one SQL statement, with all that it reads.

    Raises `InputError` where there is no such view, or nothing is published.
    """
    first_line = summary(name)
    folder = pattern_of(data)
    texts = definitions(data, lambda pattern: literal(f"{folder}/{pattern}"))
    if name not in texts:
        raise InputError(f"{data} has no {name}/ yet: a run makes it")
    parts = ",\n".join(f"{each} AS (\n{_without_comment(texts[each])})" for each in _all_read(name, texts))
    return f"-- {first_line}\nWITH {parts}\nSELECT * FROM {name}\n"


def definitions(data: Path, path_of: PathOf) -> dict[str, str]:
    """The SQL of each view over a data folder, those first that others read.

    Without `changes/` there is an empty view in its place, without `nights/` none. Raises `InputError` where
    nothing is published.
    """
    has_regions = has_region_folders(data)
    if has_regions is None and not has_files(data, PUBLISHED_PATTERNS["videos_and_archive"]):
        raise InputError(f"nothing is published under {data}; name the folder that a run writes with --data")
    paths = {name: path_of(pattern) for name, pattern in PUBLISHED_PATTERNS.items()}
    texts = {name: _text(name) for name in VIEWS}
    if has_regions:
        texts[VIDEOS] = _file("videos_by_region")
    if not has_files(data, PUBLISHED_PATTERNS[CHANGES]):
        texts[CHANGES] = _empty_changes()
    if not has_files(data, PUBLISHED_PATTERNS["nights"]):
        del texts["nights"]
    filled = {name: _filled(text, paths) for name, text in texts.items()}
    return {name: filled[name] for name in _sorted(filled)}


def literal(text: str) -> str:
    """A text as SQL spells it."""
    return "'" + text.replace("'", "''") + "'"


def pattern_of(folder: Path) -> str:
    """The pattern that a folder alone matches. Raises `InputError` where its name is no Unicode."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(folder)!r} cannot be written in SQL: its name is no UTF-8") from None
    return _SPECIAL.sub(r"[\g<0>]", str(folder))


def _text(name: str) -> str:
    if name not in _DAYS:
        return _file(name)
    days = _DAYS[name]
    nights = "newest night" if days == 1 else f"{days} days up to the newest night"
    return _file("gains").replace("{nights}", nights).replace("{reach}", str(days - 0.5))


@cache
def _file(name: str) -> str:
    return (files("crawler.views") / "sql" / f"{name}.sql").read_text()


def _filled(text: str, paths: Mapping[str, str]) -> str:
    for name, path in paths.items():
        text = text.replace(f"{{{name}}}", path)
    return text


def _without_comment(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("--"))


def _empty_changes() -> str:
    fields = [(field.name, _type_of(field.type)) for field in CHANGES_SCHEMA]
    columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in (*fields, ("crawl_date", "DATE")))
    return f"-- No changes are published.\nSELECT {columns} WHERE false\n"


def _type_of(kind: pa.DataType) -> str:
    return next(name for is_it, name in _TYPES if is_it(kind))


def _all_read(name: str, texts: Mapping[str, str]) -> Iterator[str]:
    """The views that a view reads, and those that they read, and itself: each after what it reads."""
    found = dict[str, None]()
    for other in _NAME_READ.findall(texts[name]):
        if other in texts:
            found |= dict.fromkeys(_all_read(other, texts))
    yield from found
    yield name


def _sorted(texts: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(each for name in texts for each in _all_read(name, texts)))
