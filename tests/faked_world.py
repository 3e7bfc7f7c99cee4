"""A machine for the two weeks of `two_weeks.py`: a clock that can be set, cron, mail, receivers, the API.

Everything that the program is told of the time comes from libfaketime, by an offset to the real time that
is read from a file once a second: all processes share the clock, and it goes on at its usual pace.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson

CRAWLER = str(Path(sys.executable).with_name("crawler"))
NEEDED = ("cron", "crontab", "unshare")
_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
_MAILER = """\
#!/bin/sh
exec /bin/cat > {mails}/$$.eml
"""
# libfaketime 0.9.10 refuses to sleep until a moment of the monotonic clock, as Python does.
_SLEEP = """\
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
_ALONE = "FAKED_WORLD"
_WAIT_S = 400.0


def library() -> str:
    """The path of libfaketime; empty where it is not installed."""
    return next((str(path) for path in Path("/").glob(_LIBRARIES[1:])), "")


def why_not() -> str:
    """Why no such machine can be made here."""
    if os.geteuid():
        return "needs root"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    missing += [] if library() else ["faketime"]
    return f"needs {' and '.join(missing)}" if missing else ""


def go_alone() -> None:
    """Start this program again in mount and process namespaces of its own: what it starts ends with it."""
    if _ALONE not in os.environ:
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvpe(words[0], [*words, sys.executable, *sys.argv], {**os.environ, _ALONE: "1"})


