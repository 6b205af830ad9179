"""Waiting agents: one woken per job, the longest idle first, and no job asleep beside an idle agent."""

import asyncio

import pytest

from server_stub.waiters import STALE_ENTRIES_MIN, Waiter, Waiters

pytestmark = pytest.mark.anyio
SPEC = frozenset({1})


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


async def woken(*parked: Waiter) -> list[int]:
    """Which of them are awake, by runner."""
    return [waiter.runner_id for waiter in parked if not waiter.armed]


async def test_each_job_wakes_one_waiter_and_the_longest_idle_first() -> None:
    waiters = Waiters()
    with waiters.parked(7) as first, waiters.parked(3) as second, waiters.parked(5) as third:
        for waiter in (third, first, second):
            waiters.arm(waiter, SPEC)
        waiters.wake_one(1)
        assert await woken(first, second, third) == [7]
        waiters.wake_one(1)
        assert await woken(first, second, third) == [7, 3]
        assert await first.wait(soon())


async def test_a_runner_stays_the_longest_idle_over_many_polls_until_it_is_handed_work() -> None:
    waiters = Waiters()
    with waiters.parked(1), waiters.parked(2):
        pass
    with waiters.parked(2) as second, waiters.parked(1) as first:
        waiters.arm(second, SPEC)
        waiters.arm(first, SPEC)
        waiters.wake_one(1)
        assert await woken(first, second) == [1]
    waiters.handed(1)
    with waiters.parked(1) as first, waiters.parked(2) as second:
        waiters.arm(first, SPEC)
        waiters.arm(second, SPEC)
        waiters.wake_one(1)
        assert await woken(first, second) == [2]


async def test_a_job_of_another_spec_wakes_nobody() -> None:
    waiters = Waiters()
    with waiters.parked(1) as waiter:
        waiters.arm(waiter, SPEC)
        waiters.wake_one(2)
        assert waiter.armed
        assert not await waiter.wait(asyncio.get_running_loop().time())


async def test_a_job_queued_while_a_waiter_looks_is_not_slept_through() -> None:
    waiters = Waiters()
    with waiters.parked(1) as waiter:
        waiters.arm(waiter, SPEC)
        waiters.wake_one(1)  # While it looks, and finds nothing.
        assert await waiter.wait(soon())
        assert waiter.woken_by == 1


async def test_a_wake_that_its_receiver_did_not_use_is_passed_on() -> None:
    waiters = Waiters()
    with waiters.parked(2) as other:
        with waiters.parked(1) as leaving:
            waiters.arm(leaving, SPEC)
            waiters.arm(other, SPEC)
            waiters.wake_one(1)
            woken_first = leaving if not leaving.armed else other
            assert woken_first is other
            waiters.arm(other, frozenset())  # Drained in the meantime: it stands in line for nothing.
            assert not leaving.armed
        assert other.armed


async def test_a_waiter_that_leaves_with_an_unused_wake_passes_it_on() -> None:
    waiters = Waiters()
    with waiters.parked(1) as first, waiters.parked(2) as second:
        waiters.arm(first, SPEC)
        waiters.arm(second, SPEC)
        waiters.wake_one(1)
        assert await woken(first, second) == [1]
        first.leave()
    assert await woken(second) == [2]


async def test_a_newer_poll_of_the_same_runner_has_the_older_one_answered() -> None:
    waiters = Waiters()
    with waiters.parked(1) as older:
        waiters.arm(older, SPEC)
        with waiters.parked(1) as newer:
            assert older.left and not newer.left
            assert not await older.wait(soon())
            assert len(waiters) == 1


async def test_closing_answers_every_poll_and_every_later_one_at_once() -> None:
    waiters = Waiters()
    with waiters.parked(1) as waiter:
        waiters.arm(waiter, SPEC)
        waiters.close()
        assert not await waiter.wait(soon())
    with waiters.parked(2) as later:
        assert later.left


async def test_changing_a_runner_wakes_its_poll_alone_and_counts_for_no_job() -> None:
    waiters = Waiters()
    with waiters.parked(1) as changed, waiters.parked(2) as other:
        waiters.arm(changed, SPEC)
        waiters.arm(other, SPEC)
        waiters.wake_runner(1)
        assert (changed.armed, changed.woken_by, other.armed) == (False, None, True)
        waiters.wake_all()
        assert not other.armed


async def test_who_is_woken_for_a_job_and_for_a_change_still_looks_for_the_job() -> None:
    waiters = Waiters()
    with waiters.parked(1) as waiter:
        waiters.arm(waiter, SPEC)
        waiters.wake_one(1)
        waiters.wake_runner(1)
        assert waiter.woken_by == 1


async def test_who_may_not_take_a_job_passes_its_wake_on_and_does_not_wake_itself() -> None:
    waiters = Waiters()
    with waiters.parked(1) as barred, waiters.parked(2) as other:
        waiters.arm(barred, SPEC)
        waiters.arm(other, SPEC)
        waiters.pass_on(barred, 1)
        assert (barred.armed, other.woken_by) == (True, 1)


async def test_what_can_wait_lets_those_go_first_that_were_woken_for_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_stub.waiters.LOOK_S_MAX", 60)
    waiters = Waiters()
    await waiters.all_looked()  # Nobody waits for work.
    with waiters.parked(1) as first, waiters.parked(2) as second:
        waiters.arm(first, SPEC)
        waiters.arm(second, SPEC)
        await waiters.all_looked()
        waiters.wake_one(1)
        waiters.wake_one(1)
        later = asyncio.create_task(waiters.all_looked())
        assert await first.wait(soon())
        waiters.arm(first, SPEC)
        waiters.wake_one(1)  # While it looks.
        assert await first.wait(soon())
        second.leave()
        await asyncio.sleep(0)
        assert not later.done()
        waiters.arm(first, SPEC)
        sleeps = asyncio.create_task(first.wait(soon()))
        await asyncio.sleep(0)
        assert not later.done()  # The other has not left yet.
    await asyncio.wait_for(later, 5)
    sleeps.cancel()


async def test_who_is_woken_while_it_looks_has_not_looked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_stub.waiters.LOOK_S_MAX", 60)
    waiters = Waiters()
    with waiters.parked(1) as waiter:
        waiters.arm(waiter, SPEC)
        waiters.wake_one(1)
        assert await waiter.wait(soon())
        later = asyncio.create_task(waiters.all_looked())
        await asyncio.sleep(0)
        assert not later.done()
    await asyncio.wait_for(later, 5)


async def test_what_can_wait_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_stub.waiters.LOOK_S_MAX", 0.01)
    waiters = Waiters()
    with waiters.parked(1) as waiter:
        waiters.arm(waiter, SPEC)
        waiters.wake_one(1)
        await asyncio.wait_for(waiters.all_looked(), 5)
        assert not waiter.armed


async def test_the_line_does_not_grow_with_polls_that_have_left() -> None:
    waiters = Waiters()
    for _ in range(20 * STALE_ENTRIES_MIN):
        with waiters.parked(1) as waiter:
            waiters.arm(waiter, SPEC)
    assert len(waiters._queues[1]) <= STALE_ENTRIES_MIN
    assert waiters.specs_wanted() == [] and waiters.runner_ids() == []
