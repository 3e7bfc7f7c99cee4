"""A server that is not the bottleneck: nginx with each page as a file, or the stand-in in its own process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from crawler.api.client import PATH
from crawler.models.api import PAGE_SIZE
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.server import KEY, Simulator, SimulatorOptions

OPTIONS = CatalogueOptions(largest=300)
"""No seller is so large that its pages, asked for one after another, are all that a run waits for."""

_NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 8192; {user}
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format mark "."; access_log {log};
    sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 3600;
    client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
    uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
    server {{
        listen 127.0.0.1:{port} backlog=4096; root {folder}/pages; default_type application/json;
        location = {path} {{ {answer} }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """Where pages are served, by what, for which sellers, and how many requests these take.

    `asked` is the server's own count of requests so far; nginx counts only where it is set to.
    """

    url: str
    key: str
    by: str
    sellers: list[str]
    requests: int
    asked: Callable[[], int]


def sellers_for(requests: int) -> tuple[list[str], int]:
    """Sellers whose pages take about so many requests, and how many exactly."""
    catalogue, chosen, total = Catalogue(OPTIONS), list[str](), 0
    for seller in catalogue.seller_ids(requests):
        if total >= requests:
            break
        chosen.append(seller)
        total += catalogue.size(seller) // PAGE_SIZE + 1
    return chosen, total


@contextmanager
def served(folder: Path, requests: int, *, counted: bool = False) -> Iterator[Served]:
    """Serve the pages of about so many requests, from `folder` where nginx is installed."""
    sellers, total = sellers_for(requests)
    nginx = found_nginx()
    if nginx is None:
        with _stand_in() as (url, asked):
            yield Served(url, KEY, "the stand-in in a process of its own", sellers, total, asked)
        return
    _write_pages(folder / "pages", sellers)
    version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    log = folder / "asked.log"
    answer = "try_files /$arg_seller_id/$arg_page_num =404;"
    with _nginx(nginx, folder, answer, f"{log} mark" if counted else "off") as url:
        by = f"{version.split()[-1]} with static pages"
        yield Served(url, KEY, by, sellers, total, lambda: log.stat().st_size // len(".\n"))


def found_nginx() -> str | None:
    """Where nginx is installed, if it is."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def one_page(folder: Path, nginx: str, rows: int) -> Iterator[str]:
    """Answer for any seller with one page of so many rows; gives the address."""
    catalogue = Catalogue(OPTIONS)
    seller = next(s for s in catalogue.seller_ids(1000) if catalogue.size(s) >= rows)
    shown = catalogue.page(seller, 1, 1, 1, PAGE_SIZE)[:rows]
    # nginx reads no value of more than 4 KiB.
    short = {"avatar": "https://images.example/a.jpg", "reflow_cover": "https://images.example/c.jpg"}
    rows = [
        {**row, **short, "video_desc": f"review {n}", "seller_id": "@", "video_id": f"@{n}"}
        for n, row in enumerate(shown)
    ]
    body = orjson.dumps({"code": 0, "message": "success", "data": rows, "requestId": "$request_id"}).decode()
    with _nginx(nginx, folder, f"return 200 '{body.replace('@', '${arg_seller_id}')}';", "off") as url:
        yield url


def _write_pages(folder: Path, sellers: list[str]) -> None:
    catalogue = Catalogue(OPTIONS)
    for seller in sellers:
        (folder / seller).mkdir(parents=True)
        for number in range(1, catalogue.size(seller) // PAGE_SIZE + 2):
            rows = catalogue.page(seller, 1, 1, number, PAGE_SIZE)
            document = {"code": 0, "message": "success", "data": rows, "requestId": f"{seller}-{number}-1"}
            (folder / seller / str(number)).write_bytes(orjson.dumps(document))


@contextmanager
def _nginx(nginx: str, folder: Path, answer: str, log: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A worker of another user could not read pages below a private folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, path=PATH, user=user, log=log, answer=answer))
    with subprocess.Popen([nginx, "-c", str(config), "-e", str(folder / "error.log")]) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nginx does not come up")


@contextmanager
def _stand_in() -> Iterator[tuple[str, Callable[[], int]]]:
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        answers, orders = server.stdout, server.stdin
        assert answers is not None
        assert orders is not None

        def asked() -> int:
            print(file=orders, flush=True)
            return int(answers.readline())

        yield answers.readline().strip(), asked
        orders.close()


async def _serve() -> None:
    """Serve the same pages until standard input ends; each of its lines asks how many were asked for."""
    async with Simulator(SimulatorOptions(OPTIONS)) as simulator:
        print(simulator.url, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(simulator.stats.requests, flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
