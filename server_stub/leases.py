"""Decides what becomes of a job whose lease ran out, whose report came in, or whose caller came too late.

Pure: reads no clock and no database. Times are milliseconds of whatever clock the caller lives by. The moves themselves
are those of `runner_protocol.states`; here stands only which of them an event causes.

    lease lost, or a fault of the infrastructure ─→ Requeue with back-off, until the attempts are used up ─→ End failed
    claim never confirmed, or the agent was told to stop ─→ Requeue at no cost
    anything else that an attempt reports ─→ End as reported
"""

from dataclasses import dataclass

from runner_protocol.jobs import Budgets, Limits, Work
from runner_protocol.problems import Stale
from runner_protocol.results import INFRASTRUCTURE, Fault, FaultClass, Outcome, RunReport, Stage
from runner_protocol.states import LEASED, JobState

# The host may be rebooting: the first retry is soon enough to queue a lost host's job again within a minute, the later
# ones leave time for someone to act. The last one repeats.
BACKOFF_MS = (2_000, 30_000, 120_000)

# An unconfirmed claim costs nothing, but must not spin where a proxy swallows every answer.
UNCONFIRMED_PAUSE_MS = 1_000

# What one iteration takes besides its own budget: the container's creation, the canaries and the removal.
ITERATION_OVERHEAD_S = 30.0

