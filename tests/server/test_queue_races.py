"""The queue where two things meet: an old poll and a new one, a late word and a fresh one, many jobs due at once."""

import asyncio
from collections import Counter
from functools import partial
from hashlib import sha256
from uuid import UUID

import pytest
from queue_world import World, asking, done, eventually, identity, nobody

from runner_protocol.messages import ReportEnvelope
from runner_protocol.results import FaultClass
from runner_protocol.states import JobState
from server_stub import claims, sweeping
from server_stub.errors import UnauthorizedError
from server_stub.job_queue import JobQueue
from server_stub.parsing import Parsing
from server_stub.removing import remove
from server_stub.settings import Settings
from server_stub.store import runners
from server_stub.store.database import Database
from server_stub.telemetry import Telemetry
from server_stub.tracing import Traces

pytestmark = pytest.mark.anyio


async def _ending(world: World, uuid: UUID, attempt: int = 1) -> str:
    sql = (
        "SELECT a.ending FROM job_attempt a JOIN job j ON j.id = a.job_id WHERE j.uuid = :job AND a.attempt = :attempt"
    )
    return str(await world.database.read(lambda tx: tx.value(sql, job=str(uuid), attempt=attempt)))


def _counted(telemetry: Telemetry, state: JobState, fault: str) -> float:
    return telemetry.registry.get_sample_value("bench_attempts_ended_total", {"state": state, "fault": fault}) or 0


