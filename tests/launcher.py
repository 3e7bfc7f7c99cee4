"""Start the crawler as a process of its own, without paying for its imports each time.

A launcher process imports the crawler once; each start is a fork of it, with its own arguments,
environment, folder and streams. Open this when a test needs a process and you wonder where it comes from.

    Launcher().start(["run", "sellers.csv"], environ, folder)
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import IO, Any

from crawler.store import failpoints

_MESSAGE = 1 << 20
PAGES = "TEST_DRAWS_PAGES"
"""The environment variable without which no report.html is drawn: a third of a second for each run."""


class Process:
    """A started crawler: the part of `subprocess.Popen` that tests use.

    Its streams go to files, so that nothing blocks however much is printed.
    """

    def __init__(self, reply: socket.socket, out: IO[str], err: IO[str], words: list[str]) -> None:
        self._reply, self._out, self._err, self._words = reply, out, err, words
        self.pid = int(reply.recv(32))
        self.returncode: Any = None
        self._printed = ("", "")

    def poll(self) -> int | None:
        """The exit code as `subprocess` gives it, or None while the process runs."""
        return self._ended(0)

    def wait(self, timeout: float = 90) -> int:
        """The exit code; raises `TimeoutExpired` after killing the process."""
        code = self._ended(timeout)
        if code is None:
            self.kill()
            self._ended(5)
            raise subprocess.TimeoutExpired(self._words, timeout, *self._printed)
        return code

    def communicate(self, timeout: float = 90) -> tuple[str, str]:
        """Wait for the end; returns what was printed on standard output and on standard error."""
        self.wait(timeout)
        return self._printed

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._reply], [], [], timeout)[0]:
            self.returncode = int(self._reply.recv(32))
            self._reply.close()
            self._printed = self._read(self._out), self._read(self._err)
        code: int | None = self.returncode
        return code

    @staticmethod
    def _read(file: IO[str]) -> str:
        with file:
            file.seek(0)
            return file.read()


class Launcher:
    """One launcher process, started when it is first needed and ended with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None

    def start(
        self, words: list[str], environ: dict[str, str], folder: Path, given: str = "", at: str = ""
    ) -> Process:
        """Start `python -m crawler` with these words; `given` is its standard input.

        `at` is `STEP:N`: the process kills itself when it comes to that step for the N-th time.
        """
        out, err = (tempfile.TemporaryFile("w+", errors="replace") for _ in range(2))  # noqa: SIM115 - closed by Process
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile("w+") as source, there:
            source.write(given)
            source.seek(0)
            asked = {"words": words, "environ": environ, "folder": str(folder), "at": at}
            files = [source.fileno(), out.fileno(), err.fileno(), there.fileno()]
            socket.send_fds(self._connect(), [json.dumps(asked).encode()], files)
        return Process(here, out, err, words)

    def run(
        self, words: list[str], environ: dict[str, str], folder: Path, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Start it and wait for its end."""
        process = self.start(words, environ, folder, given)
        out, err = process.communicate()
        return subprocess.CompletedProcess(words, process.wait(0), out, err)

    def _connect(self) -> socket.socket:
        with self._lock:
            if self._control is None:
                self._control, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                for end in (self._control, there):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE)
                command = [sys.executable, str(Path(__file__)), str(there.fileno())]
                clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLER_", "KEYAPI_"))}
                process = subprocess.Popen(command, pass_fds=[there.fileno()], env=clean)
                there.close()
                atexit.register(self._end, process, self._control)
            return self._control

    @staticmethod
    def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
        control.close()
        process.wait()


LAUNCHER = Launcher()


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each message. Returns None at the end, and in a forked process what it was asked to run."""
    while True:
        message, files, _, _ = socket.recv_fds(control, _MESSAGE, 4)
        if not message:
            return None
        if os.fork() == 0:
            control.close()
            return _become(json.loads(message), files)
        for file in files:
            os.close(file)


def _become(asked: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Fork again: this process waits and reports the exit code, and the new one goes on as the crawler."""
    *streams, reply = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        with socket.socket(fileno=reply) as answer:
            answer.send(b"%d" % pid)
            _, status = os.waitpid(pid, 0)
            answer.send(b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(reply)
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", None, True)
    return asked


def kill_at(at: str) -> None:
    """Have this process kill itself when it comes to a step (`STEP:N`) for the N-th time."""
    step, _, times = at.partition(":")
    seen: Counter[str] = Counter()

    def reach(reached: str) -> None:
        seen[reached] += 1
        if reached == step and seen[step] == int(times):
            os.kill(os.getpid(), signal.SIGKILL)

    if at:
        failpoints.on_reach = reach


def main() -> None:
    """Import what a run needs, then serve."""
    import crawler.__main__ as program  # noqa: PLC0415
    from crawler import cli  # noqa: PLC0415
    from crawler.nightly import showing  # noqa: PLC0415

    left_out = cli._LeftOut()
    sys.meta_path.insert(0, left_out)
    import crawler.api.client  # noqa: PLC0415
    import crawler.commands.plan  # noqa: PLC0415
    import crawler.commands.run  # noqa: PLC0415
    import crawler.commands.status  # noqa: PLC0415
    import crawler.sellers.entries  # noqa: PLC0415
    import crawler.sellers.parquet  # noqa: F401, PLC0415

    sys.meta_path.remove(left_out)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        sys.argv = [str(program.__file__), *asked["words"]]
        kill_at(asked["at"])
        if PAGES not in asked["environ"]:
            showing._write_page = lambda *_: None
        program.main()


if __name__ == "__main__":
    main()
