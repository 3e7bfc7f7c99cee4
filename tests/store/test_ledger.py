"""Budgets over time: no billing month costs more than it may, whatever is killed, wherever the clock is."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import orjson
import pytest
from conftest import SMALL, Night
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crawler.commands.status import month_of, status_command
from crawler.engine.credits import Credits
from crawler.engine.stop import Stop
from crawler.models.errors import BudgetSpentError, InputError, OutputError
from crawler.nightly.account import Account
from crawler.options import CreditSettings
from crawler.rules.budget import lease_size, month_begin, month_end
from crawler.settings.load import load
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger
from crawler.store.ledger_sql import FORMAT

DATE = date(2026, 11, 23)
DAY = timedelta(days=1)
Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]

FORMAT_1 = """
CREATE TABLE run (
    run_id TEXT PRIMARY KEY,
    crawl_date TEXT NOT NULL,
    started_at TEXT NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0,
    finished_at TEXT,
    exit_code INTEGER
);
CREATE INDEX run_of_date ON run (crawl_date);
INSERT INTO run VALUES
    ('a', '2026-10-31', '2026-10-31T23:59:58.000Z', 70, '2026-11-01T03:00:00.000Z', 0),
    ('b', '2026-10-31', '2026-11-01T00:00:00.000Z', 5, NULL, NULL),
    ('c', '2026-11-01', '2026-11-02T00:00:00.000Z', 0, '2026-11-02T00:00:01.000Z', 0);
