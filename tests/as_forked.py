"""Run the crawler with these arguments as a fork of the launcher: what `crawler` is to a shell under test.

The launcher's socket is the file descriptor that the environment variable `TEST_LAUNCHER` names.
"""

import json
import os
import signal
import socket
import sys

LAUNCHER_FD = "TEST_LAUNCHER"


def main() -> int:
    """Start it with this process's streams, folder and environment; its exit code, as a shell has it."""
    environ = dict(os.environ)
    control = socket.socket(fileno=int(environ.pop(LAUNCHER_FD)))
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = {"words": sys.argv[1:], "environ": environ, "folder": os.getcwd(), "at": ""}  # noqa: PTH109 - a lighter start
    socket.send_fds(control, [json.dumps(asked).encode()], [0, 1, 2, there.fileno()])
    there.close()
    pid = int(here.recv(32))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda given, _frame: os.kill(pid, given))
    code = int(here.recv(32))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
