"""The queue on both databases: claims, leases, reports, cancels and what happens beside them."""

import asyncio
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from queue_world import Runner, World, asking, done, eventually, identity, new_project, new_spec, nobody

from runner_protocol.jobs import ClaimedJob, RegistryAuth
from runner_protocol.messages import ReportEnvelope
from runner_protocol.problems import Stale
from runner_protocol.results import Fault, FaultClass, Outcome, Stage
from runner_protocol.states import JobState
from server_stub.canceling import cancel
from server_stub.departure import Departure
from server_stub.errors import BadRequestError, ConflictError, NotFoundError, UnauthorizedError
from server_stub.job_queue import JobQueue
from server_stub.settings import Settings
from server_stub.store import job_reads, jobs, outputs, runners
from server_stub.store.database import Database
from server_stub.store.tx import Tx

pytestmark = pytest.mark.anyio
T = TypeVar("T")


async def test_jobs_of_a_clock_that_was_ahead_are_brought_back_when_a_server_starts(world: World) -> None:
    hour_ms = 3_600_000
    runner, other = await world.runner(), await world.runner("rack 2")
    deaf, left, waits = [await world.job() for _ in range(3)]
    held = await world.claimed(runner)
    await world.beat(runner, held)
    reported = await world.claimed(other)
    await world.report(other, done(reported))
    assert (held.job, reported.job) == (deaf, left)
    await world.database.write(partial(cancel, uuid=deaf, project_id=None))
    await world.later(deaf, lease_until_ms=-hour_ms, cancel_ms=-hour_ms)
    await world.later(left, processing_ms=-hour_ms)
    await world.later(waits, not_before_ms=-hour_ms)
    async with JobQueue(world.database, Settings(sweep_s=0.05), nobody).running():
        assert (await world.claimed(other)).job == waits
    moments = ((deaf, "lease_until_ms"), (deaf, "cancel_ms"), (left, "processing_ms"), (waits, "not_before_ms"))
    rows = [(await world.row(job), name) for job, name in moments]
    assert [name for row, name in rows if row[name] - row["created_ms"] > hour_ms // 2] == []


async def leased_without_a_server(database: Database) -> tuple[World, Runner, ClaimedJob]:
    """A job that runs, with a lease that ran out an hour ago, and nobody there who sweeps."""
    queue = JobQueue(database, Settings(sweep_s=0.05), nobody)
    world = World(database, queue, await database.write(new_spec), await database.write(new_project))
    async with queue.running():
        runner, uuid = await world.runner(), await world.job()
        job = await world.claimed(runner)
        await world.beat(runner, job)
    await world.later(uuid, lease_until_ms=3_600_000)
    return world, runner, job


async def test_a_lease_that_ran_out_while_no_server_was_there_is_still_its_holders(database: Database) -> None:
    world, runner, job = await leased_without_a_server(database)
    async with JobQueue(database, Settings(sweep_s=0.05), nobody).running():
        await asyncio.sleep(0.3)
        assert await world.state(job.job) is JobState.RUNNING
        assert await world.report(runner, done(job)) is JobState.COMPLETED


async def test_a_holder_that_stays_silent_after_an_outage_loses_its_lease(database: Database) -> None:
    world, _, job = await leased_without_a_server(database)
    async with JobQueue(database, Settings(sweep_s=0.05, outage_grace_s=0.4), nobody).running():

        async def is_lost() -> bool:
            return await world.state(job.job) is JobState.PENDING

        await eventually(is_lost)


async def test_a_report_that_another_process_overtakes_is_refused_and_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, uuid = await world.runner(), await world.job()
    job = await world.claimed(runner)
    read = jobs.of_attempts

    def overtaken(tx: Tx, wanted: Any) -> Any:
        rows = read(tx, wanted)
        tx.run("UPDATE job SET state = 'pending', runner_id = NULL, lease_until_ms = NULL")
        return rows

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "of_attempts", overtaken)
        assert await world.stale(world.report(runner, done(job))) is Stale.SUPERSEDED
    assert await world.database.read(partial(outputs.find_report, uuid=uuid)) is None


