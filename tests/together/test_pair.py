"""The pair tests itself: a run goes in by the public API, the agent runs it, and the report comes back by the API."""

import io
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from agents import until
from fakes import FakeEngine, record_of
from pairs import Pair, paired
from rich.console import Console

from runner_agent.current_job import CurrentJob
from runner_agent.engine import IterationOrder
from runner_agent.errors import HostFault, JobFault
from runner_agent.session import Ending
from runner_agent.spool import Spool
from runner_protocol.messages import ClaimRequest
from runner_protocol.results import CapturedText, Fault, FaultClass, IterationRecord, Outcome, RunReport, Stage, Variant
from server_stub.commands.report_table import show_report
from server_stub.store.database import Database
from server_stub.store.outputs import stored_report

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


async def test_a_baseline_runs_in_pairs_and_the_ratio_is_printed_to_who_waits(pair: Pair, tmp_path: Path) -> None:
    def two_speeds(order: IterationOrder) -> IterationRecord:
        took_ns = 110_000_000 if order.variant is Variant.CANDIDATE else 100_000_000
        return bmf(order).model_copy(update={"wall_ns": took_ns + order.number})

    engine = FakeEngine(script=two_speeds)
    async with pair.agent(engine, tmp_path):
        submitted = await pair.submit(iter=6, baseline="registry.test/bench:0")
        job = await pair.ended(submitted)
    report = await pair.report(submitted)
    variants = [order.variant for order in engine.orders]
    assert (variants.count(Variant.CANDIDATE), variants.count(Variant.BASELINE)) == (6, 6)
    assert all(set(variants[place : place + 2]) == set(Variant) for place in range(0, 12, 2))
    comparison = job["trust"]["comparison"]
    assert (comparison["pairs"], round(comparison["ratio"], 4), comparison["p_value"]) == (6, 1.1, 2 / 64)
    assert len(report["results"]) == 6, "only the candidate's results are parsed"
    printed = io.StringIO()
    show_report(report, job, "http://server", Console(file=printed, width=120))
    assert (
        "candidate / baseline: 1.1000 (95 %: 1.1000 … 1.1000), 6 pairs of wall time, p = 0.031; changes"
        in printed.getvalue()
    )


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


@pytest.fixture
async def small_reports(database: Database) -> AsyncIterator[Pair]:
    """A server that takes reports of 1 MiB, in pieces of 64 KiB."""
    bounds: dict[str, Any] = {"report_bytes_max": 1 << 20, "piece_bytes_max": 64 << 10}
    async with paired(database, heartbeat_s=0.1, lease_s=30, sweep_s=0.1, **bounds) as pair:
        yield pair


async def test_more_output_than_a_report_holds_is_cut_evenly_and_sent_in_bounded_pieces(
    small_reports: Pair, tmp_path: Path
) -> None:
    def flood(order: IterationOrder) -> IterationRecord:
        # As the engine's reader does: up to the bound, and then it counts. A control character is six bytes of JSON.
        room = order.limits.stream_bytes_max
        noise = CapturedText(text="\x01" * room, dropped_bytes=(25 << 20) - room)
        return bmf(order).model_copy(update={"stderr": noise})

    async with small_reports.agent(FakeEngine(script=flood), tmp_path):
        submitted = await small_reports.submit(iter=20)
        assert (await small_reports.ended(submitted))["status"] == "processed"
    report = await small_reports.database.read(partial(stored_report, uuid=UUID(submitted["job"])))
    size = len(report.model_dump_json(exclude_none=True))
    assert (1 << 18) < size <= (1 << 20)
    # Every byte is there or is counted.
    sums = [len(record.stderr.text) + record.stderr.dropped_bytes for record in report.iterations]
    assert sums == [25 << 20] * 20
    assert len((await small_reports.report(submitted))["results"]) == 20


async def test_a_job_whose_output_could_never_be_sent_is_refused_before_anything_is_pulled(
    small_reports: Pair, tmp_path: Path
) -> None:
    engine = FakeEngine(script=bmf)
    async with small_reports.agent(engine, tmp_path):
        job = await small_reports.ended(await small_reports.submit(iter=200))
    assert (job["status"], engine.pulled, engine.orders) == ("failed", [], [])
    assert "at least 4096 are needed" in json.dumps(job)


async def test_two_agents_with_one_key_are_one_too_many_and_the_second_gets_no_job(pair: Pair, tmp_path: Path) -> None:
    engines = [FakeEngine(script=bmf), FakeEngine(script=bmf)]
    async with pair.agent(engines[0], tmp_path / "a", instance=1):
        await until(lambda: engines[0].sweeps == 1)
        async with pair.agent(engines[1], tmp_path / "b", instance=2):
            reports = [await pair.submit() for _ in range(3)]
            states = [(await pair.ended(report))["status"] for report in reports]
    assert states == ["processed"] * 3
