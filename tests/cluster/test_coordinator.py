"""What a driver answers: to an attempt that it has given up nothing but that, and to others what is due."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import date
from typing import Any

import pytest
from virtual_time import run_virtual

from crawler.cluster.attempts import Terms
from crawler.cluster.coordinator import Coordinator
from crawler.cluster.messages import (
    Assignment,
    Begin,
    End,
    Figures,
    Granted,
    Keep,
    LostError,
    MessageError,
    Renew,
    Reserve,
    Reserved,
    as_plain,
    message_of,
    reply_of,
)
from crawler.cluster.outcomes import Outcome, WorkerFaultError
from crawler.cluster.shard_sellers import Readings, first_pages_of, repairs_of
from crawler.engine.stop import Stop
from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)
from crawler.models.page import Gap, KnownFirstPage, Match
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason
from crawler.rules.shards import Shard, shard_of, shards_to_repair
from crawler.rules.shares import Shares
from crawler.store.record_frames import decode
from crawler.store.records import Record

LEASE_S = 10.0


class Books:
    """Credits from one number, and frames that are counted."""

    def __init__(self, budget: int = 10**6) -> None:
        self.left = budget
        self.fence = 0
        self.frames: list[bytes] = []
        self.sealed: list[int] = []
        self.error: Exception | None = None
        self.readings: dict[str, Readings] = {}

    async def next_fence(self) -> int:
        self.fence += 1
        return self.fence

    async def drifted(self, sellers: Sequence[str]) -> dict[str, Readings]:
        return {each: self.readings[each] for each in sellers}

    async def reserve(self, _key: int, in_use: int) -> int:
        size = min(self.left, in_use)
        if not size:
            raise BudgetSpentError("spent")
        self.left -= size
        return size

    async def keep(self, frame: bytes) -> Sequence[Record]:
        if self.error is not None:
            raise self.error
        self.frames.append(frame)
        return ()

    async def absorb(self, fence: int, up_to: int | None) -> Sequence[Record]:
        if up_to is None:
            self.sealed.append(fence)
        return ()


class Driver:
    """A coordinator with shards, and the messages of its workers."""

    def __init__(self, shards: int = 1, budget: int = 10**6, *, must_share: bool = False) -> None:
        self.books, self.stop = Books(budget), Stop()
        terms = Terms("1", "run", LEASE_S, 1, lambda fence: f"/{fence}", must_share=must_share)
        loop = asyncio.get_running_loop()
        self.free: list[Shard] = []
        self.coordinator = Coordinator(
            terms, self.books, Shares(100), self.stop, loop.time, on_free=self.free.append
        )
        self.shards = [Shard(n, {str(n): SellerProgress(str(n))}) for n in range(shards)]
        for shard in self.shards:
            self.coordinator.add(shard)

    async def ask(self, message: Any) -> dict[str, Any]:
        return await self.coordinator.handle(as_plain(message))

    async def begin(self, shard: int = 0, **more: Any) -> Assignment:
        asked = {"version": "1", "worker": f"w{shard}", "can_share": True, **more}
        return reply_of(Assignment, await self.ask(Begin(shard=shard, **asked)))

    async def renew(self, fence: int, *, sent: int = 0, charged: int = 0, **more: Any) -> Granted:
        figures = as_plain(Figures(sent=sent))
        message = Renew(
            fence=fence, applied=0, wants=9, charged=[charged], durable=0, figures=figures, **more
        )
        return reply_of(Granted, await self.ask(message))

    async def reserve(self, fence: int, number: int, in_use: int = 5) -> Reserved:
        return reply_of(Reserved, await self.ask(Reserve(fence=fence, number=number, key=0, in_use=in_use)))

    async def end(self, fence: int, outcome: Outcome, *, charged: int = 0, **more: Any) -> None:
        figures = as_plain(Figures(sent=charged))
        said: dict[str, Any] = {
            "outcome": outcome,
            "message": "why",
            "charged": [charged],
            "durable": 0,
            "figures": figures,
        }
        end = End(fence=fence, **said, **more)
        reply_of(Reserved, await self.ask(end))


def tended(test: Callable[[Driver], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a test on virtual time beside a coordinator that is tended."""

    async def main() -> None:
        driver = Driver(**options)
        tending = asyncio.create_task(driver.coordinator.tend())
        try:
            await test(driver)
        finally:
            tending.cancel()

    run_virtual(main())


