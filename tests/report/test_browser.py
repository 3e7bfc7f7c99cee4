"""The page in a real browser: nothing runs, nothing is fetched, and whatever is hostile is text."""

from __future__ import annotations

import re
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from crawler.report.index_page import as_index
from crawler.report.page import as_page
from crawler.report.page_facts import Moved, PageFacts, PastNight, SellerNames
from crawler.report.run_report import Errors, Failure, Requests, RunReport
from crawler.report.series import MAX_SAMPLES, Series

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
MAX_PAGE = 1_500_000
MAX_INDEX = 1_500_000


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[str, list[str]]]:
    """A server that nobody should ask, and whom it was asked by."""
    asked: list[str] = []

    class Note(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(str(self.request.recv(100)))

    with socketserver.TCPServer(("127.0.0.1", 0), Note) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def browsed(page: Path, profile: Path) -> tuple[str, str]:
    """The page's DOM as Chromium has it, and what Chromium logged of it."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    words += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [*words, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout, done.stderr


def hostile(address: str) -> str:
    """A text that would fetch, run and hide, if it were markup."""
    return (
        f"</title></text></svg><script>fetch('//{address}/s')</script>"
        f"<img src=http://{address}/i onerror=alert(1)>"
        f"<style>@import '//{address}/c';*{{display:none}}</style>\" onload=x ]]> &amp; \u202e\x00"
    )


def night(number: int, text: str = "complete") -> PastNight:
    day = f"2026-{1 + number // 28:02}-{1 + number % 28:02}"
    return PastNight(day, text, "finished", 0, 1000 + number, 60, 58, number % 3, 250, 4.5, 1, f"run{number}")


def page_of(text: str, count: int) -> str:
    """A page on which everything that comes from outside is this text, so many times."""
    report = RunReport(
        run_id=text,
        crawl_date=text,
        started_at=text,
        finished_at=text,
        status=text,
        exit_code=4,
        message=text,
        go_on=text,
        plausibility={"verdict": text, "reasons": [text]},
        failures=[Failure(text, 1, text)] * count + [Failure(text, 2, f"{text}2")],
        notes=[text] * count,
        stops={text: 2},
        requests=Requests(100, 90, 1, {text: 1, "429": 5}),
        errors=Errors({text: 5, "429": 3}),
        qps={"limit": 10.0, "achieved": 9.0},
    )
    row: dict[str, Any] = dict.fromkeys(
        ("seller_id", "video_id", "nick_name", "video_desc", "stop_reason", "videos"), text
    )
    series: list[Any] = [1] * MAX_SAMPLES
    facts = PageFacts(
        nights=[*map(night, range(30)), PastNight(text, text, text, 0, 1, 1, 1, 1, 1, 1.0, 1, text)],
        series=Series([float(n) for n in range(1, MAX_SAMPLES + 1)], *([series] * 5)),
        compared_with=text,
        moved=Moved({"gone": {"videos": 3}}, [row] * 10, [row] * 10, [row] * 10, [text]),
        fallen=SellerNames([row] * 25, 30),
        cut_off=SellerNames([row] * 25, 30),
        faults=[text],
    )
    return as_page(asdict(report), facts)


def test_hostile_texts_stay_text_in_a_browser(trap: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = trap
    page = tmp_path / "report.html"
    page.write_text(page_of(hostile(address), 3))
    dom, log = browsed(page, tmp_path / "profile")
    assert "CONSOLE" not in log
    assert not asked
    body = dom[dom.index("<body") :]
    assert body.count("<svg") >= 9
    assert set(re.findall(r"<(\w+)", body)) <= {
        *("body", "h1", "h2", "h3", "section", "div", "p", "strong", "pre", "span", "ul", "li", "i"),
        *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary"),
        *("svg", "g", "rect", "path", "text", "title", "circle"),
    }
    assert body.count("&lt;script&gt;fetch(") > 100


def test_a_console_error_would_be_seen(trap: tuple[str, list[str]], tmp_path: Path) -> None:
    """The same text as markup is stopped by the page's own policy, and the log says so."""
    address, asked = trap
    page = tmp_path / "report.html"
    page.write_text(as_page({}).replace("</body>", f"<img src='http://{address}/'></body>"))
    _, log = browsed(page, tmp_path / "profile")
    assert "CONSOLE" in log
    assert "Content Security Policy" in log
    assert not asked


def test_the_worst_night_s_page_is_small() -> None:
    """A thousand failures with long texts, full lists and a full series stay below 1.5 MB."""
    text = "\u202e" * 1000
    assert len(page_of(text, 1000).encode()) < MAX_PAGE
    assert len(page_of("x", 3).encode()) < 200_000


def test_three_years_of_nights_are_a_small_index() -> None:
    nights = [night(number) for number in range(1100)]
    assert len(as_index(nights, {}).encode()) < MAX_INDEX
