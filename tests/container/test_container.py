"""config/container/: image, compose file and CronJob agree, and keep what docs/operations.md promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from crawler.cli import cli
from crawler.options import Settings
from crawler.scaffold.job import HOUR, MINUTE, Job
from crawler.scaffold.systemd import SERVICE, units

ROOT = Path(__file__).parents[2]
FILES = ROOT / "config" / "container"
IMAGE = (FILES / "Containerfile").read_text()
UNIT = units(Job(Path("/srv/shop"), Settings(), ("crawler",)))[SERVICE]
COMPOSE = yaml.safe_load((FILES / "compose.yaml").read_text())
NIGHTLY = COMPOSE["services"]["crawler"]
CLAIM, CRON_JOB = yaml.safe_load_all((FILES / "cronjob.yaml").read_text())
JOB = CRON_JOB["spec"]["jobTemplate"]["spec"]
POD = JOB["template"]["spec"]
(CONTAINER,) = POD["containers"]
KEY_FILE = "CRAWLER_API_KEY_FILE"
DAY_S = 86_400


def in_unit(name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert found
    return found[1]


def last_in_image(instruction: str) -> str:
    return str(re.findall(rf"^{instruction} (.*)$", IMAGE, re.MULTILINE)[-1])


def test_all_three_wait_as_long_for_what_was_paid_for() -> None:
    seconds = in_unit("TimeoutStopSec")
    assert NIGHTLY["stop_grace_period"] == f"{seconds}s"
    assert POD["terminationGracePeriodSeconds"] == int(seconds)


def test_all_three_begin_at_the_same_hour() -> None:
    assert CRON_JOB["spec"]["schedule"] == f"{MINUTE} {HOUR} * * *"
    assert (NIGHTLY["environment"]["NIGHT_HOUR"], NIGHTLY["environment"]["NIGHT_MINUTE"]) == (
        str(HOUR),
        str(MINUTE),
    )
    assert (CRON_JOB["spec"]["timeZone"], NIGHTLY["environment"]["TZ"]) == ("Etc/UTC", "UTC")


def test_all_three_have_the_same_memory() -> None:
    assert in_unit("MemoryMax") == "1G"
    assert NIGHTLY["mem_limit"] == "1g"
    assert CONTAINER["resources"]["limits"]["memory"] == "1Gi"


def test_nobody_is_root_or_may_become_it() -> None:
    user, group = last_in_image("USER").split(":")
    assert int(user) > 0
    assert NIGHTLY["user"] == f"{user}:{group}"
    assert NIGHTLY["cap_drop"] == ["ALL"]
    assert NIGHTLY["security_opt"] == ["no-new-privileges:true"]
    security, own = POD["securityContext"], CONTAINER["securityContext"]
    assert security["runAsNonRoot"] is True
    assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == {int(user)}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False


def test_only_the_volume_can_be_written() -> None:
    assert last_in_image("VOLUME") == "/data"
    assert NIGHTLY["read_only"] is True
    assert NIGHTLY["volumes"] == [
        "data:/data",
        "${CRAWL_FOLDER:?the folder that crawler init made}:/crawl:ro",
    ]
    assert "tmpfs" not in NIGHTLY
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/data"]
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_one_night_at_a_time_and_none_twice() -> None:
    spec = CRON_JOB["spec"]
    assert (spec["concurrencyPolicy"], POD["restartPolicy"], JOB["backoffLimit"]) == ("Forbid", "Never", 0)
    assert JOB["activeDeadlineSeconds"] + POD["terminationGracePeriodSeconds"] < DAY_S
    assert 0 < spec["startingDeadlineSeconds"] < DAY_S
    assert (NIGHTLY["restart"], NIGHTLY["command"][0]) == ("unless-stopped", "nightly")


def test_the_key_comes_from_a_secret() -> None:
    place = NIGHTLY["environment"][KEY_FILE]
    assert [f"/run/secrets/{name}" for name in NIGHTLY["secrets"]] == [place]
    assert COMPOSE["secrets"].keys() == set(NIGHTLY["secrets"])
    (variable,) = CONTAINER["env"]
    (secret,) = [volume for volume in POD["volumes"] if "secret" in volume]
    (mount,) = [mount for mount in CONTAINER["volumeMounts"] if mount["name"] == secret["name"]]
    assert variable == {"name": KEY_FILE, "value": f"{mount['mountPath']}/key"}
    assert "KEY" not in IMAGE


def test_the_image_is_pinned_and_asks_for_its_health() -> None:
    assert re.fullmatch(r"BASE=\S+/python:3\.\d+-slim-[a-z]+", last_in_image("ARG"))
    assert "--constraint constraints.txt" in IMAGE
    assert last_in_image("ENTRYPOINT") == '["tini", "-s", "--"]'
    assert "crawler status --max-age" in IMAGE.partition("HEALTHCHECK")[2]


@pytest.mark.parametrize("words", [NIGHTLY["command"][1:], CONTAINER["args"][2:]])
def test_the_commands_are_those_of_a_run(words: list[str]) -> None:
    context = cli.commands["run"].make_context("run", [*words])
    assert context.params["sellers"] == "sellers.csv"


def test_a_build_sees_only_what_it_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    seen = {line[1:] for line in lines if line.startswith("!")}
    copied: set[Any] = set()
    for words in re.findall(r"^COPY (?!--from)(.*)$", IMAGE, re.MULTILINE):
        copied |= set(words.split()[:-1])
    assert seen == copied
    assert lines.index("*") < lines.index(f"!{min(seen)}")
