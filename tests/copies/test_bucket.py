"""Copies in a bucket, on a real S3 server: what readers see there, whatever fails or is killed when."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from conftest import DATE, SMALL, Night, stand_in
from storage_server import BUCKET, Storage, serving

from crawler.simulator.server import Simulator, SimulatorOptions

FOLDER = "shop/videos-of-all"
SECRET = "wJalrXUtnFEMI-K7MDENG"


@pytest.fixture(scope="module")
def server() -> Iterator[Storage]:
    with serving() as storage:
        yield storage


@pytest.fixture
def storage(server: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty bucket without faults."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    server.fault, server.after = (lambda *_: None), (lambda *_: None)
    if server.objects():
        server.files().delete_dir_contents(BUCKET)
    server.seen.clear()
    return server


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with stand_in(SimulatorOptions(SMALL)) as simulator:
        yield simulator


@pytest.fixture
def job(storage: Storage, simulator: Simulator, tmp_path: Path) -> Night:
    """A folder whose settings name the bucket."""
    (tmp_path / "config").mkdir()
    settings(tmp_path, storage)
    return Night(tmp_path, simulator.url)


def settings(folder: Path, storage: Storage, **more: float) -> None:
    lines = [f'url = "s3://{BUCKET}/{FOLDER}"', f'endpoint = "{storage.proxy}"']
    lines += [f"{name} = {value}" for name, value in ({"attempts": 1} | more).items()]
    (folder / "config" / "crawler.toml").write_text("\n".join(["[output]", *lines, ""]))


def read_by_manifest(storage: Storage, kind: str) -> list[dict[str, Any]]:
    entries = [entry for entry in storage.manifest(FOLDER)["files"] if entry["kind"] == kind]
    names = [f"{BUCKET}/{FOLDER}/{entry['name']}" for entry in entries]
    partitioning = ds.partitioning(flavor="hive")
    files = ds.dataset(names, format="parquet", filesystem=storage.files(), partitioning=partitioning)
    rows: list[dict[str, Any]] = files.to_table().to_pylist()
    return rows


def require_whole(storage: Storage) -> None:
    """Every object of the manifest is there, with its content."""
    for entry in storage.manifest(FOLDER)["files"]:
        content = storage.content(f"{FOLDER}/{entry['name']}")
        assert (len(content), sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])


def ids(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((row["seller_id"], row["video_id"]) for row in rows)


def test_a_run_copies_what_it_published(job: Night, storage: Storage, simulator: Simulator) -> None:
    source = job.sellers(simulator.catalogue.seller_ids(4))
    report = job.run(source)
    assert report["copies"] == [
        {
            "place": f"s3://{BUCKET}/{FOLDER}",
            "copied": [DATE],
            "bytes": sum(
                path.stat().st_size
                for kind in ("videos", "sellers", "changes")
                for path in (job.data / kind).rglob("*.parquet")
            ),
            "removed": 0,
            "left": [],
            "damages": [],
            "error": None,
        }
    ]
    require_whole(storage)
    assert ids(read_by_manifest(storage, "videos")) == job.ids()
    assert len(read_by_manifest(storage, "sellers")) == 4
    assert storage.puts[-1] == f"{FOLDER}/manifest.json", "the manifest makes the objects the dataset"
    names = {entry["name"] for entry in storage.manifest(FOLDER)["files"]}
    assert names | {"manifest.json"} == storage.objects(FOLDER).keys()
    assert read_by_manifest(storage, "nights")[0]["crawl_date"] == date.fromisoformat(DATE)
    storage.seen.clear()
    assert job.run(source)["copies"][0]["copied"] == []
    assert not [name for name in storage.puts if "nights" not in name and "manifest" not in name]


def test_a_copy_that_fails_is_an_eight_and_is_sent_later(
    job: Night, storage: Storage, simulator: Simulator
) -> None:
    storage.fault = lambda *_: 500
    source = job.sellers(simulator.catalogue.seller_ids(3))
    report = job.run(source, code=8)
    assert report["published"]
    assert len(job.ids()) == report["rows"]["written"] > 0
    assert report["copies"][0]["left"] == [DATE]
    assert f"lacks {DATE}" in report["message"]
    asked = simulator.stats.requests
    status = job.call("status")
    assert "unfinished: nothing" in status.stdout
    assert "2 of what is published here are not there" in status.stdout
    failed = job.call("upload")
    assert failed.returncode == 8
    assert SECRET not in failed.stderr + failed.stdout
    storage.fault = lambda *_: None
    assert report["go_on"] in status.stdout
    words = shlex.split(report["go_on"])
    done = job.call(*words[words.index("upload") :])
    assert (done.returncode, "2 copied" in done.stdout) == (0, True), done.stderr
    assert ids(read_by_manifest(storage, "videos")) == job.ids()
    assert simulator.stats.requests == asked
    assert "all that is published here" in job.call("status").stdout


def test_the_next_run_sends_what_was_left_to_a_throttling_storage(
    job: Night, storage: Storage, simulator: Simulator
) -> None:
    source = job.sellers(simulator.catalogue.seller_ids(2))
    storage.fault = lambda *_: 403
    job.run(source, code=8)
    storage.seen.clear()
    storage.fault = lambda _method, _path, number: 503 if number < 3 or number == 12 else None
    settings(job.folder, storage, attempts=3)
    asked = simulator.stats.requests
    assert job.run(source)["copies"][0]["copied"] == [DATE, "nights"]
    assert simulator.stats.requests == asked
    require_whole(storage)
    assert ids(read_by_manifest(storage, "videos")) == job.ids()


def test_a_storage_that_hangs_holds_up_no_run(job: Night, storage: Storage, simulator: Simulator) -> None:
    storage.fault = lambda method, _path, _number: "hang" if method == "PUT" else None
    settings(job.folder, storage, timeout=2)
    began = time.monotonic()
    report = job.run(job.sellers(simulator.catalogue.seller_ids(2)), code=8)
    assert "after 2 s (output.timeout)" in report["copies"][0]["error"]
    assert time.monotonic() - began < 10


def test_a_stop_ends_the_copy(job: Night, storage: Storage, simulator: Simulator) -> None:
    storage.fault = lambda method, _path, _number: "hang" if method == "PUT" else None
    process = job.start(job.sellers(simulator.catalogue.seller_ids(2)))
    wait_for(lambda: storage.puts)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 143
    assert '"published": true' in out
    assert "a stop was asked for before all was copied" in out


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("writes", [2, *(pytest.param(n, marks=pytest.mark.long) for n in (0, 1, 3, 4, 5))])
def test_whatever_is_killed_when_readers_see_whole_dates(
    job: Night, storage: Storage, simulator: Simulator, writes: int
) -> None:
    """Killed at one of its writes; the manifest never names what is not there, and the next run goes on."""
    source = job.sellers(simulator.catalogue.seller_ids(1))
    job.run(source)
    first, before = ids(read_by_manifest(storage, "videos")), len(storage.puts)
    process = job.start(source, "--fresh")
    wait_for(lambda: len(storage.puts) > before + writes)
    process.kill()
    process.communicate()
    require_whole(storage)
    assert ids(read_by_manifest(storage, "videos")) == first
    settings(job.folder, storage, grace=0)
    assert job.call("upload").returncode == 0
    require_whole(storage)
    assert ids(read_by_manifest(storage, "videos")) == job.ids()
    names = {entry["name"] for entry in storage.manifest(FOLDER)["files"]}
    assert names | {"manifest.json"} == storage.objects(FOLDER).keys(), "what the killed run left is removed"


def test_what_was_replaced_stays_for_a_grace_though_all_is_slow(
    job: Night, storage: Storage, simulator: Simulator
) -> None:
    storage.fault = lambda *_: time.sleep(0.05)
    source = job.sellers(simulator.catalogue.seller_ids(2))
    job.run(source)
    before = storage.manifest(FOLDER)
    job.run(source, "--fresh")
    after = storage.manifest(FOLDER)
    old = {entry["name"] for entry in before["files"]}
    assert old == {entry["name"] for entry in after["superseded"]}
    assert old < storage.objects(FOLDER).keys()
    assert after["sequence"] > before["sequence"]
    settings(job.folder, storage, grace=0)
    assert f"{len(old)} objects removed" in job.call("upload").stdout
    assert not old & storage.objects(FOLDER).keys()
    assert storage.manifest(FOLDER)["superseded"] == []
    require_whole(storage)


def test_another_data_folder_is_not_mixed_in(job: Night, simulator: Simulator) -> None:
    source = job.sellers(simulator.catalogue.seller_ids(1))
    job.run(source)
    (job.data / "state" / "copies.json").unlink()
    done = job.call("upload")
    assert done.returncode == 8
    assert "is of another data folder" in done.stderr


def test_what_is_damaged_here_is_not_copied(job: Night, storage: Storage, simulator: Simulator) -> None:
    source = job.sellers(simulator.catalogue.seller_ids(2))
    storage.fault = lambda *_: 403
    job.run(source, "--crawl-date", "2026-11-22", code=8)
    storage.fault = lambda *_: None
    path = next((job.data / "videos" / "crawl_date=2026-11-22").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-5] + b"xxxxx")
    report = job.run(source)
    assert report["copies"][0]["copied"] == [DATE, "nights"]
    assert "is damaged" in report["copies"][0]["damages"][0]
    assert {entry["crawl_date"] for entry in storage.manifest(FOLDER)["files"]} == {DATE, None}
    assert job.call("upload").returncode == 8


def test_check_says_whether_the_bucket_can_be_written(job: Night, storage: Storage) -> None:
    done = job.call("check", "--online")
    assert done.returncode == 0, done.stderr
    assert "can be written" in done.stdout
    assert not storage.objects()
    storage.fault = lambda *_: 403
    refused = job.call("check", "--online")
    assert refused.returncode == 8
    assert "cannot be used" in refused.stdout
    assert SECRET not in refused.stdout + refused.stderr


def test_the_copying_process_ends_with_who_started_it(
    job: Night, storage: Storage, simulator: Simulator
) -> None:
    storage.fault = lambda method, _path, _number: "hang" if method == "PUT" else None
    process = job.start(job.sellers(simulator.catalogue.seller_ids(1)))
    wait_for(lambda: storage.puts)
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [child for task in tasks for child in task.read_text().split()]
    assert len(children) == 1
    process.kill()
    process.communicate()
    wait_for(lambda: not Path(f"/proc/{children[0]}").exists())


def test_nowhere_to_upload_to_is_a_two(job: Night, simulator: Simulator) -> None:
    (job.folder / "config" / "crawler.toml").unlink()
    job.run(job.sellers(simulator.catalogue.seller_ids(1)))
    done = job.call("upload")
    assert done.returncode == 2
    assert "set output.url" in done.stderr
