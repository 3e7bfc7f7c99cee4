"""The ceiling and the use of the pace, as a server on loopback sees them."""

from __future__ import annotations

import asyncio
import bisect
import os
import sys
import time
from pathlib import Path

from place import new_folder
from spread import keep

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import KEY, Simulator, SimulatorOptions


async def crawl_at(qps: float, sellers: int) -> dict[str, float]:
    """Crawl the stand-in at a rate in another process, and print what arrived."""
    options = SimulatorOptions(CatalogueOptions(largest=200), latency=0.05)
    async with Simulator(options) as simulator:
        with new_folder() as folder:
            source = Path(folder, "sellers.txt")
            source.write_text(  # noqa: ASYNC240 - before anything is timed
                "\n".join(simulator.catalogue.seller_ids(sellers))
            )
            command = ["-m", "crawler", "run", str(source), "--data", folder, "--qps", str(qps), "--quiet"]
            environ = {**os.environ, "KEYAPI_API_KEY": KEY, "CRAWLER_API_URL": simulator.url}
            began = time.monotonic()
            job = await asyncio.create_subprocess_exec(sys.executable, *command, env=environ)
            code = await job.wait()
            wall = time.monotonic() - began
        # The last sellers, read to their end one page after another, do not load the pace.
        times = simulator.stats.arrivals[: len(simulator.stats.arrivals) * 3 // 4]
        busiest = max(bisect.bisect_left(times, t + 1.0) - i for i, t in enumerate(times))
        used = (len(times) - 1) / (times[-1] - times[0]) / qps
        print(
            f"qps {qps:>5}: exit {code}, {simulator.stats.requests} requests in {wall:.1f} s; "
            f"most in any second {busiest}, share of the rate used under load {used:.3f}"
        )
    return {"qps": qps, "requests": len(simulator.stats.arrivals), "busiest_second": busiest, "used": used}


async def main() -> None:
    """Three rates, the slowest shortest."""
    keep("pace", [await crawl_at(qps, sellers) for qps, sellers in ((5, 12), (50, 120), (500, 1200))])


if __name__ == "__main__":
    asyncio.run(main())
