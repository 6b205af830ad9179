"""Whole jobs on a real engine, from the claim to the report: what their iterations have in common and how they end."""

from typing import Any

import anyio
import pytest
from agents import OpenHost
from fakes import make_job
from workbench import Workbench

from runner_agent.execute import KillSwitch, Rig, run_job
from runner_agent.ledger import Ledger
from runner_agent.plan import Policy
from runner_protocol.jobs import Budgets, Work
from runner_protocol.results import FaultClass, HostRecord, Outcome, RunReport

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

ROOMY = Budgets(pull_s_max=60, iteration_s_max=60, job_s_max=300)


@pytest.fixture
def bench(bench_image: str) -> Workbench:
    return Workbench(bench_image)


async def run(bench: Workbench, work: Work, *, policy: Policy | None = None, budgets: Budgets = ROOMY) -> RunReport:
    """One job, its containers on the engine of this machine."""
    rig = Rig(bench.engine, lambda _: OpenHost(HostRecord(hostname="host"), "a test"), policy or Policy())
    job = make_job(work).model_copy(update={"budgets": budgets})
    report = await run_job(job, rig, Ledger(job, anyio.current_time), KillSwitch())
    assert report is not None
    assert await bench.engine.sweep() == 0
    return report


def script(bench: Workbench, text: str, **changes: Any) -> Work:
    return Work(**{"image": bench.reference, "entrypoint": ["sh", "-c"], "cmd": [text], **changes})


async def test_every_iteration_has_a_fresh_container_and_warm_ups_are_marked_as_such(bench: Workbench) -> None:
    work = script(bench, "ls -A /tmp; touch /tmp/mark; echo ran", iterations=2)
    report = await run(bench, work, policy=Policy(warm_ups=1))
    assert (report.outcome, report.fault) == (Outcome.COMPLETED, None)
    assert [(each.warm_up, each.stdout.text) for each in report.iterations] == [
        (True, "ran\n"),
        (False, "ran\n"),
        (False, "ran\n"),
    ]
    assert report.digest == (await bench.pull()).digest


async def test_allowed_failures_keep_their_output_and_the_job_goes_on(bench: Workbench) -> None:
    report = await run(bench, script(bench, "echo said; exit 3", iterations=2, allow_failure=True))
    assert (report.outcome, report.fault) == (Outcome.COMPLETED, None)
    assert [(each.exit_code, each.stdout.text, each.fault and each.fault.kind) for each in report.iterations] == [
        (3, "said\n", FaultClass.EXIT_CODE)
    ] * 2


async def test_without_leave_to_fail_the_first_failure_ends_the_job(bench: Workbench) -> None:
    report = await run(bench, script(bench, "echo said; exit 3", iterations=2))
    assert (report.outcome, report.fault and report.fault.exit_code) == (Outcome.FAILED, 3)
    assert [each.stdout.text for each in report.iterations] == ["said\n"]


async def test_a_job_of_which_no_iteration_could_be_executed_has_failed_even_with_leave_to(bench: Workbench) -> None:
    report = await run(bench, script(bench, "", entrypoint=["/nope"], iterations=2, allow_failure=True))
    assert report.outcome is Outcome.FAILED
    assert [each.exit_code for each in report.iterations] == [None, None]
    assert report.fault is not None
    assert (report.fault.kind, report.fault.iteration) == (FaultClass.COMMAND_NOT_FOUND, 1)


async def test_a_job_whose_time_is_up_keeps_what_it_said_and_leaves_nothing(bench: Workbench) -> None:
    await bench.pull()
    work = script(bench, "echo so far; sleep 600", iterations=2, allow_failure=True)
    report = await run(bench, work, budgets=ROOMY.model_copy(update={"job_s_max": 6}))
    assert report.outcome is Outcome.FAILED
    assert report.fault is not None
    assert report.fault.kind is FaultClass.JOB_TIMEOUT
    assert [each.stdout.text for each in report.iterations] == ["so far\n"]
