"""The options of the table as those of the command line: flags, completion, and help by group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from crawler.options import GROUPS, OPTIONS, PRINTED, WHERE, Choice, Kind, Number, Option, Switch, Text

Decorator = Callable[[Callable[..., int]], Callable[..., int]]

_GROUP_OF = {"--config": WHERE, "--online": PRINTED, "--help": PRINTED} | {
    option.flag: option.group for option in OPTIONS.values() if option.group
}


class GroupedCommand(click.Command):
    """A command whose help shows its options by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its own heading."""
        grouped: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                grouped[_GROUP_OF[parameter.opts[-1]]].append(record)
        for group, records in grouped.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)


def _completion(kind: Kind) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    words = kind.words if isinstance(kind, Choice) else (kind.word,) if isinstance(kind, Number) else ()
    return lambda _context, _parameter, begun: [word for word in words if word and word.startswith(begun)]


def option_of(option: Option) -> Decorator:
    """An option of the table for the command line; its value stays raw, the settings validate it."""
    kind, default = option.kind, option.shown_default
    words: dict[str, Any] = {}
    if isinstance(kind, Switch):
        words["is_flag"] = True
    elif isinstance(kind, Text) and kind.form == "folder":
        words |= {"metavar": kind.metavar, "type": click.Path()}
    else:
        words |= {"metavar": kind.metavar, "shell_complete": _completion(kind)}
    text = f"{option.sentence}." + (f"  [default: {default}]" if default else "")
    return click.option(option.flag, option.name.replace(".", "__"), default=None, help=text, **words)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The raw values of the options that were given, by section.name."""
    return {name.replace("__", ".", 1): value for name, value in options.items() if value is not None}


config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="Settings file.  [default: config/crawler.toml if it is there]",
)


def settings_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command every option of a run."""
    for option in reversed(OPTIONS.values()):
        if option.group:
            command = option_of(option)(command)
    return config_option(command)
