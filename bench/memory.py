"""Peak memory of the crawler process, by scenario: it must grow with neither rows nor pages.

Each scenario is the command line itself in a process of its own. What it publishes is put into the journal
beforehand through the store's own parts, since ten million rows over HTTP would take an hour; this process
stays small, as a child begins with its parent's peak.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from place import new_folder

if TYPE_CHECKING:
    from crawler.models.page import RowBatch

DATE = "2026-11-23"
NEXT_DATE = "2026-11-24"
KEY = "sk_live_simulator"
_BODY_BYTES = 5200
_COMMIT = 2000
_RECEIVED = 1_790_000_000_000
_DAY = 86_400_000
_SCRIPT = str(Path(__file__).resolve())


class Peak(NamedTuple):
    """What a process took: seconds, seconds of CPU, MiB at its peak, and how it ended."""

    seconds: float
    cpu: float
    mib: float
    code: int


class Shop(NamedTuple):
    """A crawl date to publish: so many sellers of so many rows each."""

    sellers: int
    rows: int


def environ() -> dict[str, str]:
    """The environment without settings of whoever calls."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CRAWLER_")}
    return {**clean, "KEYAPI_API_KEY": KEY}


def command(folder: Path, *options: str, date: str = DATE) -> list[str]:
    """`crawler run` over the list and the data of a folder."""
    arguments = ["run", str(folder / "sellers.csv"), "--data", str(folder / "data"), "--crawl-date", date]
    return [sys.executable, "-m", "crawler", *arguments, "--quiet", *options]


def ended(job: subprocess.Popen[bytes], began: float) -> Peak:
    """Wait for a process."""
    _, status, used = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    return Peak(time.monotonic() - began, cpu, used.ru_maxrss / 1024, job.returncode)


def measured(arguments: list[str]) -> Peak:
    """Run a command to its end."""
    began = time.monotonic()
    return ended(subprocess.Popen(arguments, env=environ()), began)


def own(mode: str, folder: Path, *arguments: int | str) -> None:
    """Prepare files in a process of its own."""
    subprocess.run([sys.executable, _SCRIPT, mode, str(folder), *map(str, arguments)], check=True)


def until_first_request(folder: Path, date: str = DATE) -> Peak:
    """Run until the first connection comes in, and stop it then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        job = subprocess.Popen(command(folder, "--api-url", url, date=date), env=environ())
        server.settimeout(120)
        server.accept()[0].close()
        sent = time.monotonic() - began
        job.send_signal(signal.SIGKILL)
        return ended(job, began)._replace(seconds=sent, code=0)


@contextmanager
def stand_in() -> Iterator[str]:
    """The stand-in of the API in a process of its own; gives its address."""
    server_command = [sys.executable, "-m", "crawler", "simulate", "--port", "0", "--day", "0"]
    with subprocess.Popen(server_command, env=environ(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0]
        server.terminate()
        server.stdout.read()


def lists(sizes: list[int]) -> Iterator[tuple[str, Peak]]:
    """New lists, up to the first request."""
    for size in sizes:
        with new_folder() as name:
            own("list", Path(name), size)
            yield f"list of {size:,}, first request", until_first_request(Path(name))


def budgets(sizes: list[int]) -> Iterator[tuple[str, Peak]]:
    """New lists under a small budget, published."""
    for size in sizes:
        with new_folder() as name, stand_in() as url:
            own("list", Path(name), size)
            crawl = command(Path(name), "--api-url", url, "--budget", "200", "--qps", "200")
            yield f"list of {size:,}, 200 credits", measured(crawl)


def shops(sizes: list[Shop]) -> Iterator[tuple[str, Peak]]:
    """All sellers crawled: publish, and then find nothing to do."""
    for size in sizes:
        with new_folder() as name:
            own("shop", Path(name), size.sellers, size.rows)
            label = f"{size.sellers:,} sellers of {size.rows:,} rows"
            yield f"{label}, publish", measured(command(Path(name)))
            yield f"{label}, nothing to do", measured(command(Path(name)))
            yield f"{label}, first request of the next date", until_first_request(Path(name), NEXT_DATE)


def nights(sizes: list[int]) -> Iterator[tuple[str, Peak]]:
    """Whole nights over the stand-in."""
    for size in sizes:
        with new_folder() as name, stand_in() as url:
            own("list", Path(name), size)
            crawl = command(Path(name), "--api-url", url, "--qps", "2000")
            yield f"{size:,} sellers over HTTP", measured(crawl)


def shallow_nights(sizes: list[int]) -> Iterator[tuple[str, Peak]]:
    """Whole nights of sellers of nine rows over nginx, where it is installed."""
    from pages import found_nginx, one_page  # noqa: PLC0415 - see above

    nginx = found_nginx()
    for size in sizes if nginx else ():
        with new_folder() as name, one_page(Path(name), nginx or "", 9) as url:
            own("list", Path(name), size)
            crawl = command(Path(name), "--api-url", url, "--qps", "10000", "--workers", "256")
            yield f"{size:,} sellers of 9 rows over HTTP", measured(crawl)


def write_list(folder: Path, count: int) -> list[str]:
    """Write a list of the stand-in's sellers."""
    from crawler.simulator.catalogue import Catalogue, CatalogueOptions  # noqa: PLC0415 - see above

    ids = Catalogue(CatalogueOptions()).seller_ids(count)
    with (folder / "sellers.csv").open("w") as file:
        file.write("seller_id\n")
        file.writelines(f"{seller}\n" for seller in ids)
    return ids


