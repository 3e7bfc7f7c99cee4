"""Write what is made from the program's tables: the reference pages of the docs, and the settings file.

`make tables` runs it; `tests/commands/test_tables.py` fails where a file is not as it would be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import click
from contract import contract

from crawler.cli import cli
from crawler.events import EVENTS, LogEvent
from crawler.exit_codes import EXIT_CODES
from crawler.metrics.table import METRICS, Metric
from crawler.models.dataset import DATASETS, Column, Dataset
from crawler.options import GROUPS, OPTIONS, Option, Switch
from crawler.report.moved_part import KINDS
from crawler.report.run_report import RunReport
from crawler.settings.settings_file import settings_file
from crawler.views.queries import VIEWS, summary

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HELP_WIDTH = 100
JSON_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null", Any: "any"}
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


def setting_rows() -> Iterable[tuple[object, ...]]:
    """What docs/options.md says of each setting without a flag."""
    for option in OPTIONS.values():
        if not option.group:
            _, meaning, default = option_row(option)
            yield f"`{option.name}`", meaning, default


def commands() -> str:
    """The help of each command, under a heading of its own, after a table of them all."""
    known = sorted(cli.commands.items())
    rows = ((f"[`crawler {name}`](#crawler-{name})", each.get_short_help_str(200)) for name, each in known)
    return table(("command", "does"), rows) + "".join(command_help(name, each) for name, each in known)


def command_help(name: str, command: click.Command) -> str:
    words = f"crawler {name}"
    above = click.Context(cli, info_name="crawler", **cli.context_settings)
    context = click.Context(command, above, name, terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH)
    return f"\n## {words}\n\n```text\n{command.get_help(context)}\n```\n"


def columns(dataset: Dataset) -> str:
    """The columns of a dataset, as the data dictionary has them."""
    return table(
        ("column", "type", "meaning", "null where", "source", "since"), map(column_row, dataset.columns)
    )


def column_row(column: Column) -> tuple[object, ...]:
    kind = f"{column.type} ({column.unit})" if column.unit else column.type
    unknown = f". Unknown: {column.unknown}" if column.unknown else ""
    return (f"`{column.name}`", kind, column.meaning + unknown, column.nulls, column.source, column.since)


def report_rows(kind: type, within: str = "") -> Iterable[tuple[object, ...]]:
    """The keys of a part of the report, each followed by those of what it holds."""
    for name, annotation in get_type_hints(kind).items():
        yield f"`{within}{name}`", json_type(annotation)
        for part in (annotation, *get_args(annotation)):
            if isinstance(part, type) and is_dataclass(part):
                mark = "[]" if get_origin(annotation) is list else ""
                yield from report_rows(part, f"{within}{name}{mark}.")


def json_type(annotation: Any) -> str:
    """A type in the words of JSON."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is UnionType:
        return " or ".join(map(json_type, parts))
    if origin in (list, dict):
        return f"{'array' if origin is list else 'object'} of {json_type(parts[-1])}"
    return JSON_WORDS.get(annotation, "object")


def event_row(event: LogEvent) -> tuple[object, ...]:
    fields = ", ".join(f"`{name}`" for name in event.typed)
    return f"`{event.name}`", event.level, in_docs(event.what), in_docs(event.does), fields


def in_docs(template: str) -> str:
    """A format string for people: what is only there in words becomes dots."""
    return re.sub(
        r"\{(\w+?)(_words)?(?::[^}]*)?\}", lambda found: "…" if found[2] else f"*{found[1]}*", template
    )


def made() -> dict[Path, str]:
    """Each file with a table of the program, as it must be."""
    codes = EXIT_CODES.values()
    all_codes = ((c.number, c.meaning, c.published, c.advice) for c in codes)
    options = table(("option", "meaning", "default"), (CONFIG_ROW, *option_rows()))
    said = ("event", "level", "what happened", "what the program does", "fields")
    events = table(said, map(event_row, EVENTS.values()))
    metrics = table(("metric", "type", "label", "changes", "meaning"), map(metric_row, METRICS))
    advice = table(("exit code", "what to do"), ((c.number, c.advice) for c in codes))
    marked = {
        ("commands", "commands"): commands(),
        ("columns", "report"): table(("key", "type"), report_rows(RunReport)),
        ("data", "kinds of changes"): table(("kind", "in a few words"), KINDS.items()),
        **{("data", f"{each.name}/"): columns(each) for each in DATASETS},
        ("events", "events"): events,
        ("exit-codes", "all exit codes"): table(("code", "meaning", "data", "what to do"), all_codes),
        ("monitoring", "metrics"): metrics,
        ("operations", "exit codes"): advice,
        ("options", "options"): options,
        ("options", "settings"): table(("setting", "meaning", "default"), setting_rows()),
        ("views", "views"): table(("view", "a row is"), ((f"`{name}`", summary(name)) for name in VIEWS)),
    }
    files = {ROOT / "config" / "crawler.toml": settings_file(), DOCS / "datacontract.yaml": contract()}
    for (page, name), content in marked.items():
        path = DOCS / f"{page}.md"
        files[path] = between(files.get(path) or path.read_text(), name, content)
    return files


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