async def test_a_job_goes_all_the_way(world: World) -> None:
    runner, auth = await world.runner(), RegistryAuth.model_validate({"username": "ada", "password": "secret"})
    uuid = await world.job(auth=auth, timeout_s=60)
    job = await world.claimed(runner)
    assert (job.job, job.attempt, job.project, job.spec.slug, job.registry_auth) == (uuid, 1, "demo", "small", auth)
    assert (job.work.image, job.budgets.iteration_s_max) == ("localhost:5000/bench:v1", 60)
    assert await world.state(uuid) is JobState.CLAIMED
    assert not await world.beat(runner, job)
    assert await world.state(uuid) is JobState.RUNNING
    assert await world.report(runner, done(job)) is JobState.COMPLETED
    await world.until(lambda: world.completed == [uuid])
    assert await world.database.read(partial(outputs.stored_report, uuid=uuid)) == done(job)
    assert await world.database.write(partial(jobs.settle, uuid=uuid))
    assert not await world.database.write(partial(jobs.settle, uuid=uuid))
    assert await world.state(uuid) is JobState.PROCESSED
    auths = await world.database.read(lambda tx: tx.all("SELECT registry_auth FROM job_request"))
    assert auths == [{"registry_auth": None}]


async def test_a_waiting_runner_is_handed_a_job_the_moment_it_is_queued(world: World) -> None:
    runner = await world.runner()
    poll = asyncio.create_task(world.claim(runner, asking(poll_timeout=60)))
    await world.until(lambda: len(world.queue.waiters) == 1)
    uuid = await world.job()
    job = await asyncio.wait_for(poll, 10)
    assert job is not None and job.job == uuid


async def test_a_poll_that_stood_in_line_is_answered_in_the_time_that_its_client_waits(world: World) -> None:
    runner, came = await world.runner(), asyncio.get_running_loop().time() - 50
    poll = await world.queue.arrive(runner.slug, runner.key, asking(poll_timeout=60), came)
    assert poll.until == came + 60


async def test_a_job_that_is_queued_between_an_arrival_and_the_wait_is_handed_out(database: Database) -> None:
    queue = JobQueue(database, Settings(sweep_s=60), nobody)  # No sweep comes to the rescue.
    async with queue.running():
        world = World(database, queue, await database.write(new_spec), await database.write(new_project), [])
        runner = await world.runner()
        poll, stirs = await queue.arrive(runner.slug, runner.key, asking(poll_timeout=60)), queue.waiters.stirs
        queued = await world.job()
        await world.until(lambda: queue.waiters.stirs != stirs)
        job = await asyncio.wait_for(queue.wait(poll, Departure()), 20)
        assert job is not None
        assert job.job == queued


async def test_a_job_that_is_queued_between_a_look_and_the_wait_is_handed_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(database, Settings(sweep_s=60), nobody)  # No sweep comes to the rescue.
    async with queue.running():
        world = World(database, queue, await database.write(new_spec), await database.write(new_project), [])
        runner, queued = await world.runner(), list[UUID]()
        write_together = database.write_together

        async def and_then(*call: Any) -> Any:
            found = await write_together(*call)
            if not queued:
                stirs = queue.waiters.stirs
                queued.append(await world.job())
                await world.until(lambda: queue.waiters.stirs != stirs)
            return found

        monkeypatch.setattr(database, "write_together", and_then)
        job = await asyncio.wait_for(world.claim(runner, asking(poll_timeout=60)), 20)
        assert [job and job.job] == queued


async def test_a_poll_that_waits_is_a_word_that_goes_on(database: Database) -> None:
    queue = JobQueue(database, Settings(seen_flush_s=0.05, lost_s=0.3), nobody)
    async with queue.running():
        world = World(database, queue, await database.write(new_spec), await database.write(new_project), [])
        runner = await world.runner()
        poll = asyncio.create_task(world.claim(runner, asking(identity(), poll_timeout=60)))
        heard: set[int | None] = set()

        async def again() -> bool:
            heard.add(await database.read(lambda tx: job_reads.runner(tx, runner.id)["seen_ms"]))
            return len(heard) > 3

        await eventually(again)
        poll.cancel()


