"""Decides after each iteration what comes next: another one, the same again, or the end and why. Pure.

An iteration is run again on outside evidence only (its verdict), never because its value was slow; and never more often
than the bounds below allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from runner_agent.plan import RERUNS_OF_ONE_MAX, RunPlan, Turn
from runner_protocol.results import INFRASTRUCTURE, Fault, FaultClass, IterationRecord, Stage, Word


@dataclass(frozen=True, slots=True)
class Run:
    """Run one container."""

    number: int
    turn: Turn
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """Run no more."""

    fault: Fault | None = None
    """None: completed."""


def next_step(plan: RunPlan, records: Sequence[IterationRecord]) -> Run | Finished:
    """What follows after these iterations."""
    last = records[-1] if records else None
    if last is not None and (fault := ending_fault(last, allow_failure=plan.allow_failure)) is not None:
        return Finished(fault)
    if last is not None and _worth_repeating(plan, last, records):
        turn = Turn(last.variant)
        return Run(len(records), turn, repeats=_origin(last))
    done = sum(record.repeats is None for record in records)
    if done < len(plan.schedule):
        return Run(len(records), plan.schedule[done])
    return Finished(_nothing_ran(records))


def fault_of(record: IterationRecord) -> Fault | None:
    """What was wrong with an iteration: its own fault, or an exit code that is not zero."""
    if record.fault is not None or record.exit_code == 0:
        return record.fault
    return Fault(
        kind=FaultClass.EXIT_CODE,
        stage=Stage.ITERATE,
        message=f"iteration {record.number} ended with exit code {record.exit_code}",
        iteration=record.number,
        exit_code=record.exit_code,
        signal=record.signal,
    )


def ending_fault(record: IterationRecord, *, allow_failure: bool) -> Fault | None:
    """The fault that ends the whole job. The host's faults and the job's time limit do so even if failures may be."""
    fault = fault_of(record)
    if fault is None or (allow_failure and fault.kind not in INFRASTRUCTURE | {FaultClass.JOB_TIMEOUT}):
        return None
    return fault


def _worth_repeating(plan: RunPlan, last: IterationRecord, records: Sequence[IterationRecord]) -> bool:
    if last.warm_up or not last.succeeded or last.verdict is None or last.verdict.word is not Word.DISTURBED:
        return False
    repeats = [record.repeats for record in records if record.repeats is not None]
    return len(repeats) < plan.reruns_max and repeats.count(_origin(last)) < RERUNS_OF_ONE_MAX


def _origin(record: IterationRecord) -> int:
    """Of a chain of repeats, the number of the first."""
    return record.number if record.repeats is None else record.repeats


def _nothing_ran(records: Sequence[IterationRecord]) -> Fault | None:
    """A job whose every command failed to start is not called completed, also where failures are allowed."""
    counted = [record for record in records if not record.warm_up]
    if not counted or any(record.exit_code is not None for record in counted):
        return None
    return fault_of(counted[-1])
