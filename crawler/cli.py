"""The front door: arguments in, exit codes out."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from crawler import __version__
from crawler.exit_codes import EXIT_CODES, INTERRUPTED, READER_LEFT
from crawler.models.errors import CrawlerError, InputError, OutputError
from crawler.options import GROUPS, OPTIONS, PRINTED, WHERE, Choice, Kind, Number, Option, Switch, Text

if TYPE_CHECKING:
    from crawler.settings.load import Loaded, SettingsError

_GROUP_OF = {option.flag: option.group for option in OPTIONS.values() if option.group} | {
    "--config": WHERE,
    "--online": PRINTED,
    "--help": PRINTED,
}

_CODES = ", ".join(f"{code.number} {code.verdict}" for code in EXIT_CODES.values())
_RUN_NOTES = f"""\b
Each option is also a setting of the TOML file and an environment variable
(--max-pages: run.max_pages, CRAWLER_MAX_PAGES or CRAWLER_RUN_MAX_PAGES).
A flag beats the environment, which beats the file, which beats the default.
The API key comes from KEYAPI_API_KEY, or from the file that the setting
api.key_file names; never from a flag.

Exit codes: {_CODES}."""

# pyarrow imports both wherever they happen to be installed: most of a start's time, and 40 MiB.
_UNNEEDED = ("numpy", "pandas")
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


class _ReaderLeftError(Exception):
    """Standard output's reader has gone; click itself would make an exit code 1 of it, which means a bug."""


@contextmanager
def _broken_pipe_told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _ReaderLeftError from None


class _FrontDoor(click.Group):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse; `--help` prints here."""
        with _broken_pipe_told():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _broken_pipe_told():
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code


class _GroupedCommand(click.Command):
    """A command whose help shows its options by what they are about."""

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


def _click_option(option: Option) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """An option of the table for the command line; its value stays raw, the settings validate it."""
    kind, default = option.kind, option.shown_default
    text = f"{option.sentence}." + (f"  [default: {default}]" if default else "")
    key = option.name.replace(".", "__")
    words: dict[str, Any] = {"help": text, "default": None}
    if isinstance(kind, Switch):
        return click.option(option.flag, key, is_flag=True, **words)
    if isinstance(kind, Text) and kind.form == "folder":
        return click.option(option.flag, key, metavar=option.metavar, type=click.Path(), **words)
    metavar = "|".join(kind.words) if isinstance(kind, Choice) else option.metavar
    return click.option(option.flag, key, metavar=metavar, shell_complete=_completion(kind), **words)


def settings_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command every option of a run."""
    for option in reversed(OPTIONS.values()):
        if option.group:
            command = _click_option(option)(command)
    return _config_option(command)


_config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    default=None,
    help="Settings file.  [default: config/crawler.toml if it is there]",
)
_sellers_argument = click.argument("sellers", required=False, type=click.Path(allow_dash=True))


@click.group(cls=_FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crawler")
def cli() -> None:
    """Crawl TikTok Shop video analytics: seller list in, Parquet snapshot out, no credit paid twice."""


@cli.command(cls=_GroupedCommand, epilog=_RUN_NOTES)
@_sellers_argument
@settings_options
def run(sellers: str | None, config: str | None, **options: Any) -> int:
    """Crawl every seller of a list, and publish the crawl date's snapshot.

    SELLERS is a CSV, a plain list or a Parquet file, or - for standard input. With --resume it may be
    left out: the list of the run that is gone on with is read again.
    """
    if sellers is None and not options["run__resume"]:
        raise click.UsageError(
            "Missing argument 'SELLERS': a CSV file of seller IDs, or - for standard input "
            "(only --resume goes without)."
        )
    loaded = _load(config, options)
    from crawler.commands.run import run_command  # noqa: PLC0415 - help and faulty settings stay light

    return run_command(loaded, sellers)


@cli.command(cls=_GroupedCommand)
@_sellers_argument
@settings_options
def plan(sellers: str | None, config: str | None, **options: Any) -> int:
    """Tell what tonight would cost, and what a budget would buy; nothing is sent.

    Takes the options of `crawler run`, and needs no key. Expected credits, with a low and a high end,
    come from the last snapshots; where nothing is known the plan says so. With --json all of it is for
    programs, null for what is not known.
    """
    loaded = _load(config, options)
    from crawler.commands.plan import plan_command  # noqa: PLC0415 - heavy

    return plan_command(loaded, sellers)


@cli.command(cls=_GroupedCommand)
@_sellers_argument
@click.option("--online", is_flag=True, help="Send one request to the API; it costs one credit.")
@settings_options
def check(sellers: str | None, config: str | None, *, online: bool, **options: Any) -> int:
    """Tell whether this machine is ready for tonight.

    Prints every setting, its value and where it came from; then looks at the key, the data folder, the
    disk, the lock and, where one is named, the list SELLERS. Sends nothing unless --online; that credit
    counts for the crawl date and the month. Exits with 0 if all is ready, 2 otherwise, or as a run would
    where only the request of --online failed; --json prints the same for programs.
    """
    from crawler.commands.check import check_command  # noqa: PLC0415 - heavy
    from crawler.settings.load import SettingsError  # noqa: PLC0415 - heavy

    as_json = bool(options.pop("run__json"))
    faulty: SettingsError | None = None
    try:
        loaded = _load(config, options)
    except SettingsError as error:
        faulty, loaded = error, error.usable
    faults = () if faulty is None else faulty.faults
    return check_command(loaded, sellers, online=online, as_json=as_json, faults=faults)


@cli.command()
@click.option(
    "--data", metavar="DIR", type=click.Path(), default=None, help="The data folder.  [default: data]"
)
@_config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many runs to list, the latest first.",
)
def status(data: str | None, config: str | None, limit: int, *, as_json: bool) -> int:
    """List past runs, credits spent, and what is unfinished, with the commands that go on."""
    from crawler.commands.status import status_command  # noqa: PLC0415 - heavy
    from crawler.settings.resume import flags_of  # noqa: PLC0415 - heavy

    loaded = _load(config, {"run__data": data})
    return status_command(
        loaded.settings.run.data,
        as_json=as_json,
        limits=loaded.settings.credits,
        late_after=loaded.settings.run.late_after,
        limit=limit,
        place=flags_of(loaded, ["run.data"]),
    )