# Warm-ups and repeats of disturbed iterations are the host's policy; the whole budget leaves room for as many again.
REPEATS_FACTOR = 2


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What a server promises and asks with every claim."""

    heartbeat_ms: int
    lease_ms: int
    confirm_ms: int
    outage_grace_ms: int
    """How long the holder of a lease has to speak up after nobody was there to hear it."""
    attempts_max: int
    requeue_ms_max: int
    """Cuts the longer pauses before a lost attempt is followed by the next one."""
    grace_ms: int
    """Beyond a job's whole budget, before it is canceled, and then again for the agent to say so."""
    pull_s_max: float
    job_s_max: float
    limits: Limits

    def budgets(self, work: Work, timeout_s: int) -> Budgets:
        """The three limits of time of a job whose iterations may take `timeout_s` each."""
        images = 1 if work.baseline is None else 2
        runs = max(work.iterations, 1) * images * REPEATS_FACTOR
        whole = self.pull_s_max * images + runs * (timeout_s + ITERATION_OVERHEAD_S)
        return Budgets(
            pull_s_max=self.pull_s_max, iteration_s_max=timeout_s, job_s_max=max(1.0, min(whole, self.job_s_max))
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What has to be known of a job to decide about its lease."""

    state: JobState
    attempt: int
    lost: int
    """Attempts that the infrastructure has cost before this one."""
    lease_until_ms: int | None = None
    deadline_ms: int | None = None
    cancel_ms: int | None = None
    """When its end was asked for, by its submitter or by its deadline."""
    fault: Fault | None = None
    """Why its end was asked for, where it was not its submitter."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Back to the queue, for another attempt."""

    fault: Fault | None
    not_before_ms: int
    costs_an_attempt: bool


@dataclass(frozen=True, slots=True)
class End:
    """No further attempt."""

    state: JobState
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class AskToStop:
    """The holder is told with its next heartbeat."""

    fault: Fault


def after_loss(held: Held, fault: Fault, now_ms: int, terms: LeaseTerms) -> Requeue | End:
    """What follows when the infrastructure took an attempt."""
    if held.cancel_ms is not None:
        return End(JobState.CANCELED, held.fault)
    if fault.kind is FaultClass.AGENT_STOPPED:
        # An operator's drain is nobody's fault: an upgrade of the whole fleet must not use up a job's attempts.
        return Requeue(fault, now_ms, costs_an_attempt=False)
    lost = held.lost + 1
    if lost >= terms.attempts_max:
        message = f"gave up after {lost} attempts; the last one: {fault.message}"
        return End(JobState.FAILED, fault.model_copy(update={"message": message}))
    pause_ms = min(BACKOFF_MS[min(lost, len(BACKOFF_MS)) - 1], terms.requeue_ms_max)
    return Requeue(fault, now_ms + pause_ms, costs_an_attempt=True)


def after_report(held: Held, report: RunReport, now_ms: int, terms: LeaseTerms) -> Requeue | End:
    """What follows when the holder of the lease reports. Where its end was asked for, it is canceled."""
    if held.cancel_ms is not None:
        return End(JobState.CANCELED, held.fault or report.fault)
    if report.outcome is Outcome.COMPLETED:
        return End(JobState.COMPLETED, None)
    if report.outcome is Outcome.CANCELED:
        return End(JobState.CANCELED, report.fault)
    released = report.outcome is Outcome.RELEASED
    kind = FaultClass.AGENT_STOPPED if released else FaultClass.UNKNOWN
    fault = report.fault or Fault(kind=kind, stage=Stage.REPORT, message=f"the agent reported the job {report.outcome}")
    if released or fault.kind in INFRASTRUCTURE:
        return after_loss(held, fault, now_ms, terms)
    return End(JobState.FAILED, fault)


def after_time(held: Held, now_ms: int, terms: LeaseTerms) -> Requeue | End | AskToStop | None:
    """What the passing of time does to a leased job; None while it does nothing."""
    if held.state not in LEASED:
        return None
    if held.cancel_ms is not None and now_ms >= held.cancel_ms + terms.grace_ms:
        return End(JobState.CANCELED, held.fault)
    if held.lease_until_ms is not None and now_ms >= held.lease_until_ms:
        return _after_silence(held, now_ms, terms)
    if held.cancel_ms is None and held.deadline_ms is not None and now_ms >= held.deadline_ms:
        message = "the job took longer than its whole budget and the server's grace"
        return AskToStop(Fault(kind=FaultClass.JOB_TIMEOUT, stage=Stage.ITERATE, message=message))
    return None


def _after_silence(held: Held, now_ms: int, terms: LeaseTerms) -> Requeue | End:
    if held.state is JobState.CLAIMED and held.cancel_ms is None:
        return Requeue(None, now_ms + UNCONFIRMED_PAUSE_MS, costs_an_attempt=False)
    message = "the runner was not heard of for the length of its lease"
    return after_loss(held, Fault(kind=FaultClass.AGENT_LOST, stage=Stage.ITERATE, message=message), now_ms, terms)


def after_removal(held: Held, now_ms: int) -> Requeue | End:
    """What follows when the runner that holds a job is removed."""
    if held.cancel_ms is not None:
        return End(JobState.CANCELED, held.fault)
    fault = Fault(kind=FaultClass.AGENT_STOPPED, stage=Stage.ITERATE, message="the runner was removed")
    return Requeue(fault, now_ms, costs_an_attempt=False)


def after_return(*, same_process: bool) -> Fault:
    """Why a runner that asks for work no longer does the job that it confirmed."""
    if same_process:
        message = "the agent gave the job up and asked for work again"
        return Fault(kind=FaultClass.AGENT_LOST, stage=Stage.ITERATE, message=message)
    message = "the agent was restarted and asked for work again"
    return Fault(kind=FaultClass.AGENT_RESTARTED, stage=Stage.ITERATE, message=message)


def refusal(held: Held | None, attempt: int) -> Stale | None:
    """Why a call about `attempt` comes too late; None where the attempt still holds the lease.

    `held` is None where that attempt was never handed to the caller.
    """
    if held is None:
        return Stale.UNKNOWN
    if held.state in LEASED and held.attempt == attempt:
        return None
    if held.state is JobState.CANCELED:
        return Stale.CANCELED
    if held.state in LEASED or held.state is JobState.PENDING:
        return Stale.SUPERSEDED
    return Stale.FINISHED
