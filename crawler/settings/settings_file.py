"""The settings file with every setting and its default, made from the table of options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import zip_longest
from textwrap import wrap

from crawler.options import OPTIONS, SECTIONS, Choice, Option

_HEAD = """\
# Every setting, with its default. A flag beats the environment, which beats this file.
# In the environment a setting is CRAWLER_<SECTION>_<NAME>, such as CRAWLER_JOURNAL_COMMIT_MS; where it has a
# flag, also the flag's name: CRAWLER_QPS for --qps. CRAWLER_CONFIG names another file than this one.
# A line that starts with "# name =" has no value by default: take the mark away to set one.
# The API key is never kept here: it comes from KEYAPI_API_KEY, or from the file that api.key_file names."""
_MAX_COMMENT = 77


def settings_file(values: Mapping[str, str] | None = None) -> str:
    """The whole file; `values` are set in the place of the defaults, by section.name, as TOML writes them."""
    given, lines = values or {}, [_HEAD]
    for section in SECTIONS:
        lines += ["", f"[{section}]"]
        of_section = (option for name, option in OPTIONS.items() if name.startswith(f"{section}."))
        lines += [_line(option, given.get(option.name)) for option in of_section]
    return "\n".join(lines) + "\n"


def _line(option: Option, given: str | None) -> str:
    default = option.default
    words = option.kind.allowed if isinstance(option.kind, Choice) else ""
    words = f"left out: {option.default_words or 'none'}" if default is None else words
    comment = _comment_lines("; ".join(filter(None, (option.sentence, words))))
    return "\n".join(
        f"{begin:<30} # {line}"
        for begin, line in zip_longest((_assignment(option, given),), comment, fillvalue="")
    )


def _assignment(option: Option, given: str | None) -> str:
    default = option.default
    if given is not None:
        return f"{option.key} = {given}"
    if default is None:
        return f"# {option.key} = {option.example}"
    is_bare = isinstance(default, bool | int | float | tuple)
    plain = list(default) if isinstance(default, tuple) else default
    return f"{option.key} = {str(plain).lower() if is_bare else json.dumps(str(default))}"


def _comment_lines(text: str) -> list[str]:
    """The text on lines that fit beside the settings, broken after a semicolon where there is one."""
    lines: list[str] = []
    for clause in re.split("(?<=;) ", text):
        if lines and len(f"{lines[-1]} {clause}") <= _MAX_COMMENT:
            lines[-1] += f" {clause}"
        else:
            lines += wrap(clause, _MAX_COMMENT)
    return lines