PRAGMA user_version = 1;
"""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def one(_remaining: int | None) -> int:
    return 1 if _remaining is None or _remaining else 0


def all_of(wanted: int) -> Callable[[int | None], int]:
    return lambda remaining: wanted if remaining is None else min(wanted, remaining)


def old_ledger(data: Path) -> Path:
    path = data / "state" / "ledger.sqlite"
    path.parent.mkdir(parents=True)
    db = sqlite3.connect(path)
    db.executescript(FORMAT_1)
    db.close()
    return path


def version_of(path: Path) -> int:
    db = sqlite3.connect(path)
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    db.close()
    return found


def days_of(ledger: Ledger) -> dict[str, int]:
    return dict(ledger._db.execute("SELECT day, sum(credits) FROM lease GROUP BY day"))


def assert_sums_agree(ledger: Ledger) -> None:
    leased = dict(ledger._db.execute("SELECT run_id, sum(credits) FROM lease GROUP BY run_id"))
    assert {
        run.run_id: run.reserved for run in ledger.runs() if run.reserved or run.run_id in leased
    } == leased


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        opened.begin("r", DATE, "2026-11-23T00:00:00.000Z")
        yield opened


def account(ledger: Ledger, now: str, **limits: int) -> Account:
    return Account(ledger, "r", DATE, CreditSettings(**limits), lambda: at(now))


class Spending(RuleBasedStateMachine):
    """`sent` is what the provider's bill says: how many requests left on which day.

    Leases wait in hand for less than an hour. The clock is right, but for a while it may be set back, once
    the ledger has seen every day that a lease in hand may be used on.
    """

    @initialize(
        start=st.sampled_from(("2024-02-27", "2026-02-27", "2026-11-29", "2026-12-30")),
        begins=st.sampled_from((1, 15, 28)) | st.integers(1, 28),
        lease=st.sampled_from((partial(lease_size, 3.0, 9), all_of(7), all_of(20))),
        monthly=st.none() | st.integers(0, 60),
    )
    def begin(self, start: str, begins: int, lease: Callable[[int | None], int], monthly: int | None) -> None:
        # In memory where there is room: every commit waits for its disk.
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.begins, self.lease = begins, lease
        self.real, self.back = at(f"{start}T22:00:00"), timedelta()
        self.limits = CreditSettings(monthly_budget=monthly, month_begins=begins)
        self.date, self.runs = DATE, 0
        self.sent: Counter[date] = Counter()
        self.sent_for: Counter[date] = Counter()
        self.sent_by: Counter[str] = Counter()
        self._open()

    def _open(self) -> None:
        self.runs += 1
        self.run_id, self.in_hand, self.leased_at = f"r{self.runs:05}", 0, self.real
        self.ledger = Ledger(self.folder)
        self.ledger.begin(self.run_id, self.date, self._clock().isoformat())

    def _clock(self) -> datetime:
        seen = self.ledger._db.execute("SELECT max(day) FROM lease").fetchone()[0]
        latest = (self.real + timedelta(hours=1)).date()
        return self.real - self.back if (seen or "") >= latest.isoformat() else self.real

    def _account(self) -> Account:
        return Account(self.ledger, self.run_id, self.date, self.limits, self._clock)

    def _month(self) -> date:
        return month_begin(self.real.date(), self.begins)

    def _sent_in_month(self) -> int:
        return sum(n for day, n in self.sent.items() if day >= self._month())

    @rule(times=st.integers(1, 25))
    def send(self, times: int) -> None:
        for _ in range(times):
            if self.in_hand == 0 and not self._leased():
                return
            self.in_hand -= 1
            self.sent[self.real.date()] += 1
            self.sent_for[self.date] += 1
            self.sent_by[self.run_id] += 1
            monthly, budget = self.limits.monthly_budget, self.limits.budget
            assert monthly is None or self._sent_in_month() <= monthly
            assert budget is None or self.sent_for[self.date] <= budget

    def _leased(self) -> bool:
        refusal = ""
        try:
            self.in_hand, self.leased_at = self._account().reserve(self.lease), self.real
        except BudgetSpentError as error:
            refusal = str(error)
        limits, spent_for, since = self.limits, self.ledger.spent_for, self.ledger.spent_since
        began = month_begin(self._clock().date(), self.begins)
        date_spent = limits.budget is not None and spent_for(self.date) >= limits.budget
        month_spent = limits.monthly_budget is not None and since(began) >= limits.monthly_budget
        if self.in_hand == 0:
            assert ("the credit budget" in refusal, "monthly" in refusal) == (date_spent, month_spent)
            assert date_spent or month_spent
        return self.in_hand > 0

    @rule()
    def crash(self) -> None:
        self.ledger.__exit__()
        self._open()

    @rule()
    def stop_cleanly(self) -> None:
        self.ledger.return_unused_credits(self.run_id, self.sent_by[self.run_id])
        reserved = {run.run_id: run.reserved for run in self.ledger.runs()}
        assert reserved[self.run_id] == self.sent_by[self.run_id]
        self.crash()

    @rule(minutes=st.integers(1, 40))
    def minutes_pass(self, minutes: int) -> None:
        """A run goes on, over midnight too."""
        passed = timedelta(minutes=minutes)
        if self.in_hand and self.real + passed - self.leased_at >= timedelta(hours=1):
            self.stop_cleanly()
        self.real += passed

    @rule(before=st.integers(1, 59), killed=st.booleans())
    def a_run_goes_over_the_border(self, before: int, killed: bool) -> None:
        """With credits in hand where a lease is more than one."""
        self.border_comes(0, killed, before)
        self.send(1)
        self.real += timedelta(minutes=before)
        self.send(self.in_hand)

    @rule(days=st.integers(0, 40), killed=st.booleans(), before=st.integers(0, 59))
    def border_comes(self, days: int, killed: bool, before: int) -> None:
        """Some days later it is shortly before a month's border."""
        (self.crash if killed else self.stop_cleanly)()
        end = month_end(self.real.date() + days * DAY, self.begins)
        self.real = max(
            self.real, datetime.combine(end, datetime.min.time(), UTC) - timedelta(minutes=before)
        )

    @rule(back=st.sampled_from((0, 1, 26, 24 * 20, 24 * 34)))
    def clock_is_set(self, back: int) -> None:
        self.back = timedelta(hours=back)

    @rule(budget=st.none() | st.integers(0, 60), monthly=st.none() | st.integers(0, 120))
    def change_budgets(self, budget: int | None, monthly: int | None) -> None:
        """A budget below what was sent is allowed: it only means that nothing more is."""
        self.stop_cleanly()
        self.limits = CreditSettings(budget=budget, monthly_budget=monthly, month_begins=self.begins)

    @rule()
    def next_date(self) -> None:
        self.date += DAY
        self.stop_cleanly()

    @invariant()
    def the_ledger_is_never_below_what_was_sent(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.spent_since(self._month()) >= self._sent_in_month()
            assert all(self.ledger.spent_for(day) >= n for day, n in self.sent_for.items())
            assert all(run.reserved >= self.sent_by[run.run_id] for run in self.ledger.runs())
            assert_sums_agree(self.ledger)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.ledger.__exit__()
            shutil.rmtree(self.folder)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def test_the_smaller_remaining_budget_counts_and_is_used_up(ledger: Ledger) -> None:
    of_date = account(ledger, "2026-11-23T02:00:00", budget=3, monthly_budget=10)
    assert of_date.reserve(all_of(8)) == 3
    with pytest.raises(BudgetSpentError, match=r"^the credit budget is spent: raise --budget[^;]*$"):
        of_date.reserve(one)
    of_month = account(ledger, "2026-11-23T02:00:00", monthly_budget=10, month_begins=20)
    assert of_month.reserve(all_of(8)) == 7
    with pytest.raises(BudgetSpentError, match=r"^the monthly budget .* again from 2026-12-20 \(UTC\)$"):
        of_month.reserve(one)
    both = account(ledger, "2026-11-23T02:00:00", budget=0, monthly_budget=10)
    with pytest.raises(BudgetSpentError, match=r"--budget.*; the monthly budget"):
        both.reserve(one)
    assert account(ledger, "2026-12-19T22:59:59", monthly_budget=11, month_begins=20).reserve(all_of(8)) == 1
    assert account(ledger, "2026-12-20T00:00:00", monthly_budget=10, month_begins=20).reserve(all_of(8)) == 8
    assert_sums_agree(ledger)


def test_what_is_leased_before_the_border_may_leave_behind_it(ledger: Ledger) -> None:
    assert account(ledger, "2026-11-30T22:59:59", monthly_budget=100).reserve(all_of(20)) == 20
    assert account(ledger, "2026-11-30T23:00:00", monthly_budget=100).reserve(all_of(30)) == 30
    assert account(ledger, "2026-11-30T23:59:59", monthly_budget=100).reserve(all_of(99)) == 50
    assert account(ledger, "2026-12-01T00:00:00", monthly_budget=100).reserve(all_of(99)) == 20


def test_a_clock_that_was_set_back_charges_the_month_that_has_begun(ledger: Ledger) -> None:
    assert account(ledger, "2026-11-20T02:00:00", monthly_budget=100).reserve(all_of(60)) == 60
    assert account(ledger, "2026-12-01T02:00:00", monthly_budget=100).reserve(all_of(30)) == 30
    assert account(ledger, "2026-11-30T02:00:00", monthly_budget=100).reserve(all_of(99)) == 10
    assert days_of(ledger) == {"2026-11-20": 60, "2026-12-01": 40}
    assert account(ledger, "2026-12-01T02:00:00", monthly_budget=100).reserve(all_of(99)) == 60


def test_a_settled_day_still_keeps_the_clock_from_going_back(ledger: Ledger) -> None:
    account(ledger, "2026-12-01T02:00:00").reserve(all_of(5))
    ledger.return_unused_credits("r", 0)
    account(ledger, "2026-11-30T02:00:00").reserve(all_of(5))
    assert days_of(ledger) == {"2026-12-01": 5}


@pytest.mark.parametrize(
    ("spent", "kept"),
    [
        (60, (50, 10, 0)),
        (50, (50, 0, 0)),
        (7, (7, 0, 0)),
        (0, (0, 0, 0)),
        (90, (50, 20, 20)),
        (91, (50, 20, 21)),
    ],
)
def test_unspent_credits_are_those_leased_last(ledger: Ledger, spent: int, kept: tuple[int, ...]) -> None:
    days = ("2026-11-23", "2026-11-24", "2026-11-25")
    for day, credit in zip(days, (50, 20, 20), strict=True):
        account(ledger, f"{day}T02:00:00").reserve(all_of(credit))
    ledger.return_unused_credits("r", spent)
    assert days_of(ledger) == dict(zip(days, kept, strict=True))
    assert_sums_agree(ledger)


def test_without_a_clock_a_lease_counts_for_the_day_on_which_its_run_began(ledger: Ledger) -> None:
    ledger.begin("other", date(2030, 1, 1), "2026-11-25T01:00:00.000Z")
    assert ledger.reserve("other", date(2030, 1, 1), None, all_of(4)) == 4
    ledger.reserve("r", DATE, None, all_of(5))
    assert days_of(ledger) == {"2026-11-25": 9}
    assert_sums_agree(ledger)


def test_where_nothing_is_left_nothing_is_noted(ledger: Ledger) -> None:
    """Or else a clock that was wrong for a while would count for ever."""
    with pytest.raises(BudgetSpentError):
        account(ledger, "2030-01-01T02:00:00", budget=0).reserve(one)
    assert days_of(ledger) == {}


def test_settling_leaves_other_runs_alone(ledger: Ledger) -> None:
    ledger.begin("other", DATE, "2026-11-23T01:00:00.000Z")
    account(ledger, "2026-11-23T02:00:00").reserve(all_of(9))
    ledger.reserve("other", DATE, None, all_of(4))
    ledger.return_unused_credits("r", 2)
    assert days_of(ledger) == {"2026-11-23": 6}
    assert_sums_agree(ledger)


def test_format_1_counts_for_the_days_on_which_its_runs_began(tmp_path: Path) -> None:
    path = old_ledger(tmp_path)
    for _ in range(2):
        with Ledger(tmp_path) as ledger:
            assert days_of(ledger) == {"2026-10-31": 70, "2026-11-01": 5}
            assert (ledger.spent_since(date(2026, 10, 31)), ledger.spent_since(date(2026, 11, 1))) == (75, 5)
            assert [run.reserved for run in ledger.runs()] == [0, 5, 70]
            assert_sums_agree(ledger)
    assert version_of(path) == FORMAT
    with Ledger(tmp_path) as ledger:
        ledger.begin("r", DATE, "2026-11-03T02:00:00.000Z")
        assert account(ledger, "2026-11-03T02:00:00", monthly_budget=9).reserve(all_of(99)) == 4


# where the interpreter warns of connections that nobody closed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_format_1_is_left_whole_where_it_cannot_be_changed(tmp_path: Path) -> None:
    path = old_ledger(tmp_path)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE lease_of_day (in_the_way)")
    with pytest.raises(OutputError, match="lease_of_day"):
        Ledger(tmp_path)
    gc.collect()
    assert version_of(path) == 1
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'lease'").fetchone() == (0,)
    db.execute("DROP TABLE lease_of_day")
    db.close()
    with Ledger(tmp_path) as ledger:
        assert ledger.spent_since(date(2026, 10, 1)) == 75


def test_reading_an_old_ledger_leaves_it_as_it_is(tmp_path: Path) -> None:
    """`status` and `plan` read without the lock."""
    path = old_ledger(tmp_path)
    path.chmod(0o400)
    before = path.read_bytes()
    with Ledger(tmp_path, only_read=True) as ledger:
        assert (ledger.spent_for(date(2026, 10, 31)), ledger.spent_since(date(2026, 11, 1))) == (75, 5)
        assert [(day.crawl_date, day.closed_at) for day in ledger.dates()] == [
            (date(2026, 11, 1), None),
            (date(2026, 10, 31), None),
        ]
    assert path.read_bytes() == before
    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = old_ledger(tmp_path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 6")
    db.close()
    with pytest.raises(InputError, match="format 6, this program knows up to 5"):
        Ledger(tmp_path)
    assert version_of(path) == 6


def test_forecast_of_the_month(ledger: Ledger) -> None:
    for day in range(1, 11):
        account(ledger, f"2026-11-{day:02}T02:00:00").reserve(all_of(100))
    noon = at("2026-11-10T12:00:00")
    month = month_of(ledger, CreditSettings(monthly_budget=3000), noon)
    assert (month.begins, month.ends_before) == ("2026-11-01", "2026-12-01")
    assert (month.spent, month.left, month.forecast, month.holds) == (1000, 2000, 3000, True)
    assert month_of(ledger, CreditSettings(monthly_budget=2999), noon).holds is False
    over = month_of(ledger, CreditSettings(monthly_budget=900), noon)
    assert (over.left, over.holds) == (0, False)
    free = month_of(ledger, CreditSettings(), noon)
    assert (free.budget, free.left, free.forecast, free.holds) == (None, None, 3000, None)
    young = month_of(ledger, CreditSettings(month_begins=10), noon)
    assert (young.begins, young.spent, young.forecast) == ("2026-11-10", 100, 100 + 29 * 100)
    assert month_of(ledger, CreditSettings(), at("2026-11-30T23:59:59")).forecast == 1000


def test_forecast_before_anything_was_spent(ledger: Ledger) -> None:
    month = month_of(ledger, CreditSettings(monthly_budget=0), at("2026-11-10T12:00:00"))
    assert (month.spent, month.forecast, month.holds) == (0, 0, True)


def test_status_prints_the_month(ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account(ledger, "2026-11-10T02:00:00").reserve(all_of(50))
    flags, now = {"run.data": str(tmp_path)}, at("2026-11-14T12:00:00")
    loaded = load({**flags, "credits.monthly_budget": "219"}, None, {})
    assert status_command(loaded, as_json=True, limit=20, now=now) == 0
    assert orjson.loads(capsys.readouterr().out)["month"] == {
        "begins": "2026-11-01",
        "ends_before": "2026-12-01",
        "spent": 50,
        "budget": 219,
        "left": 169,
        "forecast": 210,
        "holds": True,
    }
    assert status_command(loaded, as_json=False, limit=20, now=now) == 0
    line = "month from 2026-11-01: 50 credits spent of 219, 169 left; 210 by 2026-12-01 at this pace"
    assert f"{line}: the budget will hold\n" in capsys.readouterr().out
    status_command(
        load({**flags, "credits.monthly_budget": "209"}, None, {}), as_json=False, limit=20, now=now
    )
    assert "at this pace: the budget will not hold\n" in capsys.readouterr().out
    status_command(load(flags, None, {}), as_json=False, limit=20, now=now)
    assert "50 credits spent; 210 by 2026-12-01 at this pace\n" in capsys.readouterr().out


async def test_the_engine_passes_on_which_budget_is_spent() -> None:
    class Dry:
        leases = 1

        async def reserve(self, _in_use: int) -> int:
            if self.leases == 0:
                raise BudgetSpentError("the monthly one")
            self.leases -= 1
            return 1

    credit = Credits(Dry(), Stop())
    await credit.take()
    credit.give_back()
    await credit.take()
    credit.spend()
    for _ in range(2):
        with pytest.raises(BudgetSpentError, match=r"^the monthly one$"):
            await credit.take()


def test_a_run_keeps_to_the_monthly_budget_over_its_dates(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    # a border that is not near
    begins = (datetime.now(UTC).day + 9) % 28 + 1
    (job.folder / "config").mkdir()
    config = f"[credits]\nmonthly_budget = 60\nmonth_begins = {begins}\n"
    (job.folder / "config" / "crawler.toml").write_text(config)
    source = job.sellers(simulator.catalogue.seller_ids(60))
    first = job.run(source, "--budget", "25", code=3)
    assert "--budget" in first["message"]
    assert "monthly" not in first["message"]
    second = job.run(source, "--crawl-date", "2026-11-24", code=3)
    assert "credits.monthly_budget" in second["message"]
    assert "budget" in second["stops"]
    assert simulator.stats.requests == second["credits"]["spent_for_month"] == 60
    assert second["credits"]["monthly_budget"] == 60
    assert second["credits"]["spent_for_date"] == 35
    assert job.run(source, code=3)["requests"]["sent"] == 0
