"""Crawls by a Dask cluster that somebody else started: with certificates, and of another version."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import SMALL, Night, stand_in
from crash_cluster import Cluster
from test_comms import certificates

from crawler.nightly.workers import _address
from crawler.options import DaskSettings, RunSettings, Settings
from crawler.simulator.server import Simulator, SimulatorOptions

IDS = [str(7_000_000_000_000_000_001 + 37 * number) for number in range(8)]
Start = Callable[..., Cluster]


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulator]:
    with stand_in(SimulatorOptions(catalogue=SMALL)) as simulator:
        yield simulator


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*words: str, protocol: str = "tcp", of_worker: tuple[str, ...] = ()) -> Cluster:
            cluster = Cluster(tmp_path, protocol=protocol, words=words, of_worker=of_worker)
            stack.callback(cluster.end)
            cluster.begin()
            return cluster

        yield begin


def crawl(night: Night, cluster: Cluster, **environ: str) -> subprocess.CompletedProcess[str]:
    words = ("run", str(night.sellers(IDS)), "--qps", "1000", "--executor", "dask", "--scheduler")
    return night.call(*words, cluster.address, **environ)


def as_flags(files: DaskSettings) -> list[str]:
    ca, cert, key = files.tls_ca_file, files.tls_cert_file, files.tls_key_file
    return ["--tls-ca-file", str(ca), "--tls-cert", str(cert), "--tls-key", str(key)]


def as_environ(files: DaskSettings) -> dict[str, str]:
    names = ("tls_ca_file", "tls_cert_file", "tls_key_file")
    return {f"CRAWLER_DASK_{name.upper()}": str(getattr(files, name)) for name in names}


@pytest.mark.long
def test_with_certificates_all_of_a_crawl_goes_over_tls(
    tmp_path: Path, shop: Simulator, start: Start
) -> None:
    """Scheduler and workers take nothing else, and the run's own port neither."""
    ours, theirs = certificates(tmp_path, "ours"), certificates(tmp_path, "theirs")
    cluster, night = start(*as_flags(ours), protocol="tls"), Night(tmp_path, shop.url)
    assert _address(Settings(run=RunSettings(executor="dask"), dask=ours)).startswith("tls://")
    sent = shop.stats.requests
    for wrong in (as_environ(theirs), {}):
        done = crawl(night, cluster, **{**wrong, "CRAWLER_DASK_WAIT_S": "3"})
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
    assert shop.stats.requests == sent
    done = crawl(night, cluster, CRAWLER_DASK_PAGES="driver", **as_environ(ours))
    assert done.returncode == 0, done.stderr
    assert "over connections from" in done.stderr
    assert len(night.ids()) == sum(map(shop.catalogue.size, IDS))


def test_a_cluster_of_another_version_is_refused(tmp_path: Path, shop: Simulator, start: Start) -> None:
    preload = tmp_path / "older.py"
    preload.write_text('import crawler\n\ncrawler.__version__ = "0.0.9"\n')
    cluster, sent = start(of_worker=("--preload", str(preload))), shop.stats.requests
    done = crawl(Night(tmp_path, shop.url), cluster)
    assert done.returncode == 2, done.stderr
    assert "has version 0.0.9" in done.stderr
    assert "pip install 'shop-video-crawler[dask]==" in done.stderr
    assert shop.stats.requests == sent