async def test_an_idle_poll_writes_nothing_and_ends_with_nothing(world: World) -> None:
    runner = await world.runner()
    agent = identity()
    assert await world.claim(runner, asking(agent)) is None
    assert len(world.queue.waiters) == 0


async def test_jobs_go_by_priority_then_age_and_only_to_their_spec(world: World) -> None:
    """Rows 70, 73."""
    other = await world.database.write(lambda tx: new_spec(tx, "large"))
    runner, larger = await world.runner(), await world.runner("rack 2", other)
    low, high, also = await world.job(priority=0), await world.job(priority=200), await world.job(priority=200)
    large = await world.job(spec_id=other)
    taken = []
    for _ in range(3):
        job = await world.claimed(runner)
        taken.append(job.job)
        await world.report(runner, done(job))
    assert taken == [high, also, low]
    assert await world.claim(runner) is None
    assert (await world.claimed(larger)).job == large


async def test_a_runner_of_two_specs_takes_the_oldest_of_either(world: World) -> None:
    other = await world.database.write(lambda tx: new_spec(tx, "large"))
    runner = await world.runner("rack 1", world.spec, other)
    first, second, third = await world.job(spec_id=other), await world.job(), await world.job(spec_id=other)
    taken = []
    for _ in range(3):
        job = await world.claimed(runner)
        taken.append(job.job)
        await world.report(runner, done(job))
    assert taken == [first, second, third]


async def test_many_runners_that_race_share_the_jobs_without_one_twice(world: World) -> None:
    """Row 72."""
    rivals = [await world.runner(f"rack {number}") for number in range(8)]
    queued = {await world.job() for _ in range(6)}
    claims = await asyncio.gather(*(world.claim(runner) for runner in rivals))
    taken = [claim.job for claim in claims if claim]
    assert sorted(taken, key=str) == sorted(queued, key=str)


async def test_two_polls_with_one_key_get_one_job(world: World) -> None:
    runner, agent = await world.runner(), identity()
    await world.job()
    await world.job()
    answers = await asyncio.gather(*(world.claim(runner, asking(agent)) for _ in range(4)))
    assert len({answer.job for answer in answers if answer}) == 1


async def test_a_claim_whose_answer_was_lost_is_handed_to_the_same_process_again(world: World) -> None:
    runner, agent = await world.runner(), identity()
    await world.job()
    first = await world.claimed(runner, asking(agent))
    again = await world.claimed(runner, asking(agent))
    assert again == first


async def test_a_claim_that_is_never_confirmed_returns_to_the_queue_at_no_cost(world: World) -> None:
    runner, other = await world.runner(), await world.runner("rack 2")
    uuid = await world.job()
    lost = await world.claimed(runner)
    await world.later(uuid, lease_until_ms=31_000)
    await _pending(world, uuid)
    assert (await world.row(uuid))["lost"] == 0
    await world.later(uuid, not_before_ms=2_000)
    again = await world.claimed(other)
    assert (again.job, again.attempt) == (uuid, 2)
    assert await world.stale(world.beat(runner, lost)) is Stale.SUPERSEDED
    assert await world.stale(world.report(runner, done(lost))) is Stale.SUPERSEDED


async def test_a_lost_lease_is_given_to_another_runner_and_fences_the_first(world: World) -> None:
    """Row 79, where we differ: the job is tried again instead of failed."""
    runner, other = await world.runner(), await world.runner("rack 2")
    uuid = await world.job()
    lost = await world.claimed(runner)
    await world.beat(runner, lost)
    poll = asyncio.create_task(world.claim(other, asking(poll_timeout=60)))
    await world.later(uuid, lease_until_ms=46_000)
    await _pending(world, uuid)
    assert (await world.row(uuid))["lost"] == 1
    await world.later(uuid, not_before_ms=60_000)
    again = await asyncio.wait_for(poll, 10)
    assert again is not None and again.attempt == 2
    assert await world.stale(world.report(runner, done(lost))) is Stale.SUPERSEDED
    assert await world.report(other, done(again)) is JobState.COMPLETED
    assert await world.stale(world.beat(other, again)) is Stale.FINISHED
    assert await world.stale(world.beat(runner, lost)) is Stale.FINISHED


