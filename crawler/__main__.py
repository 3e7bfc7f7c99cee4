"""Where the program begins: the signal handlers come first, so that no signal is lost during the imports."""

import os
import signal
from contextlib import suppress
from types import FrameType


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    """End by a signal while nothing is under way: a run has handlers of its own."""
    name = signal.Signals(number).name
    with suppress(OSError):  # a terminal that closed takes no text
        os.write(2, f"crawler: interrupted by {name}; run the same command again\n".encode())
    os._exit(128 + (signal.SIGTERM if number == signal.SIGHUP else number))


def main() -> None:
    """Run the command line and leave with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end_at_once)
    from crawler.cli import main as command_line  # noqa: PLC0415 - the handlers come first

    command_line()


if __name__ == "__main__":
    main()