def test_what_comes_late_with_an_old_number_is_refused_and_its_shard_is_another_attempts() -> None:
    async def test(driver: Driver) -> None:
        old = await driver.begin()
        assert (await driver.reserve(old.fence, 1)).credits == 5
        await asyncio.sleep(LEASE_S - 1)
        await driver.renew(old.fence, charged=2, sent=2)
        waiting = asyncio.create_task(driver.begin())
        await asyncio.sleep(LEASE_S - 1)
        assert not waiting.done(), "the old attempt still holds its lease"
        await asyncio.sleep(2)
        new = await waiting
        assert new.fence > old.fence
        assert driver.books.sealed == [old.fence]
        for late in (
            driver.renew(old.fence),
            driver.reserve(old.fence, 2),
            driver.end(old.fence, Outcome.DONE),
            driver.ask(Keep(fence=old.fence, number=1, frame=b"late")),
        ):
            with contextlib.suppress(LostError):
                assert await late == {"lost": True}
        assert driver.books.frames == []
        assert not driver.shards[0].is_done
        assert driver.coordinator.credits.charged == [5], "what it held may have been sent"
        assert driver.coordinator.credits.unaccounted == 3, "it had told of two"

    tended(test)


def test_a_lease_is_over_when_its_time_is_even_where_nobody_has_looked() -> None:
    async def main() -> None:
        driver = Driver()
        fence = (await driver.begin()).fence
        await asyncio.sleep(LEASE_S)
        with pytest.raises(LostError):
            await driver.renew(fence)

    run_virtual(main())


def test_a_lost_reply_costs_no_credit_and_doubles_no_page() -> None:
    async def test(driver: Driver) -> None:
        fence = (await driver.begin()).fence
        first, again = await driver.reserve(fence, 1), await driver.reserve(fence, 1)
        assert first == again
        assert driver.coordinator.credits.charged == [5]
        assert (await driver.reserve(fence, 2)).credits == 5
        for _ in range(2):
            await driver.ask(Keep(fence=fence, number=1, frame=b"frame"))
        assert driver.books.frames == [b"frame"]

    tended(test)


def test_credits_that_one_leaves_serve_another_before_the_budget_counts_as_spent() -> None:
    async def test(driver: Driver) -> None:
        one, two = (await driver.begin(0)).fence, (await driver.begin(1)).fence
        assert (await driver.reserve(one, 1)).credits == 5
        assert (await driver.reserve(two, 1)).must_wait
        await driver.renew(one, charged=5, sent=4)
        assert (await driver.reserve(two, 2)).must_wait, "one of them has not left, and may come back"
        await driver.end(one, Outcome.DONE, charged=4)
        assert (await driver.reserve(two, 3)).credits == 1
        assert (await driver.reserve(two, 4)).spent
        assert driver.coordinator.credits.charged == [5]

    tended(test, shards=2, budget=5)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.DOWN, ApiDownError),
        (Outcome.BUDGET, BudgetSpentError),
        (Outcome.REFUSED, KeyRefusedError),
        (Outcome.USED_UP, QuotaUsedUpError),
        (Outcome.OUTPUT, OutputError),
        (Outcome.STOPPED, None),
    ],
)
def test_how_an_attempt_ends_may_end_the_run(outcome: Outcome, error: type[CrawlerError] | None) -> None:
    async def test(driver: Driver) -> None:
        await driver.end((await driver.begin()).fence, outcome)
        assert type(driver.stop.reason) is (type(None) if error is None else error)
        assert not driver.shards[0].is_done
        assert driver.free == driver.shards

    tended(test)


