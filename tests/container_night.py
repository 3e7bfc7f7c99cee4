"""Nights in a container: `make container`. Takes three minutes; needs root, podman and debootstrap.

The image is built on a base that debootstrap makes, so that no registry of images is needed; CONTAINER_BASE
names another base. It runs as config/container/compose.yaml says, beside a stand-in on loopback. PODMAN is
the command of podman with its global options, such as "podman --runtime runc".
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import SMALL, stand_in
from launcher import LAUNCHER

from crawler.simulator.server import Simulator, SimulatorOptions

ROOT = Path(__file__).parents[1]
FILES = ROOT / "config" / "container"
PODMAN = shlex.split(os.environ.get("PODMAN", "podman"))
SUITE = "trixie"
BASE = f"localhost/crawler-campaign-base:{SUITE}"
IMAGE = "localhost/crawler-campaign"
KEY = "sk_live_of_the_container_campaign"
BUILT_FROM = (
    ".dockerignore",
    "LICENSE",
    "README.md",
    "config",
    "constraints.txt",
    "crawler",
    "pyproject.toml",
)
SERVICE = yaml.safe_load((FILES / "compose.yaml").read_text())["services"]["crawler"]
UID = int(SERVICE["user"].partition(":")[0])
SELLERS = [str(7_494_662_098_975_000_000 + number) for number in range(30)]
MAX_PACKAGES_MB, MAX_PROGRAM_MB = 175, 8


def why_not() -> str:
    if os.geteuid():
        return "needs root"
    missing = [name for name in (PODMAN[0], "debootstrap") if shutil.which(name) is None]
    return f"needs {' and '.join(missing)}" if missing else ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


def podman(*words: str, code: int | None = 0) -> str:
    done = subprocess.run([*PODMAN, *words], text=True, capture_output=True, check=False)
    assert code is None or done.returncode == code, (
        f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    return done.stdout + (done.stderr if code else "")


def base(folder: Path) -> str:
    """The image to build on; it is kept for the next campaign."""
    if given := os.environ.get("CONTAINER_BASE"):
        return given
    if subprocess.run([*PODMAN, "image", "exists", BASE], check=False).returncode:
        wanted = "--include=ca-certificates,python3,python3-venv,tzdata"
        subprocess.run(["debootstrap", "--variant=minbase", wanted, SUITE, str(folder)], check=True)
        packed = ["tar", "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "-C", str(folder)]
        with subprocess.Popen([*packed, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run([*PODMAN, "import", "-", BASE], stdin=tar.stdout, check=True)
        shutil.rmtree(folder)
    return BASE


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built in a folder that has what must not come into it, too."""
    folder = tmp_path_factory.mktemp("context")
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for place in ("key", "crawler/__pycache__/key", "config/key", "data/key"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(KEY)
    start = time.monotonic()
    words = ["build", "--format=docker", "--isolation=chroot", "--network=host", f"--tag={IMAGE}"]
    words += [
        f"--build-arg=BASE={base(tmp_path_factory.mktemp('base'))}",
        f"--file={FILES / 'Containerfile'}",
    ]
    # The machine's own way to the packages.
    words += [
        f"--volume={path}:{path}:ro" for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()
    ]
    podman(*words, str(folder))
    print(f"\nbuilt in {time.monotonic() - start:.0f} s")
    return IMAGE


@dataclass
class Shop:
    """A folder that `crawler init` made, a volume, and what compose.yaml says, for podman."""

    folder: Path
    volume: str
    image: str

    @property
    def data(self) -> Path:
        return Path(podman("volume", "inspect", "--format={{.Mountpoint}}", self.volume).strip())

    def flags(self, health: str = "--no-healthcheck", **environ: str) -> list[str]:
        given = {**SERVICE["environment"], **environ}
        return [
            *("--network=host", health, "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"),
            *(["--read-only", "--read-only-tmpfs=false"] if SERVICE["read_only"] else []),
            *(f"--user={SERVICE['user']}", f"--memory={SERVICE['mem_limit']}"),
            *(f"--pids-limit={SERVICE['pids_limit']}", f"--stop-timeout={SERVICE['stop_grace_period'][:-1]}"),
            *(f"--cap-drop={name}" for name in SERVICE["cap_drop"]),
            *(f"--security-opt={option}" for option in SERVICE["security_opt"]),
            *(f"--env={name}={value}" for name, value in given.items()),
            *(f"--volume={self.volume}:/data", f"--volume={self.folder}:/crawl:ro"),
            f"--volume={self.folder / 'key'}:{given['CRAWLER_API_KEY_FILE']}:ro",
        ]

    def run(self, *words: str, code: int = 0, **environ: str) -> str:
        return podman("run", "--rm", *self.flags(**environ), self.image, *words, code=code)

    def start(self, *words: str, **environ: str) -> str:
        return podman("run", "--detach", *self.flags(**environ), self.image, *words).strip()

    def ended(self, container: str) -> tuple[int, str]:
        """The exit code, once it has ended, and what was logged."""
        code = int(podman("wait", container))
        return code, podman("logs", container, code=None)

    def report(self) -> dict[str, Any]:
        """The latest one."""
        path = max(self.data.glob("runs/*/report.json"))
        return dict(json.loads(path.read_text()))


Begin = Callable[..., Shop]


@pytest.fixture
def begin(image: str, tmp_path: Path) -> Iterator[Begin]:
    volume = f"crawler-campaign-{os.getpid()}"

    def at(simulator: Simulator, settings: str = "") -> Shop:
        folder = tmp_path / "shop"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLER_", "KEYAPI_"))}
        assert LAUNCHER.run(["init", str(folder)], clean, tmp_path).returncode == 0
        (folder / "key").write_text(KEY)
        (folder / "sellers.csv").write_text("\n".join(["seller_id", *SELLERS]))
        (folder / "config" / "crawler.toml").write_text(
            f'[api]\nurl = "{simulator.url}"\n[run]\nqps = 50\n{settings}'
        )
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, UID, UID)
        podman("volume", "create", volume)
        return Shop(folder, volume, image)

    yield at
    for container in podman("ps", "--all", "--quiet", f"--filter=volume={volume}").split():
        podman("rm", "--force", "--time=5", container)
    podman("volume", "rm", volume)


