"""The story of one job: plan → pull → hold the host quiet → iterate → report.

`execute` reads top to bottom and raises what ends it early; `run_job` turns whatever ended it into a report. Talks to
the engine and the host only through their seams. Writes what it learns to the ledger as it goes, so that a job that is
cut short still reports everything it had.
"""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import anyio
import structlog

from runner_agent.bench import Bench, Host
from runner_agent.engine import Engine, EngineFacts, Image, IterationOrder
from runner_agent.errors import AgentError, HostFault, JobFault
from runner_agent.iterations import Finished, Run, next_step
from runner_agent.ledger import Ledger
from runner_agent.plan import Policy, RunPlan, make_plan
from runner_agent.points import at
from runner_agent.session import Why
from runner_protocol.jobs import Budgets, ClaimedJob, Spec
from runner_protocol.results import (
    INFRASTRUCTURE,
    Fault,
    FaultClass,
    IterationRecord,
    Outcome,
    RunReport,
    Stage,
    Variant,
)

# An iteration that the job's time limit cuts short still has its output fetched and its container removed. After this
# the whole job is cut from outside.
WIND_UP_S_MAX = 30.0

# What a host lacks that is full, broken or overrun: the journal of its tuning, say, could not be written.
OF_THE_HOST = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rig:
    """What a job runs on."""

    engine: Engine
    host: Callable[[EngineFacts], Host]
    """This machine, once the engine has said what it is."""
    policy: Policy
    facts: EngineFacts | None = None
    """As the engine told before the claim; none: it is asked again."""


@dataclass
class KillSwitch:
    """Lets somebody else end a running job. The first reason stands, but a lost lease overrides any."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    why: Why | None = None

    def pull(self, why: Why) -> None:
        """Kill the job's container and end the job."""
        if self.why is None or why is Why.LEASE_LOST:
            self.why = why
        self.scope.cancel()


async def run_job(job: ClaimedJob, rig: Rig, ledger: Ledger, switch: KillSwitch) -> RunReport | None:
    """Run a job to its end, whatever the end is. None: its lease is lost and nobody wants a report."""
    within_s = job.budgets.job_s_max
    fault: Fault | None = None
    try:
        with switch.scope, anyio.move_on_after(within_s + WIND_UP_S_MAX) as limit:
            finished = await execute(job, rig, ledger, deadline_s=limit.deadline - WIND_UP_S_MAX)
            fault = finished.fault
        if limit.cancelled_caught:
            fault = out_of_job_time(ledger.stage, within_s)
    except Exception as error:  # noqa: BLE001  Whatever happens to one job, the agent lives and the server hears of it.
        fault = _fault_of_error(error, ledger.stage)
    if switch.why is Why.LEASE_LOST:
        return None
    outcome, fault = conclusion(fault, switch.why if switch.scope.cancelled_caught else None, ledger.stage)
    # In a thread: statistics over many pairs and a report of many megabytes take their time.
    return await anyio.to_thread.run_sync(ledger.report, outcome, fault)


def conclusion(fault: Fault | None, killed: Why | None, stage: Stage) -> tuple[Outcome, Fault | None]:
    """How the job is said to have ended. A failure that came before the kill wins over it."""
    match killed:
        case Why.CANCELED:
            return Outcome.CANCELED, Fault(kind=FaultClass.CANCELED, stage=stage, message="canceled while it ran")
        case Why.STOPPED:
            message = "the agent was stopped while it held the job"
            return Outcome.RELEASED, Fault(kind=FaultClass.AGENT_STOPPED, stage=stage, message=message)
    if fault is None:
        return Outcome.COMPLETED, None
    return (Outcome.RELEASED if fault.kind in INFRASTRUCTURE else Outcome.FAILED), fault


async def execute(job: ClaimedJob, rig: Rig, ledger: Ledger, *, deadline_s: float) -> Finished:
    """The way through, top to bottom. `deadline_s` is the end of the job's time on the event loop's clock."""
    with ledger.during(Stage.PLAN):
        facts = rig.facts or await rig.engine.facts()
        plan = make_plan(job, rig.policy, Random())  # noqa: S311  The order of runs is no secret.
        host = rig.host(facts)
        ledger.runs, ledger.host = len(plan.schedule), host.record()
    if not plan.schedule:
        return Finished()
    at("pull.before")
    with ledger.during(Stage.PULL):
        images = await _pull_all(job, rig.engine, ledger, deadline_s)
    at("pull.after")
    async with _held(host, job.spec, ledger) as bench:
        ledger.host = host.record()  # Again: now it has been compared with its calibration.
        at("hold.after")
        with ledger.during(Stage.ITERATE):
            return await _iterate(Errand(job, plan, images, deadline_s), rig.engine, bench, ledger)


@dataclass(frozen=True, slots=True)
class Errand:
    """What the iterations of one job have in common."""

    job: ClaimedJob
    plan: RunPlan
    images: dict[Variant, Image]
    deadline_s: float