@cli.command()
@click.argument("crawl_date", metavar="DATE")
@click.option(
    "--data", metavar="DIR", type=click.Path(), default=None, help="The data folder.  [default: data]"
)
@_config_option
def close(crawl_date: str, data: str | None, config: str | None) -> int:
    """End a crawl date as it is: DATE is one that a run was begun for, such as 2026-11-23.

    What was paid for is published, if it is not yet. No later run mentions the date, and none goes on
    with it but by --late. Nothing is sent, and no key is needed. Closing it again changes nothing.
    """
    loaded = _load(config, {"run__data": data})
    from crawler.commands.close import close_command  # noqa: PLC0415 - heavy

    return close_command(loaded.settings.run.data, crawl_date)


@cli.command()
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("data/demo"),
    show_default=True,
    help="Where the demo's list and dataset go.",
)
@click.option(
    "--sellers",
    metavar="N",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    help="How many sellers to crawl.",
)
@click.option(
    "--qps",
    metavar="N",
    type=click.FloatRange(0.1, 10_000),
    default=200.0,
    show_default=True,
    help="Requests a second.",
)
def demo(data: Path, sellers: int, qps: float) -> int:
    """Run the main job on the embedded stand-in of the API: no key, no network, a table to look at."""
    from crawler.commands.demo import demo_command  # noqa: PLC0415 - heavy

    return demo_command(data, sellers, qps)


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8800, show_default=True, help="0: a free one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which catalogue.")
@click.option("--day", type=click.IntRange(0), default=0, show_default=True, help="The catalogue's day.")
@click.option(
    "--latency", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds before each answer."
)
@click.option(
    "--jitter", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds more, at random."
)
@click.option("--qps", type=click.FloatRange(0.1), default=None, help="429 above this rate; none: never.")
@click.option("--quota", type=click.IntRange(0), default=None, help="402 after so many credits; none: never.")
@click.option("--drift", type=click.IntRange(0), default=0, help="A new video every so many requests.")
@click.option(
    "--faults", default="", help="Shares, as status=500:0.01,reset:0.005; or the N-th request, as cut@3."
)
@click.option("--list-faults", is_flag=True, help="Print every kind of fault, and exit.")
@click.option("--retry-after", default=None, help="What Retry-After says with each 429.")
@click.option("--gzip", is_flag=True, help="Answer in gzip where the client takes it.")
@click.option("--key", default="sk_live_simulator", show_default=True, help="The stand-in's own key.")
def simulate(
    port: int,
    seed: int,
    day: int,
    latency: float,
    jitter: float,
    qps: float | None,
    quota: int | None,
    drift: int,
    faults: str,
    retry_after: str | None,
    key: str,
    *,
    gzip: bool,
    list_faults: bool,
) -> int:
    """Serve the embedded stand-in of the API on loopback, until stopped."""
    from crawler.commands.simulate import simulate_command  # noqa: PLC0415 - heavy
    from crawler.simulator.catalogue import CatalogueOptions  # noqa: PLC0415
    from crawler.simulator.faults import kinds_help, parse_faults  # noqa: PLC0415
    from crawler.simulator.server import SimulatorOptions  # noqa: PLC0415

    if list_faults:
        click.echo(kinds_help())
        return 0
    options = SimulatorOptions(
        CatalogueOptions(seed),
        day,
        latency,
        jitter,
        qps,
        quota,
        parse_faults(faults),
        drift,
        key,
        retry_after,
        gzip=gzip,
    )
    return simulate_command(options, port)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash: eval "$(crawler completion bash)" in ~/.bashrc
    zsh:  eval "$(crawler completion zsh)" in ~/.zshrc
    fish: crawler completion fish > ~/.config/fish/completions/crawler.fish
    """  # noqa: D301 - click's own mark for lines that stay as they are
    kind = get_completion_class(shell)
    if kind is None:
        raise InputError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "crawler", "_CRAWLER_COMPLETE").source())
    return 0


def main() -> None:
    """Run the command line and leave with its exit code."""
    _open_standard_streams()
    sys.meta_path.insert(0, _LeftOut())
    # Arrow's other pools keep what they were given: 80 MiB more at the peak of publishing.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    sys.exit(_run())


class _LeftOut(MetaPathFinder):
    """Lets imports of what nobody here needs fail as if it were not installed.

    (With `None` in `sys.modules` pyarrow's own try would take that for the module.)
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002 - same
    ) -> None:
        if fullname in _UNNEEDED:
            raise ModuleNotFoundError(name=fullname)