def until(is_so: Callable[[], object], seconds: float = 60, pause: float = 0.05) -> None:
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(pause)


def options(latency: float = 0.0) -> SimulatorOptions:
    return SimulatorOptions(SMALL, key=KEY, latency=latency)


def first_process(container: str) -> int:
    return int(podman("inspect", "--format={{.State.Pid}}", container))


def processes_of(container: str) -> dict[str, str]:
    """The state of each process beside the first, by name."""
    first = str(first_process(container))
    namespace = Path(f"/proc/{first}/ns/pid").stat().st_ino
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if path.name != first and (path / "ns" / "pid").stat().st_ino == namespace:
                name, state = (path / "stat").read_text().partition("(")[2].split()[:2]
                found[f"{name} {path.name}"] = state
    return found


def test_the_image_is_small_and_holds_no_key(image: str) -> None:
    (found,) = json.loads(podman("image", "inspect", image))
    history = json.loads(podman("history", "--format=json", image))
    sizes = [round(layer["size"] / 1e6, 1) for layer in history if layer["size"]]
    print(f"\n{found['Size'] / 1e6:.0f} MB; layers from the top: {sizes} MB")
    program, packages = [layer["size"] / 1e6 for layer in history if "COPY dir:" in layer["CreatedBy"]]
    assert program < MAX_PROGRAM_MB
    assert packages < MAX_PACKAGES_MB
    assert KEY not in podman("history", "--no-trunc", image) + json.dumps(found)
    assert found["Config"]["User"] == SERVICE["user"]
    mounted = Path(podman("image", "mount", image).strip())
    try:
        told = subprocess.run(
            ["grep", "-rlF", KEY, str(mounted)], capture_output=True, text=True, check=False
        )
        assert told.stdout == ""
        assert (mounted / "data").stat().st_uid == UID
    finally:
        podman("image", "unmount", image)


def test_a_night_is_published_on_a_read_only_root(begin: Begin) -> None:
    with stand_in(options()) as simulator:
        shop = begin(simulator)
        shop.run("crawler", "check", "sellers.csv")
        log = shop.run("crawler", "run", "sellers.csv")
    report = shop.report()
    assert report["exit_code"] == 0
    assert report["sellers"]["complete"] == len(SELLERS)
    assert KEY not in log
    files = [path for path in shop.data.rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in files} == {UID}
    assert [path for path in files if path.suffix == ".parquet"]
    assert [path for path in files if path.name == "report.html"]


def test_a_stopped_night_goes_on_and_pays_for_nothing_twice(begin: Begin) -> None:
    with stand_in(options(latency=0.2)) as simulator:
        shop = begin(simulator)
        words = ("crawler", "run", "sellers.csv", "--crawl-date", f"{datetime.now(UTC):%Y-%m-%d}")
        container = shop.start(*words)
        until(lambda: simulator.stats.requests >= 10)
        podman("stop", container)
        code, log = shop.ended(container)
        assert (code, shop.report()["exit_code"]) == (143, 143), log
        assert [*(shop.data / "videos").rglob("*.parquet")]
        paid = simulator.stats.credits
        shop.run(*words)
    assert shop.report()["sellers"]["complete"] == len(SELLERS)
    assert paid < simulator.stats.credits
    assert set(simulator.stats.pages.values()) == {1}


