"""The fenced blocks of a Markdown page, and the shell script that runs them in their order.

Open it to see what becomes of an example in README or docs; `tests/docs/test_examples.py` runs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from markdown_it import MarkdownIt
from markdown_it.token import Token

NOT_RUN = re.compile(r"<!-- not run: .+ -->")
"""Before a block: a shell only reads it. The words say why, such as what it would need."""
_HEREDOCS = {
    "python": "python -W error -",
    "sql": "python -c 'import duckdb as d, sys; print(d.sql(sys.stdin.read()))'",
}
RUN = ("sh", "console", *_HEREDOCS)
CHECKED = ("toml", "json")
SHOWN = ("text", "cron", "mermaid")
"""Languages of blocks that are no examples: pictures, and what something prints."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is where it begins, from 1."""

    line: int
    language: str
    text: str
    is_run: bool

    @property
    def script(self) -> str:
        """The block as lines of a shell script; a console's are those behind its prompt."""
        if self.language == "console":
            return "".join(f"{line[2:]}\n" for line in self.text.splitlines() if line.startswith("$ "))
        return self.text

    @property
    def printed(self) -> list[str]:
        """The lines that a console shows as printed."""
        lines = self.text.splitlines() if self.language == "console" else []
        return [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]


def tokens_of(page: str) -> list[Token]:
    """The page's tokens, those within lines too."""
    found: list[Token] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        found += [token, *(token.children or ())]
    return found


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks, in their order."""
    before = ""
    for token in tokens_of(page):
        if token.type == "fence" and token.map and not token.info.startswith("{"):
            is_run = token.info in RUN and not NOT_RUN.fullmatch(before)
            yield Block(token.map[0] + 1, token.info, token.content, is_run)
        before = token.content.strip() if token.type == "html_block" else ""


def script_of(blocks: list[Block]) -> str:
    """A script that runs the blocks, neighbours of one language together, up to the first that fails."""
    script = "set -euo pipefail\n"
    for language, following in groupby(
        (block for block in blocks if block.is_run), lambda block: block.language
    ):
        steps = list(following)
        script += f": examples from line {steps[0].line} on\n"
        text = "".join(step.script for step in steps)
        start = _HEREDOCS.get(language)
        script += f"{start} <<'END_OF_EXAMPLES'\n{text}END_OF_EXAMPLES\n" if start else text
    return script


def as_pattern(line: str) -> re.Pattern[str]:
    """What a printed line is to look like: … stands for any text."""
    return re.compile(".*".join(map(re.escape, line.split("…"))))
