"""Write what is made from the program's tables: the exit codes in the docs. `make tables` runs it.

`tests/commands/test_tables.py` fails where a file is not as it would be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from crawler.exit_codes import EXIT_CODES

ROOT = Path(__file__).parent.parent


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = (head, ("---",) * len(head), *rows)
    return "".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def between(text: str, name: str, content: str) -> str:
    """The text with other content between the marks of that name."""
    marked = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->\n)", re.DOTALL)
    assert len(marked.findall(text)) == 1, f"no marks, or several, of {name}"
    return marked.sub(lambda found: found[1] + content + found[2], text)


def made() -> dict[Path, str]:
    """Each file with a table of the program, as it must be."""
    readme, operations = ROOT / "README.md", ROOT / "docs" / "operations.md"
    codes = EXIT_CODES.values()
    meanings = table(("code", "meaning", "data"), ((c.number, c.meaning, c.published) for c in codes))
    advice = table(("exit code", "what to do"), ((c.number, c.advice) for c in codes))
    return {
        readme: between(readme.read_text(), "exit codes", meanings),
        operations: between(operations.read_text(), "exit codes", advice),
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
