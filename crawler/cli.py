"""The front door: arguments in, exit codes out."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from crawler import __version__
from crawler.endings import broken_pipe_named, code_and_message, exit_code_of
from crawler.exit_codes import EXIT_CODES
from crawler.flags import Decorator, GroupedCommand, config_option, given, option_of, settings_options
from crawler.options import OPTIONS

if TYPE_CHECKING:
    from datetime import timedelta

    from crawler.settings.load import Loaded

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


class _FrontDoor(click.Group):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments; `--help` prints here."""
        with broken_pipe_named():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with broken_pipe_named():
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code


class _Folder(click.Path):
    """The path of a folder: a URL, which would become a folder of such a name, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See the class."""
        from crawler.settings.values import NO_URL, is_url  # noqa: PLC0415 - help stays light

        if is_url(str(value)):
            self.fail(f"{NO_URL}.", param, ctx)
        return super().convert(value, param, ctx)


_folder = _Folder(path_type=Path)


def _number(flag: str, kind: click.ParamType[Any], default: float, text: str) -> Decorator:
    return click.option(flag, metavar="N", type=kind, default=default, show_default=True, help=text)


def _duration(_context: click.Context, _option: click.Parameter, text: str | None) -> timedelta | None:
    if text is None:
        return None
    from crawler.models.duration import read_duration  # noqa: PLC0415 - only status needs it

    length = read_duration(text)
    if length is None:
        raise click.BadParameter(
            f"{text!r} is refused: a length of time such as 26h is wanted (ms, s, m, h, d)"
        )
    return length


_NO_SELLERS = click.UsageError(
    "Missing argument 'SELLERS': a CSV file of seller IDs, or - for standard input "
    "(only --resume goes without)."
)
_sellers_argument = click.argument("sellers", required=False, type=click.Path(allow_dash=True))


