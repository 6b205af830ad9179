"""What becomes of a job when its lease runs out, its report comes in, or its caller comes too late."""

from dataclasses import replace
from uuid import uuid4

import pytest

from runner_protocol.jobs import Limits, Work
from runner_protocol.problems import Stale
from runner_protocol.results import Fault, FaultClass, Outcome, RunReport, Stage
from runner_protocol.states import JobState
from server_stub.leases import (
    BACKOFF_MS,
    AskToStop,
    End,
    Held,
    LeaseTerms,
    Requeue,
    after_loss,
    after_report,
    after_return,
    after_time,
    refusal,
)

TERMS = LeaseTerms(
    heartbeat_ms=15_000,
    lease_ms=45_000,
    confirm_ms=30_000,
    outage_grace_ms=90_000,
    attempts_max=3,
    requeue_ms_max=120_000,
    grace_ms=60_000,
    pull_s_max=600,
    job_s_max=86_400,
    limits=Limits(),
)
NOW = 1_000_000


def fault(kind: FaultClass, message: str = "so it is") -> Fault:
    return Fault(kind=kind, stage=Stage.ITERATE, message=message)


def held(state: JobState = JobState.RUNNING, **members: object) -> Held:
    return Held(**{"state": state, "attempt": 2, "lost": 0, "lease_until_ms": NOW + 1} | members)  # type: ignore[arg-type]


def report(outcome: Outcome, why: Fault | None = None) -> RunReport:
    return RunReport(job=uuid4(), attempt=2, outcome=outcome, fault=why)


LOST = fault(FaultClass.AGENT_LOST)


@pytest.mark.parametrize(
    ("lost_before", "verdict"),
    [
        (0, Requeue(LOST, NOW + BACKOFF_MS[0], costs_an_attempt=True)),
        (1, Requeue(LOST, NOW + BACKOFF_MS[1], costs_an_attempt=True)),
        (2, End(JobState.FAILED, fault(FaultClass.AGENT_LOST, "gave up after 3 attempts; the last one: so it is"))),
    ],
)
def test_a_lost_attempt_is_repeated_later_each_time_and_then_given_up(lost_before: int, verdict: object) -> None:
    assert after_loss(held(lost=lost_before), LOST, NOW, TERMS) == verdict


def test_the_longer_pauses_are_cut_to_what_the_operator_allows() -> None:
    terms = replace(TERMS, requeue_ms_max=5_000)
    pauses = [after_loss(held(lost=lost), LOST, NOW, terms) for lost in (0, 1)]
    assert pauses == [Requeue(LOST, NOW + pause_ms, costs_an_attempt=True) for pause_ms in (BACKOFF_MS[0], 5_000)]


def test_a_drained_agent_hands_its_job_back_at_no_cost_however_often() -> None:
    stopped = fault(FaultClass.AGENT_STOPPED)
    assert after_loss(held(lost=2), stopped, NOW, TERMS) == Requeue(stopped, NOW, costs_an_attempt=False)


def test_a_lost_attempt_of_a_job_that_was_asked_to_stop_is_canceled() -> None:
    assert after_loss(held(cancel_ms=NOW), LOST, NOW, TERMS) == End(JobState.CANCELED, None)


@pytest.mark.parametrize(
    ("outcome", "why", "verdict"),
    [
        (Outcome.COMPLETED, None, End(JobState.COMPLETED, None)),
        (Outcome.CANCELED, None, End(JobState.CANCELED, None)),
        (Outcome.FAILED, fault(FaultClass.EXIT_CODE), End(JobState.FAILED, fault(FaultClass.EXIT_CODE))),
        (Outcome.FAILED, fault(FaultClass.TIMEOUT), End(JobState.FAILED, fault(FaultClass.TIMEOUT))),
        (
            Outcome.FAILED,
            fault(FaultClass.REGISTRY_UNAVAILABLE),
            Requeue(fault(FaultClass.REGISTRY_UNAVAILABLE), NOW + BACKOFF_MS[0], costs_an_attempt=True),
        ),
        (
            Outcome.RELEASED,
            fault(FaultClass.AGENT_RESTARTED),
            Requeue(fault(FaultClass.AGENT_RESTARTED), NOW + BACKOFF_MS[0], costs_an_attempt=True),
        ),
        (
            Outcome.RELEASED,
            None,
            Requeue(
                Fault(kind=FaultClass.AGENT_STOPPED, stage=Stage.REPORT, message="the agent reported the job released"),
                NOW,
                costs_an_attempt=False,
            ),
        ),
        (
            Outcome.FAILED,
            None,
            End(
                JobState.FAILED,
                Fault(kind=FaultClass.UNKNOWN, stage=Stage.REPORT, message="the agent reported the job failed"),
            ),
        ),
    ],
)
def test_only_faults_of_the_infrastructure_are_tried_again(
    outcome: Outcome, why: Fault | None, verdict: object
) -> None:
    assert after_report(held(), report(outcome, why), NOW, TERMS) == verdict


