"""A real Dask cluster on hosts made of network namespaces, and the main job on it (root, iproute2).

    python tests/cluster_hosts.py [--cut] [--hosts 2]

Each host has a worker and two networks: one to scheduler and run, one to the stand-in of the API. With
`--cut` the first one of a host is down for longer than its lease, and comes back. Nothing may have been sent
by the old lease then, though the API could be reached all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

from conftest import DATE, Night, stand_in

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import SimulatorOptions

LEASE_S = 3.0
BIN = Path(sys.executable).parent
CONTROL, API = "10.231.1", "10.231.2"
QPS = 40


def ip(*words: str) -> None:
    """Call `ip`."""
    subprocess.run(["ip", *words], check=True)


class Host:
    """A network namespace with an address on both networks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"crawler-{number}"

    def begin(self) -> None:
        """Make it."""
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        for kind, net in (("c", CONTROL), ("a", API)):
            outside, inside = f"cr{kind}{self.number}", f"{kind}{self.number}"
            ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.name)
            ip("link", "set", outside, "master", f"crbr{kind}", "up")
            ip("-n", self.name, "addr", "add", f"{net}.{self.number + 10}/24", "dev", inside)
            ip("-n", self.name, "link", "set", inside, "up")

    def cut(self, state: str) -> None:
        """Set its way to scheduler and run `down` or `up`."""
        ip("link", "set", f"crc{self.number}", state)

    def end(self) -> None:
        """Remove it, and its links with it."""
        subprocess.run(["ip", "netns", "del", self.name], check=False, stderr=subprocess.DEVNULL)


class Gate:
    """Lets the hosts reach the stand-in, which listens on loopback alone; notes when each sends a request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent: defaultdict[str, list[float]] = defaultdict(list)
        self.port = 0
        self._ready = threading.Event()

    def begin(self) -> None:
        """Serve from a thread of its own."""
        threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True).start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, f"{API}.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("peername")[0]
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(reader, back, host), self._pass(there, writer, None))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if host is not None:
                    self.sent[host] += [time.monotonic()] * data.count(b"GET /v1/")
                writer.write(data)
                await writer.drain()
        writer.close()


def begin_cluster(hosts: list[Host], folder: Path, stack: ExitStack) -> None:
    """Start a scheduler here, and a worker on each host."""
    environ = {**os.environ, "KEYAPI_API_KEY": "sk_live_simulator"}

    def start(*command: str) -> None:
        with (folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        stack.callback(os.killpg, process.pid, signal.SIGKILL)

    start(str(BIN / "dask"), "scheduler", "--host", f"{CONTROL}.1", "--port", "8786", "--no-dashboard")
    time.sleep(1)
    for host in hosts:
        where = ["--host", f"{CONTROL}.{host.number + 10}", "--local-directory", str(folder / host.name)]
        command = [str(BIN / "dask"), "worker", f"tcp://{CONTROL}.1:8786", "--nthreads", "1", *where]
        start("ip", "netns", "exec", host.name, *command, "--no-dashboard")


def crawl(night: Night, source: Path, gate: Gate) -> subprocess.Popen[bytes]:
    """Begin the main job."""
    command = [sys.executable, "-m", "crawler", "run", str(source), "--crawl-date", DATE, "--qps", str(QPS)]
    command += ["--executor", "dask", "--scheduler", f"tcp://{CONTROL}.1:8786"]
    environ = {
        **night.environ(),
        "CRAWLER_API_URL": f"http://{API}.1:{gate.port}",
        "CRAWLER_API_ALLOW_HTTP": "1",
        "CRAWLER_DASK_LISTEN": f"tcp://{CONTROL}.1:8790",
        "CRAWLER_DASK_LEASE_S": str(LEASE_S),
    }
    return subprocess.Popen(command, env=environ, start_new_session=True)


def cut_off(host: Host, gate: Gate) -> None:
    """Cut a host off for longer than its lease, and check what it sends meanwhile."""
    address = f"{API}.{host.number + 10}"
    while len(gate.sent[address]) < 20:
        time.sleep(0.05)
    host.cut("down")
    began = time.monotonic()
    time.sleep(LEASE_S + 4)
    host.cut("up")
    late = [at - began for at in gate.sent[address] if began + LEASE_S < at < began + LEASE_S + 4]
    last = max((at - began for at in gate.sent[address] if at < began + LEASE_S + 4), default=0.0)
    print(f"{host.name} was cut off, and sent its last request {last:.2f} s later; its lease is {LEASE_S} s")
    assert not late, f"requests by an old lease, seconds after the cut: {late}"


def check(night: Night, stats: object, ids: list[str], catalogue: object) -> None:
    """Rows are the catalogue's, and nothing was spent that the ledger does not know."""
    rows = {(row["seller_id"], row["video_id"]) for row in night.videos()}
    truth = {(i, row["video_id"]) for i in ids for row in catalogue.videos(i)}  # type: ignore[attr-defined]
    assert rows == truth, f"{len(rows)} rows of {len(truth)}"
    sent = stats.requests  # type: ignore[attr-defined]
    pages = stats.pages  # type: ignore[attr-defined]
    again = sum(count - 1 for count in pages.values())
    print(f"{len(rows)} rows, all there are; {sent} requests, {again} of them for a page a second time")


def main() -> int:
    """Make the cluster, run the job, and remove the cluster."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--hosts", type=int, default=2)
    options = parser.parse_args()
    hosts = [Host(number) for number in range(options.hosts)]
    catalogue = CatalogueOptions(seed=5, largest=400)
    with (
        tempfile.TemporaryDirectory() as folder,
        stand_in(SimulatorOptions(catalogue, latency=0.05)) as simulator,
        ExitStack() as stack,
    ):
        for kind, net in (("c", CONTROL), ("a", API)):
            ip("link", "add", f"crbr{kind}", "type", "bridge")
            stack.callback(ip, "link", "del", f"crbr{kind}")
            ip("addr", "add", f"{net}.1/24", "dev", f"crbr{kind}")
            ip("link", "set", f"crbr{kind}", "up")
        for host in hosts:
            stack.callback(host.end)
            host.begin()
        gate = Gate(int(simulator.url.rpartition(":")[2]))
        gate.begin()
        begin_cluster(hosts, Path(folder), stack)
        night = Night(Path(folder), simulator.url)
        ids = simulator.catalogue.seller_ids(100)
        job = crawl(night, night.sellers(ids), gate)
        if options.cut:
            cut_off(hosts[0], gate)
        code = job.wait(timeout=300)
        assert code == 0, f"exit {code}\n{(Path(folder) / 'cluster.log').read_text()[-3000:]}"
        check(night, simulator.stats, ids, simulator.catalogue)
        for address, sent in sorted(gate.sent.items()):
            print(f"{address} sent {len(sent)} requests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