@click.group(cls=_FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crawler")
def cli() -> None:
    """Crawl TikTok Shop video analytics: seller list in, Parquet snapshot out, no credit paid twice."""


@cli.command(cls=GroupedCommand, epilog=_RUN_NOTES)
@_sellers_argument
@settings_options
def run(sellers: str | None, config: str | None, **options: Any) -> int:
    """Crawl every seller of a list, and publish the crawl date's snapshot.

    SELLERS is a CSV, a plain list or a Parquet file, or - for standard input. With --resume it may be
    left out: the list of the run that is gone on with is read again.
    """
    from crawler.commands.telling import notifying  # noqa: PLC0415 - help stays light
    from crawler.settings.load import SettingsError  # noqa: PLC0415 - heavy

    missing = sellers is None and not options["run__resume"]
    try:
        loaded = _load(config, options)
    except SettingsError as error:
        with notifying(error.usable.settings, code_and_message):
            raise (_NO_SELLERS if missing else error) from None
    with notifying(loaded.settings, code_and_message) as telling:
        if missing:
            raise _NO_SELLERS
        from crawler.commands.run import run_command  # noqa: PLC0415 - faulty settings stay light

        return run_command(loaded, sellers, telling)


@cli.command(cls=GroupedCommand)
@_sellers_argument
@settings_options
def plan(sellers: str | None, config: str | None, **options: Any) -> int:
    """Say what tonight would cost, and what a budget would buy; nothing is sent.

    Takes the options of `crawler run`, and needs no key. Expected credits, with a low and a high end,
    come from the last snapshots; where nothing is known the plan says so. With --json all of it is for
    programs, null for what is not known.
    """
    loaded = _load(config, options)
    from crawler.commands.plan import plan_command  # noqa: PLC0415 - heavy

    return plan_command(loaded, sellers)


@cli.command(cls=GroupedCommand)
@_sellers_argument
@click.option("--online", is_flag=True, help="Send one request to the API; it costs one credit.")
@settings_options
def check(sellers: str | None, config: str | None, *, online: bool, **options: Any) -> int:
    """Check whether this machine is ready for tonight.

    Prints every setting, its value and where it came from; then looks at the key, the data folder, the
    disk, the lock and, where one is named, the list SELLERS. Sends nothing unless --online; that credit
    counts for the crawl date and the month. Exits with 0 if all is ready, 2 otherwise, or as a run would
    where only the request of --online failed; --json prints the same for programs.
    """
    from crawler.commands.check import check_command  # noqa: PLC0415 - heavy
    from crawler.settings.load import SettingsError  # noqa: PLC0415 - heavy

    as_json = bool(options.pop("run__json"))
    faults: tuple[str, ...] = ()
    try:
        loaded = _load(config, options)
    except SettingsError as error:
        loaded, faults = error.usable, error.faults
    return check_command(loaded, sellers, online=online, as_json=as_json, faults=faults)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_number("--limit", click.IntRange(1), 20, "How many nights to list, the latest first.")
@click.option(
    "--watch",
    is_flag=True,
    help="Follow the run under way until it ends, then say how; --json: a line a look.",
)
@click.option(
    "--max-age",
    metavar="26h",
    callback=_duration,
    help="Only say whether the newest published snapshot is that old at most (ms, s, m, h, d): exit code 0, "
    "or 1 where it is older or there is none.",
)
def status(
    config: str | None, limit: int, max_age: timedelta | None, *, as_json: bool, watch: bool, **options: Any
) -> int:
    """List past nights and the dates that were missed, credits spent, and what is unfinished.

    For what is unfinished the commands are printed that go on with it.
    """
    if watch and max_age is not None:
        raise click.UsageError("--watch and --max-age do not go together.")
    loaded = _load(config, options)
    if watch:
        from crawler.commands.watching import watch_command  # noqa: PLC0415 - heavy

        return watch_command(loaded.settings.run.data, as_json=as_json)
    if max_age is not None:
        from crawler.commands.freshness import freshness_command  # noqa: PLC0415 - heavy

        return freshness_command(loaded.settings.run.data, max_age, as_json=as_json)
    from crawler.commands.status import status_command  # noqa: PLC0415 - heavy

    return status_command(loaded, as_json=as_json, limit=limit)


@cli.command()
@click.argument("crawl_date", metavar="DATE")
@option_of(OPTIONS["run.data"])
@config_option
def close(crawl_date: str, config: str | None, **options: Any) -> int:
    """End a crawl date as it is: DATE is one that a run was begun for, such as 2026-11-23.

    What was paid for is published, if it is not yet. No later run mentions the date, and none goes on
    with it but by --late. Nothing is sent, and no key is needed. Closing it again changes nothing.
    """
    loaded = _load(config, options)
    from crawler.commands.by_hand import close_command  # noqa: PLC0415 - heavy

    return close_command(loaded.settings, crawl_date)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option("--crawl-date", metavar="YYYY-MM-DD", required=True, help="Which night.")
@click.option("--accept", is_flag=True, help="Publish it although it is implausible.")
def publish(config: str | None, crawl_date: str, *, accept: bool, **options: Any) -> int:
    """Publish a night that was held back as implausible, after a person has looked at it.

    The reasons are in its report. Nothing is sent, and no key is needed.
    """
    loaded = _load(config, options)
    from crawler.commands.by_hand import publish_command  # noqa: PLC0415 - heavy

    return publish_command(loaded.settings, crawl_date, accept=accept)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option("--crawl-date", metavar="YYYY-MM-DD", required=True, help="Which date.")
def rebuild(config: str | None, crawl_date: str, **options: Any) -> int:
    """Make the files of a published date anew from its answers, which output.keep_raw has kept.

    For when a newer version reads them better, or has more columns, or files were damaged. Sellers whose
    answers are not kept stay as they are. Nothing is sent, and no key is needed.
    """
    loaded = _load(config, options)
    from crawler.commands.rebuild import rebuild_command  # noqa: PLC0415 - heavy

    return rebuild_command(loaded.settings, crawl_date)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option("--crawl-date", metavar="YYYY-MM-DD", help="Which night.  [default: the newest with changes]")
@click.option(
    "--by",
    type=click.Choice(["views", "sales", "gmv"]),
    default="views",
    show_default=True,
    help="What movers and newcomers are ordered by.",
)
@_number("--top", click.IntRange(1, 100_000), 10, "How many videos of each list to print.")
@click.option(
    "--top-movers",
    metavar="K",
    type=click.IntRange(1, 100_000),
    help="Also the K videos that gained most, each proved or likely to be among them.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="The rows of the lists as CSV.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Make changes anew where they are missing, damaged or out of date, or for one date; sends nothing.",
)
def changes(
    config: str | None,
    crawl_date: str | None,
    by: str,
    top: int,
    top_movers: int | None,
    *,
    as_json: bool,
    as_csv: bool,
    rebuild: bool,
    **options: Any,
) -> int:
    """Show what moved in a night: totals by kind, movers, newcomers and losses.

    Movers gained most since they were last observed; newcomers were published or discovered; losses are
    gone. What each kind means is in docs/data.md.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of the same: give one of them.")
    loaded = _load(config, options)
    if rebuild:
        if as_csv:
            raise click.UsageError("--rebuild prints text or --json, no --csv.")
        from crawler.commands.changes_anew import rebuild_changes_command  # noqa: PLC0415 - heavy

        return rebuild_changes_command(loaded, crawl_date, as_json=as_json)
    from crawler.commands.changes import changes_command  # noqa: PLC0415 - heavy

    form = "json" if as_json else "csv" if as_csv else None
    return changes_command(loaded, crawl_date, by, top, top_movers, form)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option("--dry-run", "is_dry", is_flag=True, help="Only list what would go.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def gc(config: str | None, *, is_dry: bool, as_json: bool, **options: Any) -> int:
    """Remove what is of no more use, and say what and how large it was.

    Run folders and journals of finished dates older than run.keep_days, and what killed runs left behind.
    Never the ledger, a snapshot, or what an unfinished or held night needs.
    """
    loaded = _load(config, options)
    from crawler.commands.gc import gc_command  # noqa: PLC0415 - heavy

    return gc_command(loaded.settings, is_dry=is_dry, as_json=as_json)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option(
    "--older-than",
    type=click.IntRange(1),
    metavar="DAYS",
    help="Compact months all of whose days and readings are older. [default: history.window, which is 90]",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="DAYS",
    help="Thin as well: keep each night for DAYS days, and then one a week. What goes is gone.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only list what would be done.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compact(
    config: str | None,
    older_than: int | None,
    keep: int | None,
    *,
    is_dry: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Make months in archive/ of old nights, by seller and video, and take these nights out of videos/.

    Each month is compared row by row with the nights that it is made of. Readers, runs and backups may go on.
    Nothing is sent, and no key is needed.
    """
    loaded = _load(config, options)
    from crawler.commands.compact import compact_command  # noqa: PLC0415 - heavy

    return compact_command(loaded.settings, older_than, keep, is_dry=is_dry, as_json=as_json)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify(config: str | None, *, as_json: bool, **options: Any) -> int:
    """Read all that is in the data folder, and tell what is damaged, missing or foreign.

    Every published file is read to its end and compared with its digest, every journal and the ledger with
    their checksums. Nothing is changed or sent; a run may go on meanwhile. Exit code 8: something is wrong.
    """
    loaded = _load(config, options)
    from crawler.commands.verify import verify_command  # noqa: PLC0415 - heavy

    return verify_command(loaded.settings, as_json=as_json)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
def upgrade(config: str | None, **options: Any) -> int:
    """Give each night of videos/ one file, with the region as a column, in the place of region folders.

    Each new file is compared row by row with those that it replaces; all are put in place together, or
    none. Nothing is sent, and no key is needed.
    """
    loaded = _load(config, options)
    from crawler.commands.upgrade import upgrade_command  # noqa: PLC0415 - heavy

    return upgrade_command(loaded.settings)


@cli.command()
@click.argument("target", metavar="DIR", type=_folder)
@option_of(OPTIONS["run.data"])
@config_option
def backup(target: Path, config: str | None, **options: Any) -> int:
    """Copy the data folder to DIR, which is not there yet; also while a run is on.

    A run that crawls copies its own databases for it and goes on; one that does anything else is waited for.
    The copy has its name once it is whole. To restore it, copy it back: what it has is not paid for again.
    """
    loaded = _load(config, options)
    from crawler.commands.backup import backup_command  # noqa: PLC0415 - heavy

    return backup_command(loaded.settings, target)


@cli.command()
@option_of(OPTIONS["run.data"])
@config_option
def upload(config: str | None, **options: Any) -> int:
    """Copy what is published to where output.url leads, as far as it is not there yet.

    A run does so by itself; this is for when its copy failed, and for what was published without a run.
    Removes objects there that were replaced long enough ago. Sends the API nothing, and needs no key.
    """
    loaded = _load(config, options)
    from crawler.commands.upload import upload_command  # noqa: PLC0415 - heavy

    return upload_command(loaded.settings)


@cli.command()
@click.argument("name", required=False)
@option_of(OPTIONS["run.data"])
@config_option
def sql(name: str | None, config: str | None, **options: Any) -> int:
    """Print the SQL of a view over the published files, for DuckDB; without NAME, list all views.

    The statement stands by itself, as in: duckdb -c "$(crawler sql latest)". Nothing is sent, and no key is
    needed.
    """
    loaded = _load(config, options)
    from crawler.commands.views import sql_command  # noqa: PLC0415 - heavy

    return sql_command(loaded.settings, name)


@cli.command()
@click.argument("file", metavar="FILE.duckdb", type=click.Path(path_type=Path, dir_okay=False))
@option_of(OPTIONS["run.data"])
@config_option
def views(file: Path, config: str | None, **options: Any) -> int:
    """Write the views into a DuckDB file: they read the published files where these are.

    The file finds the data folder from where it lies itself, so both can be moved together. Views of these
    names are replaced; whatever else is in the file stays. Needs the extra `duckdb`.
    """
    loaded = _load(config, options)
    from crawler.commands.views import views_command  # noqa: PLC0415 - heavy

    return views_command(loaded.settings, file)


@cli.command()
@click.argument("folder", metavar="[DIR]", default=".", type=_folder)
@click.option("--systemd", is_flag=True, help="Also a service and a timer of systemd, in DIR/systemd.")
@click.option("--cron", is_flag=True, help="Also a crontab, in DIR/crontab.")
def init(folder: Path, *, systemd: bool, cron: bool) -> int:
    """Begin in a folder: settings, a sample list, a .gitignore for data and key, and the next commands.

    DIR is the current folder unless named; it is made where it is not there. What is there is kept as it is.
    """
    from crawler.commands.init import init_command  # noqa: PLC0415 - heavy

    return init_command(folder, systemd=systemd, cron=cron)


@cli.command()
@click.option(
    "--data",
    metavar="DIR",
    type=_folder,
    default=Path("data/demo"),
    show_default=True,
    help="Where the demo's list and dataset go.",
)
@_number("--sellers", click.IntRange(1, 100_000), 60, "How many sellers to crawl.")
@_number("--qps", click.FloatRange(0.1, 10_000), 200.0, "Requests a second.")
@_number("--nights", click.IntRange(1, 366), 2, "How many nights to crawl: the last one is today's.")
def demo(data: Path, sellers: int, qps: float, nights: int) -> int:
    """Run the main job for two nights on the embedded stand-in of the API: no key, no network.

    Shows tables of the last night, and what moved in it.
    """
    from crawler.commands.demo import demo_command  # noqa: PLC0415 - heavy

    return demo_command(data, sellers, qps, nights)


class _SimulateCommand(click.Command):
    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the outages."""
        from crawler.simulator.outages import OUTAGES  # noqa: PLC0415 - only help needs it

        with formatter.section("Outages"):
            formatter.write_dl([(name, outage.doc) for name, outage in OUTAGES.items()])


@cli.command(cls=_SimulateCommand, context_settings={"show_default": True})
@click.option("--port", type=click.IntRange(0, 65535), default=8800, help="0: a free one.")
@click.option("--seed", type=int, default=1, help="Which catalogue.")
@click.option(
    "--day",
    metavar="YYYY-MM-DD|N",
    help="The catalogue's date; or the number of days for which its sellers and videos have only grown.  "
    "[default: today in UTC, as it moves on]",
)
@click.option("--outage", metavar="NAME", help="Serve a night that is wrong; the names are below.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, help="Seconds before each answer.")
@click.option("--jitter", type=click.FloatRange(0), default=0.0, help="Seconds more, at random.")
@click.option("--qps", type=click.FloatRange(0.1), help="429 above this rate; none: never.")
@click.option("--quota", type=click.IntRange(0), help="402 after so many credits; none: never.")
@click.option(
    "--drift",
    type=click.IntRange(0),
    default=0,
    show_default=False,
    help="A new video every so many requests.",
)
@click.option(
    "--faults",
    default="",
    show_default=False,
    help="Shares, as status=500:0.01,reset:0.005; or the N-th request, as cut@3.",
)
@click.option("--list-faults", is_flag=True, help="Print every kind of fault, and exit.")
@click.option("--retry-after", help="What Retry-After says with each 429.")
@click.option("--gzip", is_flag=True, help="Answer in gzip where the client takes it.")
@click.option("--key", default="sk_live_simulator", help="The stand-in's own key.")
@click.option(
    "--keys",
    help="Several in its place, as KEY:QPS:QUOTA,KEY,...; --qps and --quota are over all.",
)
def simulate(
    port: int,
    seed: int,
    faults: str,
    day: str | None,
    outage: str | None,
    keys: str | None,
    *,
    list_faults: bool,
    **options: Any,
) -> int:
    """Serve the embedded stand-in of the API on loopback, until stopped.

    Its counts are a function of seed and day: from day to day videos gain views and sales or have stopped, a
    few are new, a few are gone, and the counts of a few are corrected.
    """
    from crawler.commands.simulate import simulate_command  # noqa: PLC0415 - heavy
    from crawler.simulator.catalogue import CatalogueOptions  # noqa: PLC0415
    from crawler.simulator.faults import kinds_help, parse_faults  # noqa: PLC0415
    from crawler.simulator.outages import read_outage  # noqa: PLC0415
    from crawler.simulator.server import SimulatorOptions, read_day, read_keys  # noqa: PLC0415

    if list_faults:
        click.echo(kinds_help())
        return 0
    options["day"] = None if day is None else read_day(day)
    options["outage"] = None if outage is None else read_outage(outage)
    options["keys"] = () if keys is None else read_keys(keys)
    simulated = SimulatorOptions(CatalogueOptions(seed), faults=parse_faults(faults), **options)
    return simulate_command(simulated, port)


@cli.command()
@click.argument("run", required=False)
@option_of(OPTIONS["run.data"])
@config_option
def report(run: str | None, config: str | None, **options: Any) -> int:
    """Make the page of a run again, of the latest one by default, and the index of all nights.

    RUN is a run's ID, such as `crawler status` lists. Prints the paths of runs/RUN/report.html and
    runs/index.html. Nothing is sent, and no key is needed.
    """
    loaded = _load(config, options)
    from crawler.commands.report import report_command  # noqa: PLC0415 - heavy

    return report_command(loaded.settings, run)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash: eval "$(crawler completion bash)" in ~/.bashrc
    zsh:  eval "$(crawler completion zsh)" in ~/.zshrc
    fish: crawler completion fish > ~/.config/fish/completions/crawler.fish
    """  # noqa: D301 - click's own mark for lines that stay as they are
    kind = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    click.echo(kind(cli, {}, "crawler", "_CRAWLER_COMPLETE").source())
    return 0


def main() -> None:
    """Run the command line and leave with its exit code."""
    _open_standard_streams()
    sys.meta_path.insert(0, _LeftOut())
    # Arrow's other pools keep what they were given: 80 MiB more at the peak of publishing.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    sys.exit(exit_code_of(lambda: cli.main(prog_name="crawler", standalone_mode=False)))


class _LeftOut:
    """Lets imports of what nobody here needs fail as if it were not installed.

    (With `None` in `sys.modules` pyarrow's own try would take that for the module.)
    """

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in _UNNEEDED:
            raise ModuleNotFoundError(name=fullname)


def _open_standard_streams() -> None:
    """Give closed streams the null device, or the next file opened would take their place.

    The others escape what they cannot print, such as a file's name that is no text.
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


def _load(config: str | None, options: dict[str, Any]) -> Loaded:
    from crawler.settings.load import load  # noqa: PLC0415 - heavy

    return load(given(options), None if config is None else Path(config), os.environ)