@pytest.mark.parametrize("outcome", list(Outcome))
def test_whatever_is_reported_of_a_job_that_was_asked_to_stop_it_is_canceled(outcome: Outcome) -> None:
    over = fault(FaultClass.JOB_TIMEOUT)
    assert after_report(held(cancel_ms=NOW, fault=over), report(outcome), NOW, TERMS) == End(JobState.CANCELED, over)


def test_a_claim_that_nobody_confirmed_costs_nothing() -> None:
    claimed = held(JobState.CLAIMED, lease_until_ms=NOW, lost=2)
    assert after_time(claimed, NOW, TERMS) == Requeue(None, NOW + 1_000, costs_an_attempt=False)


def test_a_running_job_is_lost_at_the_end_of_its_lease_and_not_before() -> None:
    running = held(lease_until_ms=NOW)
    assert after_time(running, NOW - 1, TERMS) is None
    verdict = after_time(running, NOW, TERMS)
    assert isinstance(verdict, Requeue) and verdict.fault and verdict.fault.kind is FaultClass.AGENT_LOST


def test_a_job_beyond_its_budget_is_asked_to_stop_and_then_stopped() -> None:
    running = held(deadline_ms=NOW)
    asked = after_time(running, NOW, TERMS)
    assert isinstance(asked, AskToStop) and asked.fault.kind is FaultClass.JOB_TIMEOUT
    deaf = held(deadline_ms=NOW, cancel_ms=NOW, fault=asked.fault, lease_until_ms=NOW + 10 * TERMS.grace_ms)
    assert after_time(deaf, NOW + TERMS.grace_ms - 1, TERMS) is None
    assert after_time(deaf, NOW + TERMS.grace_ms, TERMS) == End(JobState.CANCELED, asked.fault)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.CLAIMED, JobState.RUNNING}))
def test_time_does_nothing_to_a_job_that_nobody_holds(state: JobState) -> None:
    assert after_time(held(state, lease_until_ms=0, deadline_ms=0, cancel_ms=0), NOW, TERMS) is None


@pytest.mark.parametrize(
    ("job", "attempt", "reason"),
    [
        (None, 1, Stale.UNKNOWN),
        (held(JobState.RUNNING), 2, None),
        (held(JobState.CLAIMED), 2, None),
        (held(JobState.RUNNING), 1, Stale.SUPERSEDED),
        (held(JobState.PENDING), 2, Stale.SUPERSEDED),
        (held(JobState.CANCELED), 2, Stale.CANCELED),
        (held(JobState.CANCELED), 1, Stale.CANCELED),
        (held(JobState.COMPLETED), 2, Stale.FINISHED),
        (held(JobState.PROCESSED), 1, Stale.FINISHED),
        (held(JobState.FAILED), 2, Stale.FINISHED),
    ],
)
def test_a_call_about_an_attempt_that_is_over_learns_why(job: Held | None, attempt: int, reason: Stale | None) -> None:
    assert refusal(job, attempt) is reason


def test_an_agent_that_asks_again_has_forgotten_its_job() -> None:
    assert after_return(same_process=True).kind is FaultClass.AGENT_LOST
    assert after_return(same_process=False).kind is FaultClass.AGENT_RESTARTED


def test_the_whole_budget_leaves_room_for_pulls_iterations_and_as_many_repeats() -> None:
    budgets = TERMS.budgets(Work(image="a", baseline="b", iterations=3), 100)
    assert (budgets.pull_s_max, budgets.iteration_s_max, budgets.job_s_max) == (600, 100, 2 * 600 + 3 * 2 * 2 * 130)
    assert TERMS.budgets(Work(image="a", iterations=10**9), 10**9).job_s_max == TERMS.job_s_max