def fill(folder: Path, sellers: int, rows: int, crawl_date: str = DATE) -> None:
    """A journal in which every seller has ended, and whose pages are all in segments.

    From date to date one video of four moves, and one of a hundred is replaced.
    """
    from datetime import date  # noqa: PLC0415 - see above

    from crawler.models.page import Page  # noqa: PLC0415
    from crawler.models.seller import Ending, SellerStatus, StopReason  # noqa: PLC0415
    from crawler.store.journal import Journal  # noqa: PLC0415
    from crawler.store.layout import Layout  # noqa: PLC0415
    from crawler.store.ledger import Ledger  # noqa: PLC0415
    from crawler.store.records import Record  # noqa: PLC0415
    from crawler.store.segments import SegmentWriter  # noqa: PLC0415

    last = -(-rows // 10)
    done = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
    day = date.fromisoformat(crawl_date)
    night = (day - date.fromisoformat(DATE)).days
    received = _RECEIVED + night * _DAY
    path = Layout(folder / "data").journal(day, 1)
    with Journal(path, survive_power_loss=False) as journal:
        journal.note(source=str(folder / "sellers.csv"), sort="views", order="desc")
        staging, waiting = SegmentWriter(journal, _read_batch), []
        for seller in write_list(folder, sellers):
            for number in range(1, last + 1):
                body = f"{number} {min(10, rows - 10 * number + 10)} {night}".ljust(_BODY_BYTES).encode()
                mark = int(seller) * 1000 + number
                page = Page(seller, number, body, 10, mark % 2**62, received, "req-1", 1.0, 1.0)
                waiting.append(Record(seller, "bench", 1, page, done if number == last else None))
                if len(waiting) >= _COMMIT:
                    staging.write(waiting)
                    waiting = []
        staging.write(waiting)
        staging.flush()
        spent = journal.reader.credits()
    with Ledger(folder / "data") as ledger:
        ledger.begin(f"bench{night}", day, f"{day}T02:10:00.000Z")
        ledger.reserve(f"bench{night}", day, None, lambda _left: spent)


def _read_batch(pages: Sequence[tuple[str, bytes]]) -> RowBatch:
    """Rows as the stand-in's, without JSON: that is not what is measured."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    from crawler.api.columns import ROW_SCHEMA  # noqa: PLC0415
    from crawler.models.page import RowBatch  # noqa: PLC0415

    return RowBatch(pa.table(_rows_of(pages), ROW_SCHEMA), [])


def _rows_of(pages: Sequence[tuple[str, bytes]]) -> dict[str, list[Any]]:
    mixed: list[int] = []
    figures: list[int] = []
    numbers: list[int] = []
    places: list[int] = []
    for number, (seller, body) in enumerate(pages):
        page, count, night = map(int, body.split())
        start = int(seller) * 1000 + page * 10
        own = [(start + at) * 0x9E37_79B9_7F4A_7C15 % 2**61 for at in range(count)]
        own = [m + 1 + night if m % 100 == night else m for m in own]
        figures += [m % 100_000 + night * (m % 4 == 0) for m in own]
        mixed += own
        numbers += [number] * count
        places += range(1, count + 1)
    values: dict[str, list[Any]] = {
        "video_id": [str(7_000_000_000_000_000_000 + m % 10**18) for m in mixed],
        "user_id": [str(7_100_000_000_000_000_000 + m % 10**17) for m in mixed],
        "nick_name": [f"creator{f}" for f in figures],
        "video_desc": [f"review serum {f}" for f in figures],
        "avatar": [f"https://images.example/user-avatar/{m % 997}/{m}.jpg" for m in mixed],
        "reflow_cover": [f"https://images.example/video-cover/{m % 991}/{m}.jpg" for m in mixed],
        "create_time": [1_700_000_000_000 + m % 10**10 for m in mixed],
        "region": [("ID", "MY", "PH", "SG", "TH", "VN")[m % 6] for m in mixed],
        "total_video_sale_gmv_amt": [f / 7 for f in figures],
        "extra": [None] * len(mixed),
    }
    for name in ("total_views_cnt", "total_digg_cnt", "total_comments_cnt", "total_shares_cnt"):
        values[name] = figures
    values["total_video_sale_cnt"] = figures
    return {**values, "page": numbers, "place": places}


def show(name: str, peak: Peak) -> None:
    """One line of the table."""
    line = f"{name:60} {peak.mib:6.0f} MiB  {peak.seconds:7.1f} s  {peak.cpu:7.1f} s CPU"
    print(line + (f"  exit {peak.code}" if peak.code not in {0, 3} else ""), flush=True)


def main() -> None:
    """Every scenario, or in a child the files of one."""
    if sys.argv[1:2] in (["list"], ["shop"]):
        mode, folder, *numbers = sys.argv[1:]
        if mode == "list":
            write_list(Path(folder), int(numbers[0]))
        else:
            fill(Path(folder), int(numbers[0]), int(numbers[1]), *numbers[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a hundredth of everything")
    part = 100 if parser.parse_args().small else 1
    large, most = 1_000_000 // part, 5_000_000 // part
    for scenario in (
        lists([10_000 // part, large, most]),
        budgets([10_000 // part, large]),
        shops([Shop(large // 100, 10), Shop(large // 10, 10), Shop(large, 10), Shop(1, large // 2)]),
        nights([20_000 // part // 10, 20_000 // part]),
        shallow_nights([large // 10, large]),
    ):
        for name, peak in scenario:
            show(name, peak)


if __name__ == "__main__":
    main()