async def _pull_all(job: ClaimedJob, engine: Engine, ledger: Ledger, deadline_s: float) -> dict[Variant, Image]:
    """Fetch the image, or both of a paired comparison: once per job, pinned."""
    references = {Variant.CANDIDATE: job.work.image, Variant.BASELINE: job.work.baseline}
    images = {
        variant: await engine.pull(
            reference,
            auth=job.registry_auth,
            spec=job.spec,
            within_s=min(job.budgets.pull_s_max, time_left_s(job, deadline_s, Stage.PULL)),
            progress=ledger.told,
        )
        for variant, reference in references.items()
        if reference is not None
    }
    ledger.digest = images[Variant.CANDIDATE].digest
    ledger.baseline_digest = images[Variant.BASELINE].digest if Variant.BASELINE in images else None
    return images


@asynccontextmanager
async def _held(host: Host, spec: Spec, ledger: Ledger) -> AsyncIterator[Bench]:
    """The quiet host; what was reached goes to the ledger at the start and again at the end, should it have changed."""
    async with AsyncExitStack() as stack:
        with ledger.during(Stage.ISOLATE):
            bench = await stack.enter_async_context(host.hold(spec))
        try:
            ledger.isolation = bench.record
            yield bench
        finally:
            ledger.isolation = bench.record


async def _iterate(errand: Errand, engine: Engine, bench: Bench, ledger: Ledger) -> Finished:
    """Run container after container until the head says that it is enough."""
    while isinstance(step := next_step(errand.plan, ledger.iterations), Run):
        order = _order(errand, step, time_left_s(errand.job, errand.deadline_s, Stage.ITERATE))
        log.info("iteration_started", number=step.number, variant=step.turn.variant, warm_up=step.turn.warm_up)
        at("iteration.before")
        # From the container's start to its end nothing of ours runs but the heartbeat and the output's reader.
        record = await engine.run(order, bench, ledger.tail)
        at("iteration.after")
        ledger.add(_blamed_on_job_time(record, order.within_s, errand.job.budgets))
        log.info("iteration_ended", number=step.number, exit_code=record.exit_code, wall_ns=record.wall_ns)
    return step


def _order(errand: Errand, step: Run, time_left_s: float) -> IterationOrder:
    work, turn = errand.job.work, step.turn
    return IterationOrder(
        job=str(errand.job.job),
        attempt=errand.job.attempt,
        number=step.number,
        image=errand.images[turn.variant],
        spec=errand.job.spec,
        limits=errand.plan.limits,
        within_s=min(errand.job.budgets.iteration_s_max, time_left_s),
        variant=turn.variant,
        warm_up=turn.warm_up,
        repeats=step.repeats,
        entrypoint=None if work.entrypoint is None else tuple(work.entrypoint),
        cmd=None if work.cmd is None else tuple(work.cmd),
        env=dict(work.env),
        file_paths=tuple(work.file_paths),
        file_contents=not work.file_size,
    )


def time_left_s(job: ClaimedJob, deadline_s: float, stage: Stage) -> float:
    """Seconds until the whole job's time is up; raises `JobFault` when it is."""
    left_s = deadline_s - anyio.current_time()
    if left_s <= 0:
        raise JobFault(out_of_job_time(stage, job.budgets.job_s_max))
    return left_s


def out_of_job_time(stage: Stage, job_s_max: float, iteration: int | None = None) -> Fault:
    """The fault of a job that as a whole took too long."""
    message = f"the job as a whole took longer than {job_s_max:g} s"
    return Fault(kind=FaultClass.JOB_TIMEOUT, stage=stage, message=message, iteration=iteration)


def _blamed_on_job_time(record: IterationRecord, within_s: float, budgets: Budgets) -> IterationRecord:
    """An iteration that was cut short because the job's time ended did not exceed its own."""
    if not record.timed_out or within_s >= budgets.iteration_s_max:
        return record
    fault = out_of_job_time(Stage.ITERATE, budgets.job_s_max, record.number)
    return record.model_copy(update={"fault": fault})


def _fault_of_error(error: BaseException, stage: Stage) -> Fault:
    """The family of an error decides; one that belongs to none is a mistake of ours, and the host's fault."""
    match _innermost(error):
        case JobFault(fault=fault) | HostFault(fault=fault):
            log.warning("job_faulted", kind=fault.kind, stage=fault.stage, why=fault.message)
            return fault
        case OSError(errno=number) as lack if number in OF_THE_HOST:
            log.warning("job_faulted", kind=FaultClass.HOST_FAULT, stage=stage, why=str(lack))
            return Fault(kind=FaultClass.HOST_FAULT, stage=stage, message=str(lack))
        case other:
            log.error("job_broke_the_agent", stage=stage, exc_info=error)
            message = f"{type(other).__name__}: {other}"
            return Fault(kind=FaultClass.HOST_FAULT, stage=stage, message=message)


def _innermost(error: BaseException) -> BaseException:
    """A task group wraps what its tasks raise: the first of ours in there, else the first of any."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [_innermost(each) for each in error.exceptions]
    return next((each for each in inner if isinstance(each, AgentError)), inner[0])
