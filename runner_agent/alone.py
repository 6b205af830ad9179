"""The story of `runner-agent exec`: one job with no server, on this host, and what would have been reported.

Takes the host's lock: it measures like the daemon does, and two must not measure at once.
"""

import platform
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from runner_agent.errors import HostFault
from runner_agent.execute import KillSwitch, Rig, run_job
from runner_agent.ledger import Ledger
from runner_agent.session import Why
from runner_protocol.jobs import Budgets, ClaimedJob, Spec, Work
from runner_protocol.messages import Progress
from runner_protocol.results import RunReport

SHOW_S = 0.25
"""How often progress is shown."""

UNLEASED_S = 86_400.0
"""Nobody takes this job away from us; the field must hold something."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the job may use. Sizes are bytes."""

    cpu: int = 1
    memory: int = 1 << 30
    disk: int = 10 << 30
    network: bool = False
    sandbox: str | None = None


def spec_of(machine: Machine) -> Spec:
    """The machine as a server would have named it."""
    return Spec(
        uuid=uuid.uuid4(),
        name="exec",
        slug="exec",
        architecture=platform.machine(),
        sandbox=machine.sandbox,
        cpu=machine.cpu,
        memory=machine.memory,
        disk=machine.disk,
        network=machine.network,
    )


def job_of(work: Work, machine: Machine, budgets: Budgets) -> ClaimedJob:
    """The job as a server would have handed it out."""
    return ClaimedJob(
        job=uuid.uuid4(),
        attempt=1,
        lease_s=UNLEASED_S,
        heartbeat_s=UNLEASED_S,
        project="exec",
        spec=spec_of(machine),
        work=work,
        budgets=budgets,
        created=datetime.now(UTC),
    )


async def run_alone(job: ClaimedJob, rig: Rig, show: Callable[[Progress], None]) -> RunReport:
    """Run it, showing progress. Ctrl-C ends it as a second SIGTERM would: containers gone, partial report."""
    ledger = Ledger(job, anyio.current_time)
    switch = KillSwitch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_show_on, ledger, show)
        tasks.start_soon(_stop_on_signal, switch)
        await _sweep(rig)
        report = await run_job(job, rig, ledger, switch)
        tasks.cancel_scope.cancel()
    assert report is not None, "only a lost lease leaves no report"
    return report


async def _sweep(rig: Rig) -> None:
    """An engine that does not answer is told by the report, which names it."""
    try:
        await rig.engine.sweep()
    except HostFault:
        return


async def _show_on(ledger: Ledger, show: Callable[[Progress], None]) -> None:
    while True:
        show(ledger.progress())
        await anyio.sleep(SHOW_S)


async def _stop_on_signal(switch: KillSwitch) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for _ in received:
            switch.pull(Why.STOPPED)