class Clock:
    """The time of this machine; what is started with `environ` has it too."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._python = folder / "python"
        self._python.mkdir()
        (self._python / "sitecustomize.py").write_text(_SLEEP)
        self._ahead = timedelta(0)

    @property
    def environ(self) -> dict[str, str]:
        """What gives a process this clock; its timers stay real."""
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(self._python),
        }

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC) + self._ahead

    def set(self, moment: datetime) -> None:
        """Set it, for all."""
        self._ahead = moment - datetime.now(UTC)
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._ahead.total_seconds():+.3f}\n")
        new.rename(self._file)


@dataclass(frozen=True, slots=True)
class Message:
    """Something that the operator was told; `what` is the path of a ping, a subject, an exit code."""

    at: datetime
    channel: str
    what: str
    text: str

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return len(self.text.splitlines())


class Receivers:
    """A dead man's switch and a webhook on loopback: each keeps what it is sent."""

    def __init__(self, clock: Clock) -> None:
        self.messages: list[Message] = []
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
                channel, _, end = self.path.partition("?")[0].strip("/").partition("/")
                messages.append(Message(clock.now(), channel, f"/{end}", body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


@dataclass
class Machine:
    """The machine: the operator's `shop`, what is told of it, and what starts nights there."""

    base: Path
    clock: Clock = field(init=False)
    receivers: Receivers = field(init=False)
    _collected: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("mails", "commands", "sbin", "shop"):
            (self.base / name).mkdir()
        self.clock = Clock(self.base)
        self.receivers = Receivers(self.clock)
        mailer = self.base / "sbin" / "sendmail"
        mailer.write_text(_MAILER.format(mails=self.base / "mails"))
        mailer.chmod(0o755)
        shutil.copy2(shutil.which("cron") or "", self.base / "sbin" / "cron")
        for folder in ("/var/spool/cron", "/run", "/etc/cron.d"):
            _mount("-t", "tmpfs", "none", folder)
        _mount("--bind", "/dev/null", "/etc/crontab")
        _mount("--bind", str(self.base / "sbin"), "/usr/sbin")
        crontabs = Path("/var/spool/cron/crontabs")
        crontabs.mkdir()
        crontabs.chmod(0o1730)

    @property
    def shop(self) -> Path:
        """The operator's folder."""
        return self.base / "shop"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of an operator at a terminal."""
        return {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **self.clock.environ}

    def call(self, words: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            words, env=self.environ, cwd=folder or self.shop, capture_output=True, text=True, check=False
        )

    def paste(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line in a shell, in a folder that has nothing to do with it."""
        return self.call(["bash", "-c", command], Path("/"))

    def mount_data(self, mib: int) -> Path:
        """Give the data folder a disk of its own."""
        data = self.shop / "data"
        data.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={mib}m", "none", str(data))
        return data

    @contextmanager
    def cron(self, moment: datetime) -> Iterator[None]:
        """Have cron start what is due at `moment`, which is some seconds away; wait for its mail."""
        self.clock.set(moment - timedelta(seconds=4))
        before = set(crawls())
        log = (self.base / "cron.log").open("a")
        daemon = subprocess.Popen(
            ["/usr/sbin/cron", "-f", "-L", "15"], env=self.environ, stdout=log, stderr=log
        )
        try:
            await_that(lambda: bool(set(crawls()) - before), "cron starts a run")
            yield
        finally:
            daemon.terminate()
            daemon.wait(10)

    def new_messages(self) -> list[Message]:
        """What came by any channel since this was asked the last time."""
        self.collect()
        messages, self._collected = self._collected, []
        return messages

    def collect(self) -> None:
        """Look for messages: before the clock is set, as it says when a file was written."""
        received = self.receivers.messages[:]
        del self.receivers.messages[: len(received)]
        self._collected += received + self._new_files("mails", "*.eml")
        self._collected += self._new_files("commands", "*.json")

    def _new_files(self, folder: str, pattern: str) -> list[Message]:
        """What cron has mailed, or notify.command was given."""
        found = []
        for path in (self.base / folder).glob(pattern):
            text, subject = path.read_text(), None
            if path.suffix == ".eml":
                head, _, text = text.partition("\n\n")
                subject = re.search("^Subject: (.*)$", head, re.MULTILINE)
            since = time.time() - path.stat().st_mtime
            moment = self.clock.now() - timedelta(seconds=since)
            found.append(Message(moment, folder.removesuffix("s"), subject[1] if subject else "", text))
            path.unlink()
        return sorted(found, key=lambda one: one.at)


@dataclass
class Api:
    """The stand-in, a process with the machine's clock; it may be started anew at the same address."""

    machine: Machine
    port: int = 0
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, *options: str) -> None:
        """Serve the catalogue of the machine's date, with these options of `crawler simulate`."""
        self.end()
        words = [CRAWLER, "simulate", "--port", str(self.port), *options]
        process = subprocess.Popen(words, env=self.machine.environ, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        self.port = int(process.stdout.readline().split()[0].rpartition(":")[2])
        self._process = process

    def requests(self) -> int:
        """How many it has had since it was started."""
        with urllib.request.urlopen(f"{self.url}/_stats") as answer:
            return int(orjson.loads(answer.read())["requests"])

    def end(self) -> None:
        """Stop serving."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


def crawls() -> list[int]:
    """The processes that crawl."""
    return [pid for pid, words in _processes() if b"\0run\0sellers.csv\0" in words]


def kill_crawl() -> None:
    """Kill the run that is on, as the kernel does where memory is short."""
    for pid in crawls():
        os.kill(pid, signal.SIGKILL)


def await_end(left: int = 0) -> None:
    """Wait until so many runs are on, and so many jobs of cron: the mail of the others is sent by then."""
    await_that(lambda: len(crawls()) <= left and _jobs() <= left, "the night ends")


def await_that(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    until = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < until, f"{what}: not within {_WAIT_S:g} s"
        time.sleep(0.05)


def _jobs() -> int:
    """How many jobs cron has started that have not ended."""
    names = (Path(words.partition(b"\0")[0].decode().split(" ")[0]).name for _, words in _processes())
    return sum(name.lower() == "cron" for name in names) - 1


def _processes() -> Iterator[tuple[int, bytes]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            yield int(path.name), (path / "cmdline").read_bytes()
        except OSError:
            continue


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)