def _open_standard_streams() -> None:
    """Where a stream was closed, give it the null device: the next file opened would take its place.

    What the others cannot print, as a file's name that is no text, they escape.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run() -> int:
    try:
        code: int | None = cli.main(prog_name="crawler", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.stderr.write("crawler: interrupted; run the same command again\n")
        return INTERRUPTED.number
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug becomes an exit code
        return _told(error)
    return code or 0


def _told(error: Exception) -> int:
    """Say what ended the command; returns its exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return InputError.exit_code
    if isinstance(error, CrawlerError):
        sys.stderr.write(f"crawler: {error}\n")
        return error.exit_code
    if isinstance(error, _ReaderLeftError):
        return _leave_quietly()
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return _tell_disk(error)
    short = _shortage(error)
    if short is not None:
        sys.stderr.write(f"crawler: {short}, then run the same command again; the journal is kept\n")
        return OutputError.exit_code
    return _tell_bug(error)


def _shortage(error: BaseException) -> str | None:
    """What the system is short of, or which file it cannot read, where that ended the command."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_shortage, error.exceptions)), None)
    if type(error).__module__ == "sqlite3":
        return f"a database below state/ cannot be read ({error}): restore it from a copy"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "there is not enough memory (ulimit -v, or the container's limit): give it more"
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return "too many files are open (ulimit -n): raise the limit"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no further thread may be started (ulimit -u, or the container's limit): raise the limit"
    return None


def _leave_quietly() -> int:
    # what is still buffered would fail again at exit, with a complaint
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_LEFT.number


def _tell_disk(error: OSError) -> int:
    where = error.filename or "standard output"
    sys.stderr.write(f"crawler: cannot write {where}: {error.strerror}; make room, then run it again\n")
    if error.filename is None:
        _leave_quietly()
    return OutputError.exit_code


def _load(config: str | None, options: dict[str, Any]) -> Loaded:
    from crawler.settings.load import load  # noqa: PLC0415 - heavy

    flags = {name.replace("__", ".", 1): value for name, value in options.items() if value is not None}
    return load(flags, None if config is None else Path(config), os.environ)


def _tell_bug(error: Exception) -> int:
    told = _without_key("".join(traceback.format_exception(error)))
    whole = f"crawler {__version__}, Python {sys.version}\n{told}".encode(errors="backslashreplace")
    where = "the lines above"
    try:
        with tempfile.NamedTemporaryFile(prefix="crawler-bug-", suffix=".txt", delete=False) as file:
            file.write(whole)
            where = file.name
    except OSError:
        sys.stderr.write(told)
    what = _without_key(" ".join(str(error).split()))[:200]
    sys.stderr.write(
        f"crawler: a fault of the program: {type(error).__name__}{f': {what}' if what else ''}; what was "
        f"paid for is in the journal. Please report it with {where} (crawler {__version__}, "
        f"Python {sys.version.split()[0]})\n"
    )
    return CrawlerError.exit_code


def _without_key(text: str) -> str:
    key = os.environ.get("KEYAPI_API_KEY", "").strip("\ufeff\"' \t\r\n")
    bare = text.replace(key, "***") if len(key) >= 8 else text
    return re.sub(r"(?i)(bearer\s+)[^\s'\"]+", r"\1***", bare)