async def test_a_job_is_given_up_when_its_attempts_are_used_up(world: World) -> None:
    runner = await world.runner()
    uuid = await world.job()
    for attempt in (1, 2, 3):
        job = await world.claimed(runner)
        assert job.attempt == attempt
        state = await world.report(runner, done(job, Outcome.FAILED, FaultClass.ENGINE_FAULT))
        await world.later(uuid, not_before_ms=200_000)
    assert state is JobState.FAILED
    fault = Fault.model_validate_json((await world.row(uuid))["fault"])
    assert (fault.kind, fault.message) == (FaultClass.ENGINE_FAULT, "gave up after 3 attempts; the last one: so it is")


async def test_a_report_that_is_sent_again_gets_the_same_answer_and_another_is_refused(world: World) -> None:
    """Rows 75, 76."""
    runner = await world.runner()
    await world.job()
    job = await world.claimed(runner)
    handed_back = done(job, Outcome.RELEASED, FaultClass.AGENT_STOPPED)
    assert await world.report(runner, handed_back) is JobState.PENDING
    assert await world.report(runner, handed_back) is JobState.PENDING
    again = await world.claimed(runner)
    assert await world.report(runner, handed_back) is JobState.PENDING
    assert await world.report(runner, done(again)) is JobState.COMPLETED
    assert await world.report(runner, done(again)) is JobState.COMPLETED
    other = done(again, Outcome.FAILED, FaultClass.EXIT_CODE)
    assert await world.stale(world.report(runner, other)) is Stale.FINISHED
    assert set(world.completed) <= {job.job}  # To be parsed once more, which has no effect, or not yet.


async def test_a_report_in_pieces_is_put_together_checked_and_cleared_away(world: World) -> None:
    runner = await world.runner()
    await world.job()
    job = await world.claimed(runner)
    text = done(job).model_dump_json().encode()
    parts = [text[start : start + 100] for start in range(0, len(text), 100)]
    envelope = ReportEnvelope(attempt=1, pieces=len(parts), sha256=sha256(text).hexdigest())
    wrong = envelope.model_copy(update={"sha256": "0" * 64})
    call = partial(world.queue.report, runner.slug, runner.key, job.job)
    for number, part in reversed(list(enumerate(parts))):
        with pytest.raises(BadRequestError, match="were announced"):
            await call(envelope)
        await world.queue.put_piece(runner.slug, runner.key, job.job, 1, number, part)
        await world.queue.put_piece(runner.slug, runner.key, job.job, 1, number, part)
    with pytest.raises(BadRequestError, match="sha256"):
        await call(wrong)
    assert (await call(envelope)).state is JobState.COMPLETED
    assert (await call(envelope)).state is JobState.COMPLETED
    assert await world.database.read(partial(outputs.stored_report, uuid=job.job)) == done(job)
    assert await world.database.read(lambda tx: tx.value("SELECT COUNT(*) FROM report_piece")) == 0


async def test_pieces_are_bounded_and_only_the_holder_may_send_them(world: World) -> None:
    runner, other = await world.runner(), await world.runner("rack 2")
    await world.job()
    job = await world.claimed(runner)
    limits = world.queue.terms.limits

    def put(who: Runner, attempt: int, number: int, size: int) -> Any:
        return world.queue.put_piece(who.slug, who.key, job.job, attempt, number, b"x" * size)

    with pytest.raises(BadRequestError, match="index: must be 0 to 4095"):
        await put(runner, 1, 4096, 1)
    with pytest.raises(BadRequestError, match="body: a piece must have 1 to"):
        await put(runner, 1, 0, limits.piece_bytes_max + 1)
    assert await world.stale(put(other, 1, 0, 1)) is Stale.UNKNOWN
    assert await world.stale(put(runner, 2, 0, 1)) is Stale.UNKNOWN


async def test_a_report_must_be_of_the_job_and_attempt_that_it_is_sent_for(world: World) -> None:
    runner = await world.runner()
    await world.job()
    job = await world.claimed(runner)
    envelope = ReportEnvelope(attempt=1, report=done(job).model_copy(update={"job": uuid4()}))
    with pytest.raises(BadRequestError, match="`job` and `attempt`"):
        await world.queue.report(runner.slug, runner.key, job.job, envelope)