def test_a_stop_in_the_first_instant_is_not_lost(begin: Begin) -> None:
    """Python has no handler yet, and the kernel drops a signal for PID 1 that has none."""
    with stand_in(options()) as simulator:
        shop = begin(simulator)
        words = ["create", *shop.flags(), shop.image, "crawler", "run", "sellers.csv"]
        container = podman(*words).strip()
        podman("init", container)
        first = first_process(container)
        with subprocess.Popen([*PODMAN, "start", container], stdout=subprocess.DEVNULL):
            until(lambda: not Path(f"/proc/{first}/comm").read_text().startswith("runc"), pause=0.001)
            time.sleep(0.005)
            os.kill(first, signal.SIGTERM)
    assert int(podman("wait", container)) == 143
    assert not simulator.stats.requests


def test_a_second_container_finds_the_folder_in_use(begin: Begin) -> None:
    with stand_in(options(latency=0.5)) as simulator:
        shop = begin(simulator)
        container = shop.start("crawler", "run", "sellers.csv")
        until(lambda: simulator.stats.requests)
        asked = simulator.stats.requests
        assert "in use" in shop.run("crawler", "run", "sellers.csv", code=7)
        assert simulator.stats.requests >= asked
        assert shop.ended(container)[0] == 0


def test_what_a_notify_command_leaves_behind_is_reaped(begin: Begin) -> None:
    """While the webhook hangs, the orphan of the command ends; PID 1 has to wait for it."""
    orphan = ["sh", "-c", "setsid sh -c 'sleep 0.5; touch /data/orphan' &"]
    with stand_in(options()) as simulator, socket.create_server(("127.0.0.1", 0)) as hanging:
        webhook = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        settings = f"[notify]\ncommand = {json.dumps(orphan)}\nwebhook_url = '{webhook}'\ntimeout = 8\n"
        shop = begin(simulator, settings)
        container = shop.start("crawler", "run", "sellers.csv")
        until((shop.data / "orphan").exists)
        time.sleep(0.5)
        states = processes_of(container)
        assert any(name.startswith("crawler") for name in states), states
        assert "Z" not in states.values(), states
        assert shop.ended(container)[0] == 0


def test_the_health_check_says_whether_the_newest_snapshot_is_fresh(begin: Begin) -> None:
    with stand_in(options()) as simulator:
        shop = begin(simulator)
        waiting = shop.start(*SERVICE["command"], health="--health-interval=disable")
        strict = {"SNAPSHOT_MAX_AGE": "1ms"}
        stricter = shop.start(*SERVICE["command"], health="--health-interval=disable", **strict)
        podman("healthcheck", "run", waiting, code=1)
        shop.run("crawler", "run", "sellers.csv")
        podman("healthcheck", "run", waiting)
        podman("healthcheck", "run", stricter, code=1)
        podman("stop", waiting, stricter)
        assert int(podman("wait", waiting)) == 143


def test_a_night_begins_at_its_hour_and_the_next_one_is_waited_for(begin: Begin) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1, seconds=5)
    with stand_in(options()) as simulator:
        shop = begin(simulator)
        container = shop.start(*SERVICE["command"], NIGHT_HOUR=str(soon.hour), NIGHT_MINUTE=str(soon.minute))
        time.sleep(1)
        assert not simulator.stats.requests
        code, log = shop.ended(container)
        assert (code, shop.report()["exit_code"]) == (0, 0), log
        began = datetime.fromisoformat(shop.report()["started_at"])
        assert began.replace(second=0, microsecond=0) == soon.replace(second=0, microsecond=0)
        asked = simulator.stats.requests
        podman("start", container)
        time.sleep(3)
        assert podman("inspect", "--format={{.State.Running}}", container).strip() == "true"
        assert simulator.stats.requests == asked
        assert f"{soon + timedelta(days=1):%Y-%m-%dT%H:%M}" in podman("logs", container)


def test_a_night_that_was_missed_is_made_up_for_but_not_before_the_first(begin: Begin) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    hour = {"NIGHT_HOUR": str(past.hour), "NIGHT_MINUTE": str(past.minute)}
    with stand_in(options()) as simulator:
        shop = begin(simulator)
        first = shop.start(*SERVICE["command"], **hour)
        mark = shop.data / ".night-begun"
        until(mark.exists)
        time.sleep(2)
        podman("stop", first)
        assert not simulator.stats.requests
        os.utime(mark, ((past - timedelta(days=1)).timestamp(),) * 2)
        code, log = shop.ended(shop.start(*SERVICE["command"], **hour))
    assert (code, shop.report()["exit_code"]) == (0, 0), log


def test_kubernetes_would_take_the_cron_job() -> None:
    for document in yaml.safe_load_all((FILES / "cronjob.yaml").read_text()):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
