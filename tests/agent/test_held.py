"""One hold of this machine's CPUs, without cgroups: what lies within an iteration's window, and who is out of place."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest

from runner_agent.cpu_list import cpu_list
from runner_agent.facts import CpuPlan
from runner_agent.held import Held, HeldBench
from runner_agent.host import HostFiles
from runner_agent.trust import Limits
from runner_protocol.results import IsolationRecord

pytestmark = pytest.mark.anyio

EVERYWHERE = frozenset(os.sched_getaffinity(0))


def holding(benchmark: frozenset[int], stack: ExitStack) -> HeldBench:
    plan = CpuPlan(benchmark, idle=frozenset(), housekeeping=EVERYWHERE, nodes=frozenset({0}))
    return HeldBench(Held(HostFiles(), plan, IsolationRecord(), None, None, None, Limits()), stack)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as running:
        yield running
        running.kill()


async def test_what_comes_after_the_commands_end_is_not_counted(process: subprocess.Popen[bytes]) -> None:
    with ExitStack() as stack:
        bench = holding(EVERYWHERE, stack)
        await bench.prepare(0)
        await bench.begin()
        began = time.monotonic()
        await bench.started(process.pid)
        process.kill()
        assert bench._vigil._looked.wait(30)
        within_s = time.monotonic() - began
        await anyio.sleep(0.2)
        verdict = (await bench.end()).verdict
    wall_s = verdict.signals["wall_s"]
    assert wall_s is not None
    assert 0 < wall_s <= within_s
    assert "misplaced" not in [reason.code for reason in verdict.reasons]


async def test_an_iteration_whose_command_goes_on_is_counted_until_it_is_ended(
    process: subprocess.Popen[bytes],
) -> None:
    with ExitStack() as stack:
        bench = holding(EVERYWHERE, stack)
        await bench.prepare(0)
        await bench.begin()
        await bench.started(process.pid)
        began = time.monotonic()
        await anyio.sleep(0.2)
        at_least_s = time.monotonic() - began
        wall_s = (await bench.end()).verdict.signals["wall_s"]
    assert wall_s is not None
    assert wall_s >= at_least_s


async def test_a_thread_that_may_run_elsewhere_is_named_with_where(process: subprocess.Popen[bytes]) -> None:
    allowed = frozenset({min(EVERYWHERE)})
    os.sched_setaffinity(process.pid, allowed)
    with ExitStack() as stack:
        bench = holding(EVERYWHERE - allowed or frozenset({999}), stack)
        await bench.prepare(0)
        await bench.begin()
        await bench.started(process.pid)
        reasons = (await bench.end()).verdict.reasons
    culprits = [reason.culprit or "" for reason in reasons if reason.code == "misplaced"]
    # The name may still be that of the program before: the kernel changes it late while it starts another one.
    assert [culprit.partition(" ")[2] for culprit in culprits] == [f"({cpu_list(allowed)})"]