async def test_a_pending_job_is_canceled_at_once_and_stays_so(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    project = world.project[1]
    with pytest.raises(NotFoundError):
        await world.queue.cancel(uuid, project + 1)
    await world.queue.cancel(uuid, project)
    await world.queue.cancel(uuid, project)
    assert await world.state(uuid) is JobState.CANCELED
    assert await world.claim(runner) is None


async def test_the_holder_of_a_canceled_job_is_told_with_its_next_beat(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    job = await world.claimed(runner)
    assert not await world.beat(runner, job)
    await world.queue.cancel(uuid, world.project[1])
    assert await world.beat(runner, job)
    assert await world.report(runner, done(job, Outcome.CANCELED, FaultClass.CANCELED)) is JobState.CANCELED
    assert await world.database.read(partial(outputs.find_report, uuid=uuid)) is not None
    assert await world.stale(world.beat(runner, job)) is Stale.CANCELED


async def test_a_job_that_has_ended_cannot_be_canceled(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    job = await world.claimed(runner)
    await world.report(runner, done(job, Outcome.FAILED, FaultClass.EXIT_CODE))
    with pytest.raises(ConflictError, match="is failed"):
        await world.queue.cancel(uuid, world.project[1])


async def test_a_canceled_job_whose_holder_falls_silent_ends_with_its_lease(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    await world.beat(runner, await world.claimed(runner))
    await world.queue.cancel(uuid, world.project[1])
    await world.later(uuid, lease_until_ms=46_000)
    await _reaches(world, uuid, JobState.CANCELED)


async def test_a_job_beyond_its_whole_budget_is_stopped_and_says_so(world: World) -> None:
    """Row 79."""
    runner, uuid = await world.runner(), await world.job()
    job = await world.claimed(runner)
    await world.beat(runner, job)
    await world.later(uuid, deadline_ms=10**9)
    await eventually(partial(world.beat, runner, job))
    await world.later(uuid, cancel_ms=61_000)
    await _reaches(world, uuid, JobState.CANCELED)
    assert Fault.model_validate_json((await world.row(uuid))["fault"]).kind is FaultClass.JOB_TIMEOUT


async def test_a_restarted_agent_hands_its_old_job_back_at_once(world: World) -> None:
    runner, other, uuid = await world.runner(), await world.runner("rack 2"), await world.job()
    await world.beat(runner, await world.claimed(runner, asking(identity())))
    assert await world.claim(runner, asking(identity())) is None
    row = await world.row(uuid)
    assert (row["state"], row["lost"]) == (JobState.PENDING, 1)
    assert Fault.model_validate_json(row["fault"]).kind is FaultClass.AGENT_RESTARTED
    await world.later(uuid, not_before_ms=3_000)
    assert (await world.claimed(other)).attempt == 2


async def test_the_same_runner_in_a_later_attempt_fences_its_earlier_self(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    earlier = await world.claimed(runner, asking(identity()))
    await world.beat(runner, earlier)
    successor = identity()
    assert await world.claim(runner, asking(successor)) is None
    await world.later(uuid, not_before_ms=3_000)
    again = await world.claimed(runner, asking(successor))
    assert await world.stale(world.beat(runner, earlier)) is Stale.SUPERSEDED
    assert await world.stale(world.report(runner, done(earlier))) is Stale.SUPERSEDED
    assert not await world.beat(runner, again)


async def test_a_clone_on_another_machine_is_named_and_gets_nothing(world: World) -> None:
    runner = await world.runner()
    await world.job()
    first = identity("machine-1")
    await world.claimed(runner, asking(first))
    with pytest.raises(ConflictError, match="in use on machine machine-1, which is alive") as refused:
        await world.claim(runner, asking(identity("machine-2")))
    assert (refused.value.error_code, refused.value.stale) == ("cloned_key", None)
    noted = await world.database.read(lambda tx: tx.value("SELECT rival FROM runner WHERE id = :id", id=runner.id))
    assert '"machine": "machine-2"' in noted


async def test_an_instance_that_was_replaced_and_comes_back_is_a_clone(world: World) -> None:
    runner, first, second = await world.runner(), identity(), identity()
    for agent in (first, second):
        assert await world.claim(runner, asking(agent)) is None
    with pytest.raises(ConflictError, match="two agents must not share one key"):
        await world.claim(runner, asking(first))


async def test_a_drained_runner_finishes_what_it_holds_and_is_handed_nothing_until_it_is_resumed(world: World) -> None:
    runner = await world.runner()
    await world.job()
    job = await world.claimed(runner)
    row = await world.database.read(lambda tx: runners.find(tx, runner.slug))
    await world.database.write(lambda tx: runners.drain(tx, row, "new disk"))
    assert not await world.beat(runner, job)
    assert await world.report(runner, done(job)) is JobState.COMPLETED
    uuid = await world.job()
    poll = asyncio.create_task(world.claim(runner, asking(poll_timeout=60)))
    await world.until(lambda: len(world.queue.waiters) == 1)
    await asyncio.sleep(0.2)
    assert not poll.done()
    await world.database.write(lambda tx: runners.resume(tx, row))
    claimed = await asyncio.wait_for(poll, 10)
    assert claimed is not None and claimed.job == uuid


async def test_a_drained_runner_in_line_does_not_keep_a_job_from_the_next_one(world: World) -> None:
    drained, idle = await world.runner(), await world.runner("rack 2")
    polls = {
        runner.slug: asyncio.create_task(world.claim(runner, asking(poll_timeout=60))) for runner in (drained, idle)
    }
    await world.until(lambda: len(world.queue.waiters) == 2)
    # As the command line of another process does on SQLite: the server hears nothing of it.
    await world.database.write(lambda tx: tx.run("UPDATE runner SET drained_ms = 1 WHERE id = :id", id=drained.id))
    uuid = await world.job()
    job = await asyncio.wait_for(polls[idle.slug], 10)
    assert job is not None and job.job == uuid and not polls[drained.slug].done()
    polls[drained.slug].cancel()


async def test_a_blocked_host_is_handed_nothing(world: World) -> None:
    runner = await world.runner()
    await world.job()
    assert await world.claim(runner, asking(blocked=["disk"])) is None


async def test_a_removed_runner_stops_at_once_even_while_it_waits(world: World) -> None:
    runner = await world.runner()
    poll = asyncio.create_task(world.claim(runner, asking(poll_timeout=60)))
    await world.until(lambda: len(world.queue.waiters) == 1)
    row = await world.database.read(lambda tx: runners.find(tx, runner.slug))
    await world.database.write(lambda tx: runners.archive(tx, row))
    with pytest.raises(UnauthorizedError):
        await asyncio.wait_for(poll, 10)


@pytest.mark.parametrize("key", [None, "", "bencher_runner_short", "bencher_runner_" + "a" * 30])
async def test_a_wrong_key_is_refused(world: World, key: str | None) -> None:
    runner = await world.runner()
    with pytest.raises(UnauthorizedError):
        await world.claim_as(runner.slug, key)


async def test_a_key_opens_only_its_own_runner(world: World) -> None:
    runner, other = await world.runner(), await world.runner("rack 2")
    with pytest.raises(UnauthorizedError):
        await world.claim_as(other.slug, runner.key)


async def test_keys_rotate_without_a_gap(world: World) -> None:
    runner = await world.runner()
    row = await world.database.read(lambda tx: runners.find(tx, runner.slug))
    newer = await world.database.write(lambda tx: runners.rotate_key(tx, row, 60_000))
    for key in (runner.key, newer):
        assert await world.claim_as(runner.slug, key) is None
    newest = await world.database.write(lambda tx: runners.rotate_key(tx, row, 0))
    for key in (runner.key, newer):
        with pytest.raises(UnauthorizedError):
            await world.claim_as(runner.slug, key)
    assert await world.claim_as(runner.slug, newest) is None


async def test_a_job_claimed_for_a_client_that_has_gone_returns_to_the_queue_at_once(world: World) -> None:
    runner, departure = await world.runner(), Departure()
    uuid = await world.job()
    poll = asyncio.create_task(world.claim_as(runner.slug, runner.key, departure=departure))
    async with asyncio.timeout(10):
        while not (await world.row(uuid))["attempt"] and not poll.done():
            departure.happen()
            await asyncio.sleep(0)
    assert await poll is None or await world.state(uuid) is JobState.CLAIMED
    if poll.result() is None:
        assert await world.state(uuid) is JobState.PENDING


async def test_stopping_the_server_answers_every_poll(world: World) -> None:
    runner = await world.runner()
    poll = asyncio.create_task(world.claim(runner, asking(poll_timeout=900)))
    await world.until(lambda: len(world.queue.waiters) == 1)
    world.queue.close()
    assert await asyncio.wait_for(poll, 10) is None
    assert await world.claim(runner, asking(poll_timeout=900)) is None


async def test_what_an_agent_says_of_its_host_is_written_in_batches_and_its_silence_is_seen(world: World) -> None:
    runner = await world.runner()
    await world.claim(runner, asking(identity()))
    seen = "SELECT seen_ms FROM runner_session WHERE runner_id = :id"
    first = await world.database.read(lambda tx: tx.value(seen, id=runner.id))
    await world.claim(runner, asking(identity()))

    async def seen_later() -> bool:
        return bool(await world.database.read(lambda tx: tx.value(seen, id=runner.id)) > first)

    await eventually(seen_later)


async def test_a_completed_job_that_a_dead_process_left_is_parsed_by_another(world: World) -> None:
    """Row 80; jobs that are claimed or running are their leases', not the server's, and outlive it."""
    runner, uuid = await world.runner(), await world.job()
    # It takes the report in and is never heard of again: nothing of it runs.
    dead = World(world.database, JobQueue(world.database, Settings(), nobody), world.spec, world.project)
    await dead.report(runner, done(await dead.claimed(runner)))
    assert world.completed == []
    await world.later(uuid, processing_ms=10**9)
    await world.until(lambda: world.completed == [uuid])


async def test_a_job_whose_results_cannot_be_stored_fails_with_the_reason(world: World) -> None:
    async def broken(_job: UUID) -> None:
        raise RuntimeError("a defect")

    world.queue._parsing._parse = broken
    runner, uuid = await world.runner(), await world.job()
    await world.report(runner, done(await world.claimed(runner)))
    await _reaches(world, uuid, JobState.FAILED)
    fault = Fault.model_validate_json((await world.row(uuid))["fault"])
    assert (fault.kind, fault.stage) == (FaultClass.RESULTS_UNREADABLE, Stage.PROCESS)


async def test_an_operator_retries_a_failed_job(world: World) -> None:
    runner, uuid = await world.runner(), await world.job()
    await world.report(runner, done(await world.claimed(runner), Outcome.FAILED, FaultClass.EXIT_CODE))
    row = await world.row(uuid)
    assert await world.database.write(partial(jobs.retry, job=row))
    assert not await world.database.write(partial(jobs.retry, job=row))
    assert (await world.claimed(runner)).attempt == 2


async def test_tiers_let_one_job_of_each_submitter_run_at_a_time(database: Database) -> None:
    """Rows 70, 71."""
    spec = await database.write(new_spec)
    ours, theirs = await database.write(new_project), await database.write(lambda tx: new_project(tx, "other"))
    queue = JobQueue(database, Settings(tiers=True), nobody)
    async with queue.running():
        world = World(database, queue, spec, ours)
        racks = [await world.runner(f"rack {number}") for number in range(6)]
        free = [
            await world.job(priority=100),
            await world.job(priority=100),
            await world.job(project=theirs, priority=100),
        ]
        near = [await world.job(priority=0, source_ip="10.0.0.1"), await world.job(priority=0, source_ip="10.0.0.1")]
        plus = [await world.job(priority=200), await world.job(priority=200)]
        taken = [claim.job for rack in racks if (claim := await world.claim(rack)) is not None]
        assert taken == [*plus, free[0], free[2], near[0]]


async def _pending(world: World, uuid: UUID) -> None:
    await _reaches(world, uuid, JobState.PENDING)


async def _reaches(world: World, uuid: UUID, state: JobState) -> None:
    async def there() -> bool:
        return await world.state(uuid) is state

    await eventually(there)
