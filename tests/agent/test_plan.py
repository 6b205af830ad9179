"""What is decided before the first container starts, and after each one."""

from random import Random

import pytest
from fakes import make_job, with_bytes_max

from runner_agent.errors import JobFault
from runner_agent.iterations import Finished, Run, next_step
from runner_agent.plan import RERUNS_OF_ONE_MAX, Policy, RunPlan, Turn, make_plan
from runner_protocol.jobs import Limits, Work
from runner_protocol.results import Fault, FaultClass, IterationRecord, Stage, Variant, Verdict, Word

A, B = Variant.CANDIDATE, Variant.BASELINE


def a_plan(iterations: int, *, warm_ups: int = 0, reruns_max: int = 0, allow_failure: bool = False) -> RunPlan:
    work = Work(image="i", iterations=iterations, allow_failure=allow_failure)
    return make_plan(make_job(work), Policy(warm_ups=warm_ups, reruns_max=reruns_max), Random(1))


def ran(
    plan: RunPlan, *, exit_code: int | None = 0, words: str = "", kind: FaultClass | None = None
) -> tuple[list[IterationRecord], Finished]:
    """Run a plan to its end. `words`: the verdict of each run by its first letter, quiet after them."""
    records: list[IterationRecord] = []
    while isinstance(step := next_step(plan, records), Run):
        word = {"d": Word.DISTURBED, "u": Word.UNKNOWN}.get(words[len(records) : len(records) + 1], Word.QUIET)
        fault = kind and Fault(kind=kind, stage=Stage.ITERATE, message="m")
        records.append(
            IterationRecord(
                number=step.number,
                variant=step.turn.variant,
                warm_up=step.turn.warm_up,
                repeats=step.repeats,
                exit_code=exit_code,
                verdict=Verdict(word=word),
                fault=fault,
            )
        )
        assert len(records) < 100, "every plan comes to an end"
    return records, step


def test_warm_ups_come_first_and_for_each_image() -> None:
    job = make_job(Work(image="i", baseline="j", iterations=2))
    schedule = make_plan(job, Policy(warm_ups=1), Random(1)).schedule
    first, second = (turn.variant for turn in schedule[2:4])
    assert schedule == (
        *(Turn(first, warm_up=True), Turn(second, warm_up=True)),
        *(Turn(first), Turn(second), Turn(second), Turn(first)),
    )
    assert {first, second} == {A, B}


def test_no_iterations_need_no_warm_up() -> None:
    assert a_plan(0, warm_ups=3).schedule == ()
    assert ran(a_plan(0)) == ([], Finished())


def test_the_bounds_of_one_iteration_are_cut_so_that_all_fit_into_the_report() -> None:
    job = with_bytes_max(make_job(Work(image="i", iterations=90)), piece=1000, report=30_000_000)
    limits = make_plan(job, Policy(reruns_max=10), Random(1)).limits
    assert (limits.stream_bytes_max, limits.files_bytes_max) == (100_000, 100_000)
    assert make_plan(make_job(), Policy(), Random(1)).limits.stream_bytes_max == Limits().stream_bytes_max


def test_more_output_than_could_be_sent_back_is_refused_before_anything_runs() -> None:
    with pytest.raises(JobFault) as refused:
        make_plan(
            with_bytes_max(make_job(Work(image="i", iterations=100)), piece=1, report=1 << 20),
            Policy(reruns_max=0),
            Random(1),
        )
    assert refused.value.fault == Fault(
        kind=FaultClass.SPEC_REFUSED,
        stage=Stage.PLAN,
        message="100 iterations leave 3495 bytes for each stream in a report of 1048576; at least 4096 are needed",
    )


def test_every_iteration_runs_once_and_the_job_completes() -> None:
    records, end = ran(a_plan(3))
    assert ([record.number for record in records], end) == ([0, 1, 2], Finished())


def test_a_disturbed_iteration_is_run_again_and_says_for_which() -> None:
    records, end = ran(a_plan(2, reruns_max=5), words="qd")
    assert [record.repeats for record in records] == [None, None, 1]
    assert end == Finished()


def test_one_iteration_may_not_use_up_all_repeats() -> None:
    records, _ = ran(a_plan(3, reruns_max=5), words="d" * 100)
    assert [record.repeats for record in records] == [None, 0, 0, None, 3, 3, None, 6]
    assert RERUNS_OF_ONE_MAX == 2


@pytest.mark.parametrize("words", ["uuu", "qqq", ""])
def test_only_evidence_of_a_disturbance_leads_to_a_repeat(words: str) -> None:
    assert len(ran(a_plan(3, reruns_max=5), words=words)[0]) == 3


def test_a_warm_up_is_never_repeated() -> None:
    assert len(ran(a_plan(1, warm_ups=2, reruns_max=5), words="dd")[0]) == 3


def test_the_first_failure_ends_the_job() -> None:
    records, end = ran(a_plan(3), exit_code=4)
    assert len(records) == 1
    assert end.fault == Fault(
        kind=FaultClass.EXIT_CODE,
        stage=Stage.ITERATE,
        message="iteration 0 ended with exit code 4",
        iteration=0,
        exit_code=4,
    )


def test_allowed_failures_keep_their_output_and_go_on() -> None:
    records, end = ran(a_plan(3, allow_failure=True), exit_code=4)
    assert (len(records), end) == (3, Finished())


def test_a_job_whose_every_command_failed_to_start_is_not_completed() -> None:
    records, end = ran(a_plan(2, allow_failure=True), exit_code=None, kind=FaultClass.COMMAND_NOT_FOUND)
    assert len(records) == 2
    assert end.fault is not None and end.fault.kind is FaultClass.COMMAND_NOT_FOUND


@pytest.mark.parametrize("kind", [FaultClass.CONTAINER_LOST, FaultClass.ENGINE_FAULT, FaultClass.JOB_TIMEOUT])
def test_the_hosts_faults_and_the_jobs_time_end_it_also_where_failures_are_allowed(kind: FaultClass) -> None:
    records, end = ran(a_plan(3, allow_failure=True), kind=kind)
    assert (len(records), end.fault and end.fault.kind) == (1, kind)
