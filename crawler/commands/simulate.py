"""`crawler simulate`: the stand-in on loopback, until stopped."""

from __future__ import annotations

import asyncio
import signal
import sys

from crawler.models.errors import InputError
from crawler.simulator.server import Simulator, SimulatorOptions


def simulate_command(options: SimulatorOptions, port: int) -> int:
    """Serve until SIGINT or SIGTERM, then print what was asked for.

    Raises `InputError` where the port is taken.
    """
    try:
        asyncio.run(_serve(options, port))
    except OSError as error:
        raise InputError(
            f"cannot serve on port {port}: {error.strerror}; choose another --port, 0 for a free one"
        ) from None
    return 0


async def _serve(options: SimulatorOptions, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with Simulator(options, port) as simulator:
        keys = [key.value for key in options.keys] or [options.key]
        sys.stdout.write(f"{simulator.url} (key {', '.join(keys)})\n")
        sys.stdout.flush()
        await stopped.wait()
    sys.stdout.write(f"{simulator.stats.requests} requests, {simulator.stats.credits} credits\n")
