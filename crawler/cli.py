"""The front door: arguments in, exit codes out."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler import __version__
from crawler.errors import CrawlerError

if TYPE_CHECKING:
    from crawler.settings import Loaded

_OPTIONS: tuple[tuple[str, str, str | None, str], ...] = (
    ("api.url", "--api-url", "URL", "The API's base address.  [default: https://api.keyapi.ai]"),
    ("run.data", "--data", "DIR", "Root of all that is written.  [default: data]"),
    ("run.qps", "--qps", "N", "Requests a second, a ceiling in every sliding second.  [default: 5]"),
    ("run.workers", "--workers", "N|auto", "Requests in flight at most.  [default: auto]"),
    ("api.timeout", "--timeout", "S", "Whole time that one request may take, in seconds.  [default: 30]"),
    ("run.patience", "--patience", "S", "How long an API that is down is waited for.  [default: 900]"),
    ("credits.budget", "--budget", "N", "Credits this crawl date may cost, resumed runs included."),
    ("run.stop", "--stop", "short|empty", "Which page ends a seller.  [default: short]"),
    ("run.max_pages", "--max-pages", "N", "Pages a seller at most.  [default: 100000]"),
    ("run.lookahead", "--lookahead", "off", "Ask for a deep seller's pages concurrently; not built yet."),
    ("run.sort", "--sort", "views|sales|gmv", "What the API sorts by.  [default: views]"),
    ("run.order", "--order", "desc|asc", "Which way it sorts.  [default: desc]"),
    ("run.strategy", "--strategy", "depth-first|breadth-first", "Which page next.  [default: depth-first]"),
    ("run.crawl_date", "--crawl-date", "YYYY-MM-DD", "The snapshot to write.  [default: today]"),
    ("run.column", "--column", "NAME", "The seller list's column.  [default: seller_id, or the only one]"),
    ("run.skip_bad_ids", "--skip-bad-ids", None, "Go on without the lines that hold no seller ID."),
    ("run.fresh", "--fresh", None, "Crawl this date anew; the former snapshot stands until it is whole."),
    ("run.retry_failed", "--retry-failed", None, "Ask again for sellers that failed by a 400."),
    ("run.resume", "--resume", None, "Go on with the latest unfinished crawl date."),
    ("run.json", "--json", None, "The run report on standard output."),
    ("log.format", "--log-format", "text|json", "How log lines are written.  [default: text]"),
    ("log.quiet", "--quiet", None, "Warnings and errors only."),
    ("log.no_progress", "--no-progress", None, "No progress display, even on a terminal."),
)


def settings_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command every option of a run; values stay raw, the settings validate them."""
    for name, flag, metavar, text in reversed(_OPTIONS):
        key = name.replace(".", "__")
        if metavar is None:
            command = click.option(flag, key, is_flag=True, default=None, help=text)(command)
        else:
            command = click.option(flag, key, metavar=metavar, default=None, help=text)(command)
    return click.option(
        "--config", metavar="FILE", default=None, help="Settings file.  [default: config/crawler.toml]"
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crawler")
def cli() -> None:
    """Crawl TikTok Shop video analytics: seller list in, Parquet snapshot out, no credit paid twice."""


@cli.command()
@click.argument("sellers", required=False)
@settings_options
def run(sellers: str | None, config: str | None, **options: Any) -> int:
    """Crawl every seller of the list SELLERS (a file, or -) and publish the date's snapshot."""
    if sellers is None and not options["run__resume"]:
        raise click.UsageError(
            "Missing argument 'SELLERS': a CSV file of seller IDs, or - for standard input."
        )
    from crawler.app import run_command  # noqa: PLC0415 - help stays light

    return run_command(_load(config, options), sellers)


@cli.command()
@click.argument("sellers", required=False)
@click.option("--online", is_flag=True, help="Send one request to the API; it costs one credit.")
@settings_options
def check(sellers: str | None, config: str | None, *, online: bool, **options: Any) -> int:
    """Tell whether this machine is ready for tonight: settings, key, disk, lock, seller list."""
    from crawler.commands.check import check_command  # noqa: PLC0415

    return check_command(_load(config, options), sellers, online=online)


@cli.command()
@click.option("--data", metavar="DIR", default=None, help="The data folder.  [default: data]")
@click.option("--config", metavar="FILE", default=None, help="Settings file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(data: str | None, config: str | None, *, as_json: bool) -> int:
    """List past runs, credits spent, and what is unfinished."""
    from crawler.commands.status import status_command  # noqa: PLC0415

    loaded = _load(config, {"run__data": data})
    return status_command(loaded.settings.run.data, as_json=as_json)


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("data/demo"), show_default=True)
@click.option("--sellers", type=click.IntRange(1, 100_000), default=60, show_default=True)
@click.option("--qps", type=click.FloatRange(0.1, 2000), default=200.0, show_default=True)
def demo(data: Path, sellers: int, qps: float) -> int:
    """Run the main job on the embedded stand-in of the API: no key, no network, a table to look at."""
    from crawler.commands.demo import demo_command  # noqa: PLC0415

    return demo_command(data, sellers, qps)


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8800, show_default=True, help="0: a free one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which catalogue.")
@click.option("--day", type=click.IntRange(0), default=0, show_default=True, help="The catalogue's day.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, help="Seconds before each answer.")
@click.option("--jitter", type=click.FloatRange(0), default=0.0, help="Seconds more, at random.")
@click.option("--qps", type=click.FloatRange(0.1), default=None, help="429 above this rate.")
@click.option("--quota", type=click.IntRange(0), default=None, help="402 after so many credits.")
@click.option("--drift", type=click.IntRange(0), default=0, help="A new video every so many requests.")
@click.option("--faults", default="", help="Such as status=500:0.01,reset:0.005")
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
    key: str,
) -> int:
    """Serve the embedded stand-in of the API on loopback, until stopped."""
    from crawler.commands.simulate import simulate_command  # noqa: PLC0415
    from crawler.simulator.catalogue import CatalogueOptions  # noqa: PLC0415
    from crawler.simulator.faults import parse_faults  # noqa: PLC0415
    from crawler.simulator.server import SimulatorOptions  # noqa: PLC0415

    options = SimulatorOptions(
        CatalogueOptions(seed), day, latency, jitter, qps, quota, parse_faults(faults), drift, key
    )
    return simulate_command(options, port)


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    except CrawlerError as error:
        sys.stderr.write(f"crawler: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug becomes an exit code
        _tell_bug(error)
        code = 1
    sys.exit(code)


def _load(config: str | None, options: dict[str, Any]) -> Loaded:
    import os  # noqa: PLC0415

    from crawler.settings import load  # noqa: PLC0415

    flags = {name.replace("__", ".", 1): value for name, value in options.items() if value is not None}
    return load(flags, None if config is None else Path(config), os.environ)


def _tell_bug(error: Exception) -> None:
    told = "".join(traceback.format_exception(error))
    where = "the lines above"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="crawler-bug-", suffix=".txt", delete=False) as file:
            file.write(f"crawler {__version__}, Python {sys.version}\n{told}")
            where = file.name
    except OSError:
        sys.stderr.write(told)
    sys.stderr.write(
        f"crawler: a fault of the program: {type(error).__name__}; what was paid for is in the journal. "
        f"Please report it with {where}\n"
    )
