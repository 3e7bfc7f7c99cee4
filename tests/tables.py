"""Write what is made from the program's tables: options and exit codes in the docs, and the settings file.

`make tables` runs it; `tests/commands/test_tables.py` fails where a file is not as it would be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from crawler.exit_codes import EXIT_CODES
from crawler.metrics.table import METRICS, Metric
from crawler.options import GROUPS, OPTIONS, Option, Switch
from crawler.settings.settings_file import settings_file

ROOT = Path(__file__).parent.parent
CONFIG_ROW = ("`--config FILE`", "Settings file", "`config/crawler.toml` if it is there")


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


def option_rows() -> Iterable[tuple[object, ...]]:
    """What docs/options.md says of each option of `run`, by group."""
    for group in GROUPS:
        yield f"**{group}**", "", ""
        for option in OPTIONS.values():
            if option.group == group:
                yield option_row(option)


def option_row(option: Option) -> tuple[object, ...]:
    kind = option.kind
    meaning = f"{option.sentence}; {option.more}" if option.more else option.sentence
    default = option.default_words or ("off" if isinstance(kind, Switch) else option.shown_default or "none")
    is_value = not option.default_words and option.shown_default
    return (
        f"`{option.flag} {kind.metavar}`".replace(" `", "`"),
        meaning,
        f"`{default}`" if is_value else default,
    )


def metric_row(metric: Metric) -> tuple[object, ...]:
    changes = "while running" if metric.is_live else "at the end"
    return f"`{metric.name}`", metric.kind, metric.label, changes, metric.help


def made() -> dict[Path, str]:
    """Each file with a table of the program, as it must be."""
    readme = ROOT / "README.md"
    page, operations = ROOT / "docs" / "options.md", ROOT / "docs" / "operations.md"
    codes = EXIT_CODES.values()
    options = table(("option", "meaning", "default"), (CONFIG_ROW, *option_rows()))
    meanings = table(("code", "meaning", "data"), ((c.number, c.meaning, c.published) for c in codes))
    metrics = table(("metric", "type", "label", "changes", "meaning"), map(metric_row, METRICS))
    monitoring = ROOT / "docs" / "monitoring.md"
    advice = table(("exit code", "what to do"), ((c.number, c.advice) for c in codes))
    return {
        readme: between(readme.read_text(), "exit codes", meanings),
        page: between(page.read_text(), "options", options),
        ROOT / "config" / "crawler.toml": settings_file(),
        monitoring: between(monitoring.read_text(), "metrics", metrics),
        operations: between(operations.read_text(), "exit codes", advice),
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