def test_a_worker_that_nobody_answers_gives_its_shard_to_others_and_the_third_trusts_them() -> None:
    async def test(driver: Driver) -> None:
        answered = (await driver.begin(1)).fence
        trusts = []
        for _ in range(4):
            attempt = await driver.begin(0)
            trusts.append(attempt.trusts_others)
            await driver.renew(answered, has_answer=True)
            assert (await driver.renew(attempt.fence)).others_have_answer
            await driver.end(attempt.fence, Outcome.DOWN)
        assert trusts == [False, False, True, True]
        assert isinstance(driver.stop.reason, ApiDownError)

    tended(test, shards=2)


def refusals(*sellers: int) -> list[list[Any]]:
    return [[str(seller), 1, "not found", "404"] for seller in sellers]


@pytest.mark.parametrize("is_first", [True, False])
def test_sellers_refused_as_by_a_wrong_address_end_once_any_worker_was_answered_otherwise(
    is_first: bool,
) -> None:
    async def test(driver: Driver) -> None:
        other = (await driver.begin(1)).fence
        if is_first:
            await driver.renew(other, has_answer=True, is_address_proven=True)
        attempt = (await driver.begin(0)).fence
        await driver.end(attempt, Outcome.IN_DOUBT, refused=refusals(0))
        if not is_first:
            assert driver.shards[0].is_done
            assert not driver.books.frames
            await driver.end(other, Outcome.DONE, is_address_proven=True)
        (record,) = decode(driver.books.frames[0])
        assert record.ending == Ending(
            SellerStatus.FAILED, StopReason.ERROR, "not found", retriable=False, kind="404"
        )
        assert not driver.shards[0].sellers
        assert driver.stop.reason is None

    tended(test, shards=2)


def test_a_host_that_is_refused_often_while_another_is_not_fails_nobody() -> None:
    async def test(driver: Driver) -> None:
        await driver.renew((await driver.begin(9)).fence, has_answer=True, is_address_proven=True)
        for number in range(5):
            fence = (await driver.begin(number, worker="bad:1")).fence
            await driver.end(fence, Outcome.IN_DOUBT, refused=refusals(number))
        assert [shard.is_done for shard in driver.shards[:5]] == [True] * 4 + [False]
        assert driver.shards[4].unanswered == 1

    tended(test, shards=10)


def test_what_one_met_all_are_told_once() -> None:
    async def test(driver: Driver) -> None:
        one, two = (await driver.begin(0)).fence, (await driver.begin(1)).fence
        met = await driver.renew(one, slowed=[[0, 1.0, 50.0]], is_address_proven=True)
        assert met.slowed == []
        granted = await driver.renew(two)
        assert granted.slowed == [[0, 1.0, 50.0]]
        assert not granted.is_address_proven, "the way from its own host may be wrong"
        assert (await driver.renew((await driver.begin(2, worker="w0:9")).fence)).is_address_proven
        assert (await driver.renew(two)).slowed == []

    tended(test, shards=3)


def test_a_stop_reaches_every_worker_and_nothing_is_begun_after_it() -> None:
    async def test(driver: Driver) -> None:
        fence = (await driver.begin(0)).fence
        driver.stop.set(BudgetSpentError("spent"))
        assert (await driver.renew(fence)).stop == "spent"
        driver.stop.set(InterruptedRunError(15))
        assert (await driver.renew(fence)).stop == "interrupted"
        assert (await driver.begin(1)).nothing

    tended(test, shards=2)


def test_strangers_get_nothing() -> None:
    async def test(driver: Driver) -> None:
        with pytest.raises(MessageError, match="version"):
            await driver.begin(version="2")
        with pytest.raises(MessageError):
            await driver.coordinator.handle({"op": "renew", "fence": 1})
        with pytest.raises(MessageError):
            message_of({"op": "no such message"})
        assert await driver.ask(Keep(fence=77, number=1, frame=b"")) == {"lost": True}

    tended(test)