async def test_a_report_that_takes_longer_than_a_lease_to_send_is_delivered(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    job = await world.claimed(runner)
    text = done(job).model_dump_json().encode()
    parts = [text[start : start + 200] for start in range(0, len(text), 200)]
    await world.beat(runner, job)
    for number, part in enumerate(parts):
        await world.later(uuid, lease_until_ms=40_000)  # Of 45 s.
        await world.queue.put_piece(runner.slug, runner.key, job.job, 1, number, part)
        now_ms = await world.database.read(lambda tx: tx.now_ms())
        assert (await world.row(uuid))["lease_until_ms"] > now_ms + 30_000
    envelope = ReportEnvelope(attempt=1, pieces=len(parts), sha256=sha256(text).hexdigest())
    assert len(parts) > 1
    assert (await world.queue.report(runner.slug, runner.key, uuid, envelope)).state is JobState.COMPLETED


async def test_jobs_that_were_left_behind_are_parsed_while_others_come(world: World) -> None:
    runner, left = await world.runner(), [await world.job(), await world.job()]
    dead = World(world.database, JobQueue(world.database, Settings(), nobody), world.spec, world.project)
    for _ in left:
        await dead.report(runner, done(await dead.claimed(runner)))
    for uuid in left:
        await world.later(uuid, processing_ms=10**9)
    parsed: Counter[UUID] = Counter()
    own = UUID(int=1)
    parsing: Parsing

    async def parse(job: UUID) -> None:
        parsed[job] += 1
        parsing.put(own)  # The next one has come before this one is done.
        await asyncio.sleep(0)

    parsing = Parsing(world.database, parse, Traces())
    parsing.put(own)
    task = asyncio.create_task(parsing.forever(0.05))
    await world.until(lambda: set(left) <= set(parsed))
    task.cancel()
    assert parsed[own] > 1


async def test_a_poll_that_waits_takes_no_job_from_a_newer_call_of_its_runner(database: Database, world: World) -> None:
    """They wait at two server processes, and the client of the older one has gone unseen."""
    runner, agent = await world.runner(), identity()
    elsewhere = JobQueue(database, Settings(), nobody)
    other = World(database, elsewhere, world.spec, world.project)
    older = asyncio.create_task(other.claim(runner, asking(agent, poll_timeout=60)))
    await world.until(lambda: len(elsewhere.waiters) == 1)
    uuid = await world.job()
    await world.beat(runner, await world.claimed(runner, asking(agent)))
    second = await world.job()
    elsewhere.waiters.wake_one(world.spec)
    assert await asyncio.wait_for(older, 10) is None
    assert await world.state(uuid) is JobState.RUNNING
    assert await world.state(second) is JobState.PENDING


async def test_a_job_that_is_handed_out_again_is_not_taken_back(world: World) -> None:
    """Its holder may have it from the first answer."""
    runner, agent = await world.runner(), identity()
    uuid = await world.job()
    first = await world.claimed(runner, asking(agent))
    poll = await world.queue.arrive(runner.slug, runner.key, asking(agent))
    assert poll.claim is not None and poll.claim.message.job == uuid
    await world.beat(runner, first)
    assert not await world.database.write(partial(claims.put_back, claim=poll.claim))
    assert await world.state(uuid) is JobState.RUNNING


async def test_as_many_agents_are_woken_as_jobs_become_due(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuids = [await world.job() for _ in range(5)]
    hold = "UPDATE job SET not_before_ms = not_before_ms + 3600000"
    await database.write(lambda tx: tx.run(hold))
    racks = [await world.runner(f"rack {number}") for number in range(5)]
    polls = [asyncio.create_task(world.claim(rack, asking(poll_timeout=60))) for rack in racks]
    await world.until(lambda: len(world.queue.waiters.specs_wanted()) == 1 and len(world.queue.waiters) == 5)
    woken: list[int] = []
    monkeypatch.setattr(sweeping, "WAKES_MAX", 3)
    monkeypatch.setattr(world.queue.waiters, "wake_one", woken.append)
    await database.write(lambda tx: tx.run(hold.replace("+", "-")))
    await world.until(lambda: bool(woken))
    assert len(woken) % 3 == 0
    monkeypatch.undo()
    assert {(await asyncio.wait_for(poll, 10)).job for poll in polls} == set(uuids)  # type: ignore[union-attr]


async def test_a_canceled_job_of_a_silent_holder_was_confirmed_and_is_canceled(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    await world.beat(runner, await world.claimed(runner))
    await world.queue.cancel(uuid, world.project[1])
    await world.later(uuid, lease_until_ms=46_000)
    await eventually(partial(_is, world, uuid, JobState.CANCELED))
    assert await _ending(world, uuid) == "canceled"


async def test_what_a_replaced_process_said_does_not_come_back(world: World) -> None:
    runner, one, two = await world.runner(), identity(), identity()
    elsewhere = World(world.database, JobQueue(world.database, Settings(), nobody), world.spec, world.project)
    for agent, queue in ((one, world.queue), (one, elsewhere.queue)):
        await queue.arrive(runner.slug, runner.key, asking(agent))
        await queue.arrive(runner.slug, runner.key, asking(agent, blocked=["disk"]))
    await asyncio.sleep(0.01)  # A later millisecond.
    await world.claim(runner, asking(two))
    for queue in (world.queue, elsewhere.queue):
        await queue._seen.write()
    written = await world.database.read(
        lambda tx: tx.value("SELECT agent FROM runner_session WHERE runner_id = :id", id=runner.id)
    )
    assert str(two.instance) in written


async def test_a_wake_that_a_runner_cannot_use_goes_to_the_next(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(database, Settings(sweep_s=60), nobody)  # No sweep comes to the rescue.
    look = queue._look

    async def drained_before_it_looks(caller: claims.Caller) -> claims.Claim | None:
        if caller.named == first.slug:
            await database.write(lambda tx: tx.run("UPDATE runner SET drained_ms = 1 WHERE id = :id", id=first.id))
        return await look(caller)

    monkeypatch.setattr(queue, "_look", drained_before_it_looks)
    async with queue.running():
        here = World(database, queue, world.spec, world.project)
        await here.until(lambda: queue.swept is not None)
        first, second = await here.runner(), await here.runner("rack 2")
        polls = []
        for number, one in enumerate((first, second), 1):
            polls.append(asyncio.create_task(here.claim(one, asking(poll_timeout=60))))
            await here.until(lambda expected=number: len(queue.waiters) == expected)  # type: ignore[misc]
        uuid = await here.job()
        job = await asyncio.wait_for(polls[1], 10)
        assert job is not None and job.job == uuid
        assert not polls[0].done()


async def test_a_removed_runners_job_goes_to_another_at_once_and_at_no_cost(world: World) -> None:
    runner, other, uuid = await world.runner(), await world.runner("rack 2"), await world.job()
    job = await world.claimed(runner)
    await world.beat(runner, job)
    poll = asyncio.create_task(world.claim(other, asking(poll_timeout=60)))
    await world.until(lambda: len(world.queue.waiters) == 1)
    row = await world.database.read(lambda tx: runners.find(tx, runner.slug))
    await world.database.write(lambda tx: remove(tx, row))
    again = await asyncio.wait_for(poll, 10)
    assert again is not None and (again.job, again.attempt) == (uuid, 2)
    assert (await world.row(uuid))["lost"] == 0
    assert await _ending(world, uuid) == "released"
    with pytest.raises(UnauthorizedError):
        await world.beat(runner, job)


async def test_a_removed_runners_canceled_job_is_canceled(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    await world.beat(runner, await world.claimed(runner))
    await world.queue.cancel(uuid, world.project[1])
    row = await world.database.read(lambda tx: runners.find(tx, runner.slug))
    await world.database.write(lambda tx: remove(tx, row))
    assert await world.state(uuid) is JobState.CANCELED


async def test_attempts_that_end_without_a_report_are_counted(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    await world.beat(runner, await world.claimed(runner, asking(identity())))
    assert await world.claim(runner, asking(identity())) is None
    telemetry = world.queue.telemetry
    assert _counted(telemetry, JobState.PENDING, FaultClass.AGENT_RESTARTED) == 1
    await world.later(uuid, not_before_ms=60_000)
    await world.beat(runner, await world.claimed(runner))
    await world.later(uuid, lease_until_ms=46_000)
    await world.until(lambda: _counted(telemetry, JobState.PENDING, FaultClass.AGENT_LOST) == 1)


async def _is(world: World, uuid: UUID, state: JobState) -> bool:
    return await world.state(uuid) is state
