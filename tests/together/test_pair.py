"""The pair tests itself: a run goes in by the public API, the agent runs it, and the report comes back by the API."""

import json
from pathlib import Path

import anyio
import pytest
from agents import until
from fakes import FakeEngine, record_of
from pairs import Pair

from runner_agent.current_job import CurrentJob
from runner_agent.engine import IterationOrder
from runner_agent.errors import HostFault, JobFault
from runner_agent.session import Ending
from runner_agent.spool import Spool
from runner_protocol.messages import ClaimRequest
from runner_protocol.results import Fault, FaultClass, IterationRecord, Outcome, RunReport, Stage

pytestmark = pytest.mark.anyio


def bmf(order: IterationOrder) -> IterationRecord:
    """A container that prints one benchmark, a little slower each time."""
    results = {"sort": {"latency": {"value": 100.0 + order.number}}}
    return record_of(order, stdout=json.dumps(results))


async def test_a_run_goes_all_the_way_and_every_iteration_is_in_the_report(pair: Pair, tmp_path: Path) -> None:
    async with pair.agent(FakeEngine(script=bmf), tmp_path) as endings:
        submitted = await pair.submit(iter=3)
        job = await pair.ended(submitted)
    report = await pair.report(submitted)
    assert (job["status"], endings) == ("processed", [Ending.DRAINED])
    values = [
        measure["metric"]["value"]
        for iteration in report["results"]
        for result in iteration
        for measure in result["measures"]
    ]
    assert values == [100.0, 101.0, 102.0]


async def test_the_jobs_own_fault_reaches_its_submitter_with_class_stage_and_output(pair: Pair, tmp_path: Path) -> None:
    engine = FakeEngine(script=lambda order: record_of(order, exit_code=3, stdout="the sum is wrong"))
    async with pair.agent(engine, tmp_path):
        job = await pair.ended(await pair.submit(iter=3))
    assert job["status"] == "failed"
    assert "exit_code" in json.dumps(job) and "the sum is wrong" in json.dumps(job)
    assert len(engine.orders) == 1


async def test_a_bad_image_fails_the_job_and_the_next_one_runs(pair: Pair, tmp_path: Path) -> None:
    fault = Fault(kind=FaultClass.IMAGE_NOT_FOUND, stage=Stage.PULL, message="no such image")
    engine = FakeEngine(script=bmf, pull_error=JobFault(fault))
    async with pair.agent(engine, tmp_path):
        failed = await pair.ended(await pair.submit())
        engine.pull_error = None
        well = await pair.ended(await pair.submit())
    assert (failed["status"], well["status"]) == ("failed", "processed")


async def test_a_fault_of_the_host_is_tried_again_and_the_second_attempt_counts(pair: Pair, tmp_path: Path) -> None:
    engine = FakeEngine(script=bmf, run_error=HostFault(FaultClass.CONTAINER_LOST, Stage.ITERATE, "gone"))
    async with pair.agent(engine, tmp_path):
        submitted = await pair.submit()
        await engine.running.wait()
        engine.run_error = None
        job = await pair.ended(submitted)
    assert (job["status"], len(engine.orders)) == ("processed", 2)
    assert [order.attempt for order in engine.orders] == [1, 2]


async def test_a_cancel_by_the_submitter_kills_the_container(pair: Pair, tmp_path: Path) -> None:
    engine = FakeEngine(gate=anyio.Event())
    async with pair.agent(engine, tmp_path):
        submitted = await pair.submit()
        await engine.running.wait()
        canceled = await pair.api.post(f"/v0/projects/pair/jobs/{submitted['job']}/cancel")
        assert canceled.status_code in {200, 202}, canceled.text
        job = await pair.ended(submitted)
    assert (job["status"], engine.killed) == ("canceled", [0])


async def test_progress_is_seen_while_the_job_runs(pair: Pair, tmp_path: Path) -> None:
    engine = FakeEngine(script=bmf, gate=anyio.Event())
    async with pair.agent(engine, tmp_path):
        submitted = await pair.submit(iter=2)
        await engine.running.wait()
        with anyio.fail_after(30):
            while "line of 0" not in json.dumps(await pair.job(submitted)):  # noqa: ASYNC110  The API has no events.
                await anyio.sleep(0.05)
        assert engine.gate is not None
        engine.gate.set()
        await pair.ended(submitted)


async def test_a_restarted_agent_hands_the_job_back_and_runs_it_again(pair: Pair, tmp_path: Path) -> None:
    submitted = await pair.submit()
    async with pair.client(instance=1) as killed:
        job = await killed.claim(ClaimRequest(poll_timeout=5))
        assert job is not None
        CurrentJob(tmp_path).remember(job)
    engine = FakeEngine(script=bmf)
    async with pair.agent(engine, tmp_path, instance=2):
        ended = await pair.ended(submitted)
    assert ended["status"] == "processed"
    assert len(engine.orders) == 1


async def test_a_report_that_was_spooled_before_the_crash_is_the_one_that_counts(pair: Pair, tmp_path: Path) -> None:
    submitted = await pair.submit()
    async with pair.client(instance=1) as killed:
        job = await killed.claim(ClaimRequest(poll_timeout=5))
        assert job is not None
        CurrentJob(tmp_path).remember(job)
        printed = IterationRecord(number=0, exit_code=0)
        printed = printed.model_copy(
            update={"stdout": printed.stdout.model_copy(update={"text": '{"sort": {"latency": {"value": 7.0}}}'})}
        )
        report = RunReport(job=job.job, attempt=job.attempt, outcome=Outcome.COMPLETED, iterations=[printed])
        Spool(tmp_path / "spool").put(report, piece_bytes_max=100)
    engine = FakeEngine(script=bmf)
    async with pair.agent(engine, tmp_path, instance=2):
        ended = await pair.ended(submitted)
    assert (ended["status"], engine.orders) == ("processed", [])


async def test_a_result_of_many_megabytes_arrives_whole(pair: Pair, tmp_path: Path) -> None:
    filler = "x" * (3 << 20)
    engine = FakeEngine(
        script=lambda order: bmf(order).model_copy(
            update={"stderr": record_of(order).stdout.model_copy(update={"text": filler})}
        )
    )
    async with pair.agent(engine, tmp_path):
        job = await pair.ended(await pair.submit(iter=2))
    assert job["status"] == "processed"


async def test_two_agents_with_one_key_are_one_too_many_and_the_second_gets_no_job(pair: Pair, tmp_path: Path) -> None:
    engines = [FakeEngine(script=bmf), FakeEngine(script=bmf)]
    async with pair.agent(engines[0], tmp_path / "a", instance=1):
        await until(lambda: engines[0].sweeps == 1)
        async with pair.agent(engines[1], tmp_path / "b", instance=2):
            reports = [await pair.submit() for _ in range(3)]
            states = [(await pair.ended(report))["status"] for report in reports]
    assert states == ["processed"] * 3
