"""Two weeks of nights that nobody watches, and what the operator was told: `make two-weeks`.

Real cron starts the line of `crawler init --cron` under a clock that jumps from night to night; the API has
outages, the disk fills up, the key expires. What comes by each channel is kept and checked: nothing that
matters is left unsaid, nothing is said twice, and a good night costs no mail. Takes ten minutes; needs root,
cron and faketime; asks promtool as well where it is installed. `--table FILE` writes the log for the docs.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as of_day
from pathlib import Path

import orjson
from alert_states import Look, disagreement, firing, read_figures
from faked_world import (
    CRAWLER,
    Api,
    Machine,
    Message,
    await_end,
    await_that,
    crawls,
    go_alone,
    kill_crawl,
    why_not,
)

from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.server import KEY

FIRST = date(2026, 11, 30)
NIGHT, MORNING = of_day(2, 10, tzinfo=UTC), of_day(8, 0, tzinfo=UTC)
SELLERS, LARGEST = 300, 30
DISK_MIB = 400
MAX_AGE = "26h"
SETTINGS = """\
[notify]
ping_url = "{url}/ping"
webhook_url = "{url}/webhook"
command = ["/bin/sh", "-c", "cat > {base}/commands/$CRAWLER_RESULT_RID.json"]

[metrics]
textfile = "{base}/crawler.prom"
"""
# On a living API lists change while they are read.
LIVING = ("--drift", "2")
CHANGED = (*LIVING, "--outage", "no-region")
AS_BEFORE = ("as before",)
CHANNELS = ("ping", "webhook", "command", "mail")
MOST_MAIL_LINES = 3
JUMPED = "this machine's clock says"


@dataclass
class Night:
    """A night as it was planned, and what came of it.

    `api` are options of the stand-in, None where cron is off. `ends` is the run's exit code, None for one
    that does not end. Each message must say the `cause`, as a regular expression; later reports say `later`
    once. `while_on` is done to the run, `by_hand` by the operator in the morning. `means` is what the
    operator makes of it. `by_hand_messages` is what came of what was done by hand.
    """

    what: str
    means: str
    api: tuple[str, ...] | None = LIVING
    ends: int | None = 0
    cause: str = ""
    later: str = ""
    mails: bool = False
    while_on: Callable[[Weeks], None] | None = None
    by_hand: Callable[[Weeks, Night], str] | None = None
    day: date = FIRST
    messages: list[Message] = field(default_factory=list)
    by_hand_messages: list[Message] = field(default_factory=list)
    monitor: str = ""
    alerts: list[str] = field(default_factory=list)
    done: str = ""

    def by(self, channel: str) -> list[Message]:
        """What came by a channel; of pings not those of starts."""
        return [one for one in self.messages if one.channel == channel and one.what != "/start"]


class Weeks:
    """The nights, one after the other."""

    def __init__(self, base: Path) -> None:
        self.machine = Machine(base)
        self.api = Api(self.machine)
        self.nights = planned()
        self.looks: list[Look] = []
        self.faults: list[str] = []

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.machine.shop / "data"

    def set_up(self) -> None:
        """Do what an operator does once: init, list, key, settings, crontab."""
        machine = self.machine
        machine.clock.set(at(FIRST, NIGHT) - timedelta(hours=5))
        self.api.serve()
        done = machine.call([CRAWLER, "init", str(machine.shop), "--cron"])
        assert done.returncode == 0, done.stderr
        catalogue = Catalogue(CatalogueOptions(), 0)
        small = [one for one in catalogue.seller_ids(SELLERS * 2) if 0 < catalogue.size(one) < LARGEST]
        (machine.shop / "sellers.csv").write_text("\n".join(["seller_id", *small[:SELLERS]]) + "\n")
        (machine.shop / "key").write_text(KEY)
        settings = machine.shop / "config" / "crawler.toml"
        text = settings.read_text().replace("https://api.keyapi.ai", self.api.url)
        for name, value in {"qps": "100", "patience": "20"}.items():
            text = re.sub(rf"^{name} = \S+", f"{name} = {value}", text, count=1, flags=re.MULTILINE)
        for part in SETTINGS.format(url=machine.receivers.url, base=machine.base).split("\n\n"):
            head, _, rest = part.partition("\n")
            text = text.replace(f"\n{head}\n", f"\n{head}\n{rest}\n", 1)
        settings.write_text(text)
        table = machine.shop / "crontab"
        clock = "".join(f"{name}={value}\n" for name, value in machine.clock.environ.items())
        table.write_text(clock + table.read_text())
        installed = machine.paste(done.stdout.strip().splitlines()[-1].strip())
        assert installed.returncode == 0, installed.stderr
        machine.mount_data(DISK_MIB)

    def play(self) -> None:
        """Play every night and the morning after it."""
        self.set_up()
        for night in self.nights:
            if night.api is not None:
                self._night(night, night.api)
            self._morning(night)
            print(" | ".join(row(night)), flush=True)
        self.api.end()
        self._sort_by_date()

    def _night(self, night: Night, api: tuple[str, ...]) -> None:
        machine = self.machine
        machine.clock.set(at(night.day, NIGHT) - timedelta(minutes=1))
        if api != AS_BEFORE:
            self.api.serve(*api)
        with machine.cron(at(night.day, NIGHT)):
            (night.while_on or (lambda _: await_end()))(self)
        night.messages += machine.new_messages()
        self._look()

    def _morning(self, night: Night) -> None:
        machine = self.machine
        machine.clock.set(at(night.day, MORNING))
        if crawls():
            await_that(self._is_written, "the run writes its metrics")
        asked = machine.call([CRAWLER, "status", "--max-age", MAX_AGE])
        night.monitor = f"{asked.returncode}: {asked.stdout.strip()}"
        night.alerts = self._look()
        if night.by_hand is not None:
            night.done = night.by_hand(self, night)
            night.by_hand_messages += machine.new_messages()

    def _figures(self) -> dict[str, float]:
        return dict(read_figures(self.machine.base / "crawler.prom"))

    def _is_written(self) -> bool:
        written = self._figures().get("crawler_written_timestamp_seconds", 0.0)
        return self.machine.clock.now().timestamp() - written < 60

    def _look(self) -> list[str]:
        """Read the metrics, as Prometheus does; returns the alerts that fire."""
        now, figures = self.machine.clock.now(), self._figures()
        alerts = firing(figures, now.timestamp())
        self.looks.append(Look(now, figures, alerts))
        return alerts

    def await_requests(self, count: int) -> None:
        """Wait until the run that is on has sent so many."""
        await_that(lambda: self.api.requests() >= count, f"{count} requests")

    def _sort_by_date(self) -> None:
        """Give what a night told a day later to the night that it is of."""
        for earlier, night in zip(self.nights, self.nights[1:], strict=False):
            late = [one for one in night.messages if day_of(one) == str(earlier.day)]
            night.messages = [one for one in night.messages if one not in late]
            earlier.messages += late
            night.messages = [
                one for one in map(without_jump, night.messages) if one.text or one.channel != "mail"
            ]


def day_of(one: Message) -> str:
    """The crawl date that a message is of; empty where it does not say."""
    if one.text.startswith("{"):
        return str(orjson.loads(one.text)["crawl_date"])
    found = re.match(r"crawl date ([\d-]+):", one.text)
    return found[1] if found else ""


def without_jump(one: Message) -> Message:
    """A message without what a run says of the clock, which is set while it is on."""
    lines = [line for line in one.text.splitlines(keepends=True) if JUMPED not in line]
    return replace(one, text="".join(lines).strip("\n") and "".join(lines))


def at(day: date, hour: of_day) -> datetime:
    return datetime.combine(day, hour)


def kill(weeks: Weeks) -> None:
    weeks.await_requests(200)
    kill_crawl()
    await_end()


def fill_disk(weeks: Weeks) -> None:
    """Another program writes until nothing fits any more."""
    weeks.await_requests(200)
    with suppress(OSError), (weeks.data / "core").open("wb", 0) as file:
        while True:
            file.write(bytes(1 << 20))
    await_end()


def leave_on(weeks: Weeks) -> None:
    weeks.await_requests(20)


def let_the_other_end(weeks: Weeks) -> None:
    """The night that finds another one on ends, and then the other one."""
    await_end(left=1)
    weeks.machine.collect()
    weeks.machine.clock.set(weeks.machine.clock.now() + timedelta(hours=1))
    await_end()


def go_on(weeks: Weeks, night: Night) -> str:
    """The API is well again: paste the command that the ping has."""
    weeks.api.serve(*LIVING)
    return pasted(weeks, night, "go on with it by: ")


def make_room(weeks: Weeks, night: Night) -> str:
    (weeks.data / "core").unlink()
    return go_on(weeks, night)


def renew_key(weeks: Weeks, night: Night) -> str:
    (weeks.machine.shop / "key").write_text(KEY)
    return go_on(weeks, night)


def accept(weeks: Weeks, night: Night) -> str:
    return pasted(weeks, night, "publish it as it is by: ")


def publish_the_killed(weeks: Weeks, night: Night) -> str:
    return pasted(weeks, night, "publish it by: ")


def pasted(weeks: Weeks, night: Night, before: str) -> str:
    """Paste the command that follows these words in the last ping, in a shell in another folder."""
    found = re.search(f"{before}(.*?)(?:; |$)", night.by("ping")[-1].text, re.MULTILINE)
    if found is None:
        weeks.faults.append(f"{night.day}: the ping has no command after {before!r}")
        return ""
    done = weeks.machine.paste(found[1])
    printed = (done.stdout + done.stderr).strip()
    if done.returncode:
        weeks.faults.append(f"{night.day}: {found[1]} ends with {done.returncode}: {printed}")
    return f"{found[1]}\n{printed}"


def planned() -> list[Night]:
    """The two weeks, and the night after them."""
    nights = [
        Night("good", "nothing to do"),
        Night("good", "nothing to do"),
        Night(
            "the API has no videos of anybody",
            "an outage of the API: it took a handful of requests, nothing is published; waits",
            ("--outage", "empty"),
            10,
            "6 of 6 canaries is wrong: 6 times it is empty",
        ),
        Night("good", "the API is well again; of 12-02 there will be no snapshot (one note, no mail)"),
        Night(
            "the API answers 500 to everything",
            "the API was down; the command would go on with it; left alone",
            ("--faults", "status=500:1"),
            9,
            r"500 \(Internal server error\)",
        ),
        Night(
            "the disk fills up in the middle",
            "no disk: makes room, pastes the command, the night is complete at 08:00",
            LIVING,
            8,
            "0 MiB are free",
            while_on=fill_disk,
            by_hand=make_room,
        ),
        Night(
            "the key has expired",
            "the key: a new one into its file, pastes the command, the night is complete at 08:00",
            ("--faults", "status=401:1"),
            5,
            r"401 \(apiKey is invalid\)",
            by_hand=renew_key,
        ),
        Night(
            "kill -9 in the middle",
            "a run began and did not end",
            ends=None,
            cause="Killed",
            later="of crawl date 2026-12-07, begun at .* died",
            mails=True,
            while_on=kill,
        ),
        Night("cron is off", "no start: the machine or cron", None, None),
        Night(
            "cron is off",
            "the same; starts cron again",
            None,
            None,
            later="nothing ran on 2 crawl dates before this one: 2026-12-08 to 2026-12-09",
        ),
        Night(
            "good, and says what was missed",
            "one run died, two dates are lost; pastes the command that publishes what the dead one had",
            mails=True,
            by_hand=publish_the_killed,
        ),
        Night(
            "no video has a region any more, truly",
            "asks the vendor: it is meant so; pastes the command that accepts it",
            CHANGED,
            10,
            "region",
            by_hand=accept,
        ),
        Night(
            "429s: the night takes a day",
            "a run began and has not ended: `status --watch` shows it",
            (*CHANGED, "--qps", "5"),
            while_on=leave_on,
        ),
        Night(
            "the night before is still on",
            "tonight's date is not begun; the night before ended well at 03:11; leaves it",
            AS_BEFORE,
            7,
            "in use by|holds",
            later="nothing ran on 1 crawl date before this one: 2026-12-13",
            while_on=let_the_other_end,
        ),
        Night("good, and says what was missed", "12-13 is lost", CHANGED, mails=True),
    ]
    for number, night in enumerate(nights):
        night.day = FIRST + timedelta(days=number)
    return nights


def faults(weeks: Weeks) -> Iterator[str]:
    """What the operator was not told, or told too often."""
    nights = weeks.nights
    for night in nights:
        said = dict.fromkeys(CHANNELS, 0) | {name: len(night.by(name)) for name in CHANNELS}
        ended = int(night.ends is not None)
        wanted = {
            "ping": ended,
            "webhook": ended,
            "command": ended,
            "mail": int(night.mails or bool(night.ends)),
        }
        if said != wanted:
            yield f"{night.day} was told by {said}, not {wanted}"
        starts = sum(one.what == "/start" for one in night.messages)
        if starts != (night.api is not None):
            yield f"{night.day}: {starts} pings of a start"
        yield from _unsaid(night)
    for night in nights:
        yield from _not_once(night, [other for other in nights if other.day > night.day])
    mornings = [at(night.day, MORNING) for night in nights]
    if (found := disagreement(weeks.looks, mornings, weeks.machine.base)) and "not asked" not in found:
        yield f"promtool finds other alerts: {found}"


def _unsaid(night: Night) -> Iterator[str]:
    """Messages of a night that lack its cause or its exit code."""
    for one in night.messages:
        if one.what != "/start" and night.cause and not re.search(night.cause, one.text):
            yield f"{night.day}: the {one.channel} does not say {night.cause!r}: {one.text}"
    for one in night.by("ping"):
        if one.what != (f"/{night.ends}" if night.ends else "/"):
            yield f"{night.day}: pinged {one.what}"
    for one in night.by("mail"):
        if one.lines > MOST_MAIL_LINES:
            yield f"{night.day}: a mail of {one.lines} lines: {one.text}"
    is_bad = night.ends not in {0, None}
    if is_bad and not night.alerts and night.ends != 7:
        yield f"{night.day}: no alert fires in the morning"
    if night.ends == 0 and night.while_on is None and (night.alerts or night.monitor[0] != "0"):
        yield f"{night.day}: {night.monitor}, {night.alerts}"


def _not_once(night: Night, later: list[Night]) -> Iterator[str]:
    """What later nights say of this one too often, or do not say."""
    for channel in CHANNELS:
        texts = [one.text for other in later for one in other.by(channel)]
        if night.later and sum(bool(re.search(night.later, text)) for text in texts) != 1:
            yield f"{night.day}: not said once by {channel} later: {night.later!r}"
        of_date = f"crawl date {night.day} is unfinished"
        if sum("are out of date" in text for text in texts):
            yield f"{night.day}: {channel} says later that changes are out of date, as the command did"
        reminded = sum(text.count(of_date) for text in texts)
        if reminded > (channel != "mail"):
            yield f"{night.day}: {channel} says {reminded} times later that it is unfinished"


def row(night: Night) -> list[str]:
    """The night as a row of a table: when, what, told at night, told in the morning, what it means."""
    by_minute: dict[str, list[str]] = {}
    for one in sorted(night.messages, key=lambda one: (one.at, CHANNELS.index(one.channel))):
        # The command is given what the webhook is, at the same time.
        if one.channel != "command":
            by_minute.setdefault(f"{one.at:%H:%M}", []).append(shown(one))
    notified = [f"{minute} {', '.join(messages)}" for minute, messages in by_minute.items()]
    alerts = ", ".join(name.removeprefix("Crawler") for name in night.alerts) or "no alert"
    age = night.monitor.partition(": ")[2].partition(":")[0]
    return [
        f"{night.day:%m-%d}",
        night.what,
        "; ".join(notified) or "nothing",
        f"{age}; {alerts}",
        night.means,
    ]


def shown(one: Message) -> str:
    if one.channel == "webhook" or one.what == "/start":
        return one.channel if one.channel == "webhook" else "ping `/start`"
    name = "mail" if one.channel == "mail" else f"ping `{one.what}`"
    return f"{name} of {one.lines} line{'s' if one.lines != 1 else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="write the log as a table")
    parser.add_argument("--messages", type=Path, help="write all messages as JSON")
    options = parser.parse_args()
    if reason := why_not():
        print(f"not played: {reason}")
        return 0
    go_alone()
    began, base = time.monotonic(), Path(tempfile.mkdtemp(prefix="two-weeks-"))
    weeks = Weeks(base)
    try:
        weeks.play()
    finally:
        if options.messages:
            options.messages.write_bytes(orjson.dumps(weeks.nights, option=orjson.OPT_INDENT_2, default=str))
    found = [*weeks.faults, *faults(weeks)]
    shutil.rmtree(base, ignore_errors=True)
    if options.table:
        options.table.write_text("".join(f"| {' | '.join(row(night))} |\n" for night in weeks.nights))
    for fault in found:
        print(fault)
    print(f"{len(weeks.nights)} nights, {time.monotonic() - began:.0f} s, {len(found)} faults")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
