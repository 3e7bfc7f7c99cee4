"""Simulated months of `--strategy freshest` on a virtual clock: one seed decides everything, and replays it.

The real run, journal, ledger and publishing work against shops that live from night to night, with kills,
failures, missing nights, damaged files, lists that change, other strategies, and data folders that are
restored or lose their `state/`. After each run every promise is compared with what the API really answered.

    python tests/months.py [--months 200] [--nights 30] [--first 0] [--jobs 2] [--replay SEED]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import traceback
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from hashlib import blake2b
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from month_checks import Key, Published, check_snapshot, oldest_row, overdue, read_published
from month_shops import Api, Served, Shop, Weather, new_shop
from seeds import Played, own_folder, play_all, quiet_down
from steps import STEPS
from virtual_process import Crash, CrashingLoop, Evening, SlowExecutor, expect

from crawler.history.reader import published_dates
from crawler.models.keys import ApiKey
from crawler.models.stretches import STRETCH_PAGES
from crawler.nightly import showing
from crawler.nightly.night import Night
from crawler.nightly.process import Signals
from crawler.nightly.run import run_night
from crawler.nightly.world import World
from crawler.options import OPTIONS, Settings
from crawler.report.run_report import RunReport
from crawler.sellers.listing import SellerList
from crawler.settings.load import load
from crawler.store import failpoints
from crawler.store.digests import published_digests, verified
from crawler.store.journal import Journal
from crawler.store.layout import Layout, published_file
from crawler.store.ledger import Ledger

BEGIN = date(2026, 3, 1)
NIGHTS = 30
MOST_RUNS = 5
CALM_EVERY = 4
"""Of so many seeds one has no failure: its ages, costs and exit codes must be as promised."""
OTHERS = ("depth-first", "breadth-first", "best-first")
TELL = bool(os.environ.get("TELL_MONTHS"))
# No page is drawn of these nights: it would take longer than most of them.
showing._write_page = lambda *_: None


@dataclass
class Month(Evening):
    """A seller list from night to night, and what was published of it that is still there."""

    seed: int
    folder: Path
    rng: Random = field(init=False)
    shops: dict[str, Shop] = field(default_factory=dict)
    listed: list[str] = field(default_factory=list)
    served: Served = field(default_factory=Served)
    published: Published = field(default_factory=Published)
    day: date = BEGIN
    clock: float = 0.0
    runs: int = 0
    sent: list[tuple[str, int]] = field(default_factory=list)
    all_sent: int = 0
    loop: CrashingLoop | None = None
    crashed: bool = False
    strategies: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    state_lost: bool = False

    def __post_init__(self) -> None:
        self.rng = rng = Random(f"month {self.seed}")
        self.is_calm = self.seed % CALM_EVERY == 0
        self.max_age = rng.choice((1, 2, 3, 5, 7, 7, 10))
        self.value = rng.choice(("views", "views", "sales", "gmv", "rows"))
        self.keep_days = rng.choice((1, 3, 30))
        self.stop = rng.choice(("short", "short", "empty"))
        self.served.ends_empty = self.stop == "empty"
        self.lookahead = rng.choice(("off", "history", "gallop"))
        self.restore_at = (
            () if self.is_calm or rng.random() < 0.7 else sorted(rng.sample(range(1, NIGHTS), 2))
        )
        for _ in range(rng.choice((1, 2, 3, 5, 7))):
            self.add_shop()
        cost = sum(shop.pages for shop in self.shops.values())
        share = rng.choice((0.05, 0.2, 0.3, 0.4, 0.6, 0.8, 1.3))
        self.budget = None if rng.random() < 0.1 else max(1, ceil(cost * share))

    def add_shop(self) -> None:
        """Put a new seller on the list."""
        seller_id = str(7_000_000_000 + len(self.shops))
        self.shops[seller_id] = new_shop(seller_id, self.rng, self.day)
        self.listed.append(seller_id)

    @property
    def cost(self) -> int:
        """Requests that it takes to read the list tonight."""
        return sum(self.shops[seller_id].pages for seller_id in self.listed)

    @property
    def bearable(self) -> int:
        """A budget that surely bears to read all every `max_age` nights, whatever is new tonight."""
        largest = max(min(STRETCH_PAGES, self.shops[seller_id].pages) for seller_id in self.listed)
        return ceil(self.cost * 1.15 / self.max_age) + largest + len(self.listed)

    def tell(self, text: str) -> None:
        """Note what happens, for a replay."""
        self.said.append(f"{self.day} {text}")
        if TELL:
            print(self.said[-1], flush=True)

    def digest(self) -> str:
        """Equal for two months that went the same way."""
        return blake2b("\n".join(self.said).encode(), digest_size=8).hexdigest()

    # One run

    def run(self, weather: Weather, strategy: str, budget: int | None) -> RunReport | None:
        """One run of the date; None where it was killed."""
        self.runs += 1
        self.crashed, signals = False, Signals()
        listed = SellerList("sellers.csv", pa.array(self.listed, pa.string()), 0, 0)
        api = Api(self.shops, self.served, self.day, weather, self.rng)
        api.now_ms = int(self.now().timestamp() * 1000)
        failpoints.on_reach = self._reach(weather)
        report = None
        try:
            night = Night(
                self.settings(strategy, budget),
                (ApiKey("k"),),
                listed,
                "sellers.csv",
                self.day,
                signals,
                self._world(api, weather, signals),
            )
            report = run_night(night)
        except Crash:
            self.crashed = True
        finally:
            failpoints.on_reach = None
            self.end_run(60.0)
            self.sent += api.sent
            self.all_sent += len(api.sent)
        how = "killed" if report is None else f"exit {report.exit_code} {report.message}"
        met = {k: v for k, v in vars(weather).items() if v != getattr(Weather(), k)}
        self.tell(f"{strategy}, budget {budget}, {met}: {len(api.sent)} sent; {how}")
        for note in report.notes if report is not None and TELL else ():
            self.tell(f"  {note}")
        return report

    def settings(self, strategy: str, budget: int | None) -> Settings:
        """Settings of one run."""
        values = {
            "run.data": str(self.folder),
            "run.qps": 40.0,
            "run.strategy": strategy,
            "run.stop": self.stop,
        }
        values |= {"run.max_age": self.max_age, "run.value": self.value, "run.lookahead": self.lookahead}
        values |= {"run.keep_days": self.keep_days, "run.patience": 30.0, "credits.budget": budget}
        values |= {"api.url": "https://right.test", "log.quiet": True, "log.no_progress": True}
        # Nights of a few sellers, of which some lose half their videos, are no usual ones.
        values |= {name: 1.0 for name in OPTIONS if re.fullmatch(r"plausibility\.\w+_ceiling", name)}
        given = {name: value for name, value in values.items() if value is not None}
        return load(given, Path(os.devnull), {}).settings

    def _reach(self, weather: Weather) -> Any:
        seen = Counter[str]()

        def reach(step: str) -> None:
            seen[step] += 1
            if self.crashed or (step, seen[step]) == weather.crash_at_point:
                self.crashed = True
                raise Crash

        return reach

    def _world(self, api: Api, weather: Weather, signals: Signals) -> World:
        return World(
            now=self.now,
            token=lambda: f"{self.runs:04}",
            rng=self.rng,
            run=lambda main: self.drive(main, weather.crash_at_step, weather.signal_at, signals.receive),
            executor=lambda _name: SlowExecutor(lambda: self.rng.random() * 0.01),
            api=lambda _settings, _key: api,
            free_bytes=lambda _folder: 1 << 40,
            uptime=lambda: None,
        )


def weather_of(month: Month) -> Weather:
    """What a run meets: mostly nothing."""
    rng, weather = month.rng, Weather()
    if month.is_calm or rng.random() < 0.5:
        return weather
    for happens in rng.sample(EVENTS, k=rng.choice((1, 1, 2))):
        happens(weather, month)
    return weather


def _set(name: str, *choices: Any) -> Any:
    return lambda weather, month: setattr(weather, name, month.rng.choice(choices))


def _some(month: Month) -> frozenset[str]:
    return frozenset(month.rng.sample(month.listed, 1 + (month.rng.random() < 0.2 and len(month.listed) > 1)))


EVENTS: list[Any] = [
    _set("throttling", 0.02, 0.3),
    _set("failing", 0.02, 0.3),
    _set("lost", 0.02, 0.2),
    _set("null", 0.02, 0.2),
    _set("short", 0.02, 0.2),
    _set("down_from", 0.0, 1000.5, 1003.0),
    _set("signal_at", 0.0, 0.3, 2.0),
    _set("crash_at_step", 10, 60, 200, 400, 900, 1500, 3000),
    _set("crash_at_step", 30, 120, 300, 700, 1200, 2000),
    lambda weather, month: setattr(
        weather, "crash_at_point", (month.rng.choice(STEPS), month.rng.choice((1, 1, 2, 5)))
    ),
    lambda weather, month: setattr(weather, "refused", _some(month)),
    lambda weather, month: setattr(weather, "sick", _some(month)),
]


def play(seed: int, folder: Path, nights: int = NIGHTS) -> Month:
    """Play so many nights of a month; raises `BrokenPromiseError` with what it broke."""
    month = Month(seed, folder / "data")
    month.folder.mkdir()
    for number in range(nights):
        if number:
            _change_the_list(month)
        if not month.is_calm and number:
            _harm(month, number, folder / "backup")
        _play_night(month)
        if month.restore_at and number == month.restore_at[0]:
            shutil.copytree(month.folder, folder / "backup")
            month.published.remember()
        _go_on(month)
    return month


def _go_on(month: Month) -> None:
    """To the next night, which may be some days later."""
    is_missing = not month.is_calm and month.rng.random() < 0.05
    for _ in range(month.rng.choice((2, 3, 5)) if is_missing else 1):
        month.day += timedelta(days=1)
        for shop in month.shops.values():
            shop.live(month.day)
    month.clock = 0.0


def _change_the_list(month: Month) -> None:
    rng = month.rng
    if month.is_calm or rng.random() > 0.1:
        return
    if rng.random() < 0.5 and len(month.shops) < 9:
        month.add_shop()
    if rng.random() < 0.5 and len(month.listed) > 1:
        month.listed.remove(rng.choice(month.listed))
    elif rng.random() < 0.5:
        month.listed = [*month.shops]
    month.tell(f"the list has {len(month.listed)} sellers")


def _harm(month: Month, number: int, backup: Path) -> None:
    """Harm what is stored, now and then."""
    rng, published = month.rng, month.published
    if month.restore_at and number == month.restore_at[1]:
        shutil.rmtree(month.folder)
        shutil.copytree(backup, month.folder)
        published.restore()
        month.tell("the data folder is restored")
    if rng.random() < 0.02:
        _remove_damaged(month)
        shutil.rmtree(Layout(month.folder).state, ignore_errors=True)
        month.state_lost = True
        published.gains = None
        month.tell("state/ is deleted")
    if rng.random() < 0.06 and published.nights:
        day = rng.choice([*published.nights, max(published.nights)])
        kind = rng.choice(("videos", "sellers", "changes"))
        if _damage(month, Layout(month.folder).snapshot(kind, day)):
            published.damaged(day, kind)
            month.tell(f"{kind}/ of {day} is damaged")


def _remove_damaged(month: Month) -> None:
    """Remove files in which a bit has flipped: once no digests are left, nobody can see that."""
    for day in published_dates(month.folder):
        digests = published_digests(month.folder, day)
        whole, _ = verified(digests, partial(published_file, month.folder))
        for path in (published_file(month.folder, name) for name in digests):
            if path not in whole:
                path.unlink(missing_ok=True)


def _damage(month: Month, folder: Path) -> bool:
    rng, files = month.rng, sorted(folder.rglob("*.parquet"))
    if not files:
        return False
    way = rng.choice(("folder", "file", "cut", "flip"))
    # Without digests nobody can see that a bit has flipped.
    if way == "folder":
        shutil.rmtree(folder)
    elif way == "file":
        files[0].unlink()
    else:
        content = bytearray(files[0].read_bytes())
        if way == "flip" and not month.state_lost:
            content[len(content) // 2] ^= 1
        else:
            del content[len(content) // 2 :]
        files[0].unlink()
        files[0].write_bytes(content)
    return True


def _play_night(month: Month) -> None:
    rng = month.rng
    month.sent, month.strategies = [], []
    month.served.begin(month.day)
    strategy, budget = "freshest", month.budget
    if not month.is_calm and rng.random() < 0.08:
        strategy = rng.choice(OTHERS)
    if not month.is_calm and rng.random() < 0.1:
        budget = rng.choice((None, 0, 1, 30, month.cost // 2))
    most, clean, is_other = budget, True, False
    for attempt in range(MOST_RUNS):
        weather = weather_of(month) if attempt < MOST_RUNS - 1 else Weather()
        before = _journaled(month)
        asked = len(month.sent)
        report = month.run(weather, strategy, budget)
        clean &= report is not None
        if report is not None:
            month.strategies.append(strategy)
        is_other |= strategy != "freshest"
        most = None if most is None or budget is None else max(most, budget)
        _check_money(month, before, month.sent[asked:], most, clean=clean)
        _check_published(month, report, weather, strategy, budget, clean=clean)
        if rng.random() < (0.8 if report is not None else 0.1):
            break
        if rng.random() < 0.1 and not month.is_calm:
            strategy = rng.choice(("freshest", *OTHERS))
        if budget is not None and rng.random() < 0.2 and not month.is_calm:
            budget += rng.choice((1, 10, 100))
    night = read_published(month.folder, month.day)
    known = (night, month.served, {*month.listed})
    month.published.add(month.day, *known, is_torn=month.crashed, is_other=is_other)


def _journaled(month: Month) -> set[Key]:
    """Seller and number of every page that the date's journal has.

    A first page without rows may be asked for again, where the seller had some before.
    """
    layout = Layout(month.folder)
    if not month.sent or not layout.latest_generation(month.day):
        return set()
    with Journal(layout.latest_journal(month.day)) as journal:
        query = "SELECT seller_id, page_num FROM page WHERE page_num > 1 OR row_count > 0"
        return set(journal.connection.execute(query).fetchall())


def _check_money(
    month: Month, before: set[Key], sent: list[tuple[str, int]], most: int | None, *, clean: bool
) -> None:
    """No budget is overrun, the ledger never says less than was sent, and no page is paid for twice."""
    if (month.folder / "state" / "ledger.sqlite").exists():
        with Ledger(month.folder) as ledger:
            spent = ledger.spent_for(month.day)
    else:
        spent = 0
    expect(spent >= len(month.sent), f"the ledger has {spent}, but {len(month.sent)} were sent")
    expect(not clean or spent == len(month.sent), f"the ledger has {spent}, {len(month.sent)} were sent")
    expect(most is None or len(month.sent) <= most, f"{len(month.sent)} requests, budget {most}")
    reads = month.served.reads[month.day]
    twice = {page for page in sent if not reads[page[0]].is_vague} & before
    expect(not twice, f"paid again for {sorted(twice)[:3]}")


def _check_published(
    month: Month,
    report: RunReport | None,
    weather: Weather,
    strategy: str,
    budget: int | None,
    *,
    clean: bool,
) -> None:
    """What is published is whole and true, and the exit code says what is not."""
    if report is None:
        return
    expect(report.exit_code != 10, f"a false alarm: {report.message} {report.plausibility}")
    night = read_published(month.folder, month.day)
    if night is None:
        expect(report.exit_code != 0 or strategy != "freshest", "exit 0, and nothing is published")
        return
    if "freshest" in month.strategies:
        check_snapshot(
            month.published,
            night,
            month.served,
            month.day,
            {*month.listed},
            month.max_age,
            is_clean=clean,
        )
    if strategy == "freshest":
        _check_code(month, report, weather, night, budget)


def _check_code(month: Month, report: RunReport, weather: Weather, night: Any, budget: int | None) -> None:
    late = overdue(night, month.day, month.max_age)
    failed = [row["seller_id"] for row in night.sellers.values() if row["status"] == "failed"]
    code = report.exit_code
    if weather.signal_at is not None and code == 143:
        return
    if code == 9:
        expect(not weather.is_fair, "exit 9 in fair weather")
        return
    # Of sellers that no night has a row of, a spent budget is too small, whatever failed before.
    has_nothing = not night.rows and report.requests.sent == 0
    wanted = 3 if late or (has_nothing and code == 3) else 4 if failed else 0
    expect(code == wanted, f"exit {code}, wanted {wanted}: overdue {late}, failed {failed}, {report.message}")
    if budget is None and weather.is_fair:
        carried = [row for row in night.rows.values() if row.carried_from is not None]
        expect(not carried or bool(failed), "no budget, and rows were carried")
    if not month.is_calm or budget is None:
        return
    if budget >= month.bearable:
        oldest = oldest_row(month.published, night, month.day)
        expect((month.day - oldest).days <= month.max_age, f"a row is of {oldest}, the budget would do")
        expect(not late, f"{late} are overdue, the budget would do")
    if budget <= month.cost * 0.85:
        largest = max(min(STRETCH_PAGES, month.shops[seller_id].pages) for seller_id in month.listed)
        expect(
            len(month.sent) >= min(budget * 0.85, budget - largest),
            f"{len(month.sent)} were spent of {budget}",
        )


def play_safely(seed: int, nights: int = NIGHTS) -> Played:
    """Play a seed in a folder of its own."""
    try:
        with own_folder("month-") as folder:
            month = play(seed, folder, nights)
    except Exception as error:  # noqa: BLE001 - whatever broke is reported with its seed
        if TELL:
            traceback.print_exc()
        return seed, f"{type(error).__name__}: {error}", "", 0, 0
    return seed, None, month.digest(), month.runs, month.all_sent


def main() -> int:
    """Play many seeds; exit code 1 where one broke a promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--nights", type=int, default=NIGHTS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int)
    options = parser.parse_args()
    if options.replay is not None:
        quiet_down()
        print(play_safely(options.replay, options.nights))
        return 0
    seeds = range(options.first, options.first + options.months)
    return play_all(partial(play_safely, nights=options.nights), seeds, options.jobs, "months", 25)


if __name__ == "__main__":
    raise SystemExit(main())