def test_a_worker_that_must_share_the_folder_and_does_not_ends_the_run() -> None:
    async def test(driver: Driver) -> None:
        assert await driver.ask(Begin(shard=0, worker="far", version="1", can_share=False)) == {"lost": True}
        assert isinstance(driver.stop.reason, OutputError)
        assert "far does not share" in str(driver.stop.reason)

    tended(test, must_share=True)


def test_a_journal_that_cannot_be_written_ends_the_run() -> None:
    async def test(driver: Driver) -> None:
        fence = (await driver.begin()).fence
        driver.books.error = OutputError("no room")
        assert await driver.ask(Keep(fence=fence, number=1, frame=b"")) == {"lost": True}
        assert driver.stop.reason is driver.books.error

    tended(test)


def test_a_fault_of_a_worker_is_the_runs() -> None:
    async def main() -> None:
        driver = Driver()
        tending = asyncio.create_task(driver.coordinator.tend())
        await driver.end((await driver.begin()).fence, Outcome.FAULT)
        with pytest.RaisesGroup(WorkerFaultError):
            await tending

    run_virtual(main())


def test_an_attempt_at_a_repair_is_given_the_gaps_that_are_left() -> None:
    async def test(driver: Driver) -> None:
        (repair,) = shards_to_repair(["a", "b"], 1, 100.0, [7])
        driver.books.readings = {
            "a": ([Gap(3, 2), Gap(6, 1)], {page: 10 * page for page in range(1, 10)}),
            "b": ([], {1: 10}),
        }
        driver.coordinator.add(repair)
        begun = await driver.begin(7)
        assert not begun.sellers
        before_the_last = {page: 10 * page for page in range(1, 6)}
        assert repairs_of(begun.to_repair) == {"a": ([Gap(3, 2), Gap(6, 1)], before_the_last)}
        await driver.end(begun.fence, Outcome.DONE)
        assert repair.is_done

    tended(test)


def test_an_attempt_is_given_what_the_first_pages_are_compared_with_that_are_still_to_be_read() -> None:
    async def test(driver: Driver) -> None:
        match = Match(date(2026, 11, 22), 40, carried=True)
        known = {name: KnownFirstPage(2**64 - 1, match) for name in ("a", "begun", "elsewhere")}
        sellers = SellerProgress("a"), SellerProgress("begun", next_page=2), SellerProgress("b")
        shard = shard_of(7, sellers, {"a": 9, "elsewhere": 9}, known.get)
        assert shard.depths == {"a": 9}
        driver.coordinator.add(shard)
        begun = await driver.begin(7)
        assert first_pages_of(begun.first_pages) == {"a": known["a"]}
        await driver.end(begun.fence, Outcome.STOPPED)
        shard.sellers["a"].next_page = 2
        assert not (await driver.begin(7)).first_pages

    tended(test)


def test_a_seller_whose_repair_is_refused_has_ended_before_and_keeps_its_gaps() -> None:
    async def test(driver: Driver) -> None:
        other = (await driver.begin(0)).fence
        (repair,) = shards_to_repair(["7", "8"], 1, 100.0, [7])
        driver.books.readings = {each: ([Gap(2, 1)], {1: 10}) for each in repair.sellers}
        driver.coordinator.add(repair)
        attempt = (await driver.begin(7)).fence
        await driver.end(attempt, Outcome.IN_DOUBT, refused=refusals(7))
        await driver.renew(other, has_answer=True, is_address_proven=True)
        await asyncio.sleep(1)
        assert not driver.books.frames
        assert [*repair.sellers] == ["8"]
        assert [seller for seller, _, _ in (await driver.begin(7)).to_repair] == ["8"]

    tended(test)
