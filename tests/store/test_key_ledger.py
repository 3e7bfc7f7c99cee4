"""The ledger by key: whatever is killed when, no key costs more a day or a month than it may."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crawler.models.errors import BudgetSpentError, KeySpentError, OutputError
from crawler.models.keys import KeySettings
from crawler.nightly.account import Account
from crawler.options import CreditSettings
from crawler.rules.budget import lease_size, month_begin
from crawler.store.ledger import Ledger
from crawler.store.ledger_sql import FORMAT

DATE = date(2026, 11, 23)
FORMAT_4 = Path(__file__).with_name("ledger_format_4.sql")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def all_of(left: int | None) -> int:
    return 9 if left is None else min(9, left)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as opened:
        opened.begin("r", DATE, "2026-11-23T00:00:00.000Z")
        yield opened


def account(ledger: Ledger, now: str, **limits: int) -> Account:
    return Account(ledger, "r", DATE, CreditSettings(**limits), lambda: at(now))


def by_key(ledger: Ledger) -> dict[str, int]:
    return {name: ledger.spent_since(date.min, None, name) for name in ledger.key_names()}


def assert_sums_agree(ledger: Ledger) -> None:
    """Run, day and key tell of the same credits."""
    for table in ("lease", "key_lease"):
        query = f"SELECT run_id, sum(credits) FROM {table} GROUP BY run_id"
        leased = {run_id: count for run_id, count in ledger._db.execute(query) if count}
        assert leased == {run.run_id: run.reserved for run in ledger.runs() if run.reserved}


def test_a_key_has_its_own_day_and_month(ledger: Ledger) -> None:
    main = KeySettings(name="main", daily_budget=12, monthly_budget=15)
    other = KeySettings(name="other")
    monday, tuesday = account(ledger, "2026-11-23T02:00:00"), account(ledger, "2026-11-24T02:00:00")
    assert [monday.reserve_for(main, all_of) for _ in range(2)] == [9, 3]
    with pytest.raises(KeySpentError, match="main"):
        monday.reserve_for(main, all_of)
    assert monday.reserve_for(other, all_of) == 9
    assert tuesday.reserve_for(main, all_of) == 3
    with pytest.raises(KeySpentError, match="main"):
        tuesday.reserve_for(main, all_of)
    assert account(ledger, "2026-12-01T02:00:00").reserve_for(main, all_of) == 9
    assert by_key(ledger) == {"main": 24, "other": 9}
    assert_sums_agree(ledger)


def test_the_budgets_of_date_and_month_hold_over_the_sum_of_the_keys(ledger: Ledger) -> None:
    main, other = (KeySettings(name=name, daily_budget=100) for name in ("main", "other"))
    small = account(ledger, "2026-11-23T02:00:00", budget=12, monthly_budget=14)
    assert [small.reserve_for(key, all_of) for key in (main, other)] == [9, 3]
    with pytest.raises(BudgetSpentError, match="raise --budget"):
        small.reserve_for(main, all_of)
    more = account(ledger, "2026-11-23T02:00:00", budget=50, monthly_budget=14)
    assert more.reserve_for(main, all_of) == 2
    with pytest.raises(BudgetSpentError, match="monthly"):
        more.reserve_for(other, all_of)


def test_where_both_are_spent_the_budget_of_all_is_named(ledger: Ledger) -> None:
    main = KeySettings(name="main", daily_budget=9)
    small = account(ledger, "2026-11-23T02:00:00", budget=9)
    small.reserve_for(main, all_of)
    with pytest.raises(BudgetSpentError):
        small.reserve_for(main, all_of)


def test_what_is_leased_shortly_before_midnight_counts_for_both_days(ledger: Ledger) -> None:
    """It may leave after it."""
    main = KeySettings(name="main", daily_budget=9)
    assert account(ledger, "2026-11-23T23:30:00").reserve_for(main, all_of) == 9
    for later in ("2026-11-23T23:40:00", "2026-11-24T00:10:00", "2026-11-24T20:00:00"):
        with pytest.raises(KeySpentError):
            account(ledger, later).reserve_for(main, all_of)
    assert account(ledger, "2026-11-25T00:00:00").reserve_for(main, all_of) == 9
    with pytest.raises(KeySpentError):
        account(ledger, "2026-11-25T23:30:00").reserve_for(main, all_of)


def test_unspent_credits_of_a_key_return_to_all_budgets(ledger: Ledger) -> None:
    main, other = KeySettings(name="main", daily_budget=9), KeySettings(name="other")
    for day in ("2026-11-23", "2026-11-24"):
        for key in (main, other):
            account(ledger, f"{day}T02:00:00").reserve_for(key, all_of)
    ledger.return_unused_of_key("r", "main", 5)
    assert by_key(ledger) == {"main": 5, "other": 18}
    assert_sums_agree(ledger)
    assert ledger.spent_since(date(2026, 11, 24), None, "main") == 0, "what was leased last returns first"
    assert account(ledger, "2026-11-24T02:00:00").reserve_for(main, all_of) == 9
    ledger.return_unused_of_key("r", "nobody", 0)
    assert_sums_agree(ledger)


def test_one_key_without_a_name_leaves_nothing_by_key(ledger: Ledger) -> None:
    account(ledger, "2026-11-23T02:00:00").reserve(all_of)
    assert ledger.key_names() == []


def test_a_ledger_of_format_4_is_brought_up_and_keeps_its_credits(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FORMAT_4.read_text())
    before = path.read_bytes()
    with Ledger(tmp_path, only_read=True) as read:
        assert read.spent_for(DATE) == 30
        assert by_key(read) == {}
    assert path.read_bytes() == before, "who only reads leaves it as it is"
    for _ in range(2):
        with Ledger(tmp_path) as ledger:
            assert ledger.spent_for(DATE) == 30
            assert (ledger.spent_since(date(2026, 11, 23)), ledger.spent_since(date(2026, 11, 24))) == (30, 5)
            assert [run.facts.strategy for run in ledger.runs()] == [None, "depth-first"]
            assert ledger.key_names() == []
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_flipped_bit_of_a_key_s_credits_is_corrected(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.begin("r", DATE, "2026-11-23T00:00:00.000Z")
        account(ledger, "2026-11-23T02:00:00").reserve_for(KeySettings(name="main"), lambda _left: 300)
        path = ledger.path
    change(path, "UPDATE key_lease SET credits = credits - 256")
    with Ledger(tmp_path) as ledger:
        assert by_key(ledger) == {"main": 300}
    change(path, "UPDATE key_lease SET credits = 7")
    with pytest.raises(OutputError, match="table key_lease"):
        Ledger(tmp_path)


def change(path: Path, query: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(query)
        db.commit()


class KeySpending(RuleBasedStateMachine):
    """`sent` is what the provider's bill says of each key and day; leases wait in hand for under an hour."""

    @initialize(
        daily=st.none() | st.integers(0, 30),
        monthly=st.none() | st.integers(0, 60),
        budget=st.none() | st.integers(0, 80),
        start=st.sampled_from(("2026-11-29T22:00:00", "2026-12-30T12:00:00")),
    )
    def begin(self, daily: int | None, monthly: int | None, budget: int | None, start: str) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.now, self.budget = at(start), budget
        self.keys = (
            KeySettings(name="main", daily_budget=daily, monthly_budget=monthly),
            KeySettings(name="other", daily_budget=9),
        )
        self.sent: Counter[tuple[str, date]] = Counter()
        self.runs = 0
        self._open()

    def _open(self) -> None:
        self.runs += 1
        self.run_id = f"r{self.runs:05}"
        self.in_hand: Counter[str] = Counter()
        self.leased_at = self.now
        self.of_run: Counter[str] = Counter()
        self.ledger = Ledger(self.folder)
        self.ledger.begin(self.run_id, DATE, self.now.isoformat())

    @rule(which=st.integers(0, 1), times=st.integers(1, 15))
    def send(self, which: int, times: int) -> None:
        key = self.keys[which]
        for _ in range(times):
            if not self.in_hand[key.name] and not self._leased(key):
                return
            self.in_hand[key.name] -= 1
            self.sent[key.name, self.now.date()] += 1
            self.of_run[key.name] += 1
            assert key.daily_budget is None or self.sent[key.name, self.now.date()] <= key.daily_budget
            assert key.monthly_budget is None or self._in_month(key.name) <= key.monthly_budget
            assert self.budget is None or self.sent.total() <= self.budget

    def _in_month(self, name: str) -> int:
        began = month_begin(self.now.date(), 1)
        return sum(count for (key, day), count in self.sent.items() if key == name and day >= began)

    def _leased(self, key: KeySettings) -> bool:
        limits = CreditSettings(budget=self.budget)
        book = Account(self.ledger, self.run_id, DATE, limits, lambda: self.now)
        try:
            self.in_hand[key.name] = book.reserve_for(key, partial(lease_size, 20.0, 9))
        except (BudgetSpentError, KeySpentError):
            return False
        self.leased_at = self.now
        return True

    @rule()
    def kill(self) -> None:
        self.ledger.__exit__()
        self._open()

    @rule()
    def stop_cleanly(self) -> None:
        for key in self.keys:
            self.ledger.return_unused_of_key(self.run_id, key.name, self.of_run[key.name])
        assert_sums_agree(self.ledger)
        self.kill()

    @rule(which=st.integers(0, 1))
    def give_up_a_key(self, which: int) -> None:
        """As where it was refused: what it has in hand returns while the run goes on."""
        name = self.keys[which].name
        self.ledger.return_unused_of_key(self.run_id, name, self.of_run[name])
        self.in_hand[name] = 0

    @rule(minutes=st.integers(1, 40) | st.integers(600, 2000))
    def minutes_pass(self, minutes: int) -> None:
        passed = timedelta(minutes=minutes)
        if self.now + passed - self.leased_at >= timedelta(hours=1):
            self.stop_cleanly()
        self.now += passed

    @invariant()
    def no_key_is_said_to_have_sent_less(self) -> None:
        if hasattr(self, "ledger"):
            sent: Counter[str] = Counter()
            for (name, _), count in self.sent.items():
                sent[name] += count
            known = by_key(self.ledger)
            assert all(known.get(name, 0) >= count for name, count in sent.items())
            assert_sums_agree(self.ledger)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.ledger.__exit__()
            shutil.rmtree(self.folder)


TestKeySpending = KeySpending.TestCase
TestKeySpending.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
