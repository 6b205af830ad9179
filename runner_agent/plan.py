"""Turns a claimed job into a plan: which container runs in which order, and how much each may say. Pure.

A job whose output could never be sent back is refused here, before anything is pulled. What the machine cannot give is
refused by the engine, which knows it.
"""

from dataclasses import dataclass
from random import Random

from runner_agent import pairs
from runner_agent.errors import JobFault
from runner_protocol.jobs import ClaimedJob, Limits
from runner_protocol.results import Fault, FaultClass, Stage, Variant

# Less room than this for each stream of an iteration is of no use to anybody who has to find out what went wrong.
STREAM_BYTES_MIN = 4096

# On a host that is disturbed all the time, one iteration must not use up what the others may need.
RERUNS_OF_ONE_MAX = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of the host has decided."""

    warm_ups: int = 0
    """Runs before counting begins, of each image."""
    reruns_max: int = 5
    """Disturbed iterations of one job that are run again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One place in the schedule."""

    variant: Variant
    warm_up: bool = False


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that is decided before the first container starts."""

    schedule: tuple[Turn, ...]
    reruns_max: int
    allow_failure: bool
    limits: Limits
    """Of one iteration: the job's own, cut evenly so that all of them fit into one report."""


def make_plan(job: ClaimedJob, policy: Policy, chance: Random) -> RunPlan:
    """Decide; `chance` orders the pairs of a comparison. Raises `JobFault` with the reason."""
    iterations = job.work.iterations
    order = (Variant.CANDIDATE,) * iterations if job.work.baseline is None else pairs.order(iterations, chance)
    variants = dict.fromkeys(order)  # Each once, in the order of appearance; none when nothing is to be run.
    warm_ups = [Turn(variant, warm_up=True) for variant in variants for _ in range(policy.warm_ups)]
    schedule = (*warm_ups, *map(Turn, order))
    runs = len(schedule) + min(policy.reruns_max, RERUNS_OF_ONE_MAX * len(order))
    return RunPlan(schedule, policy.reruns_max, job.work.allow_failure, _shared(job.limits, runs))


def _shared(limits: Limits, runs: int) -> Limits:
    """Cut the bounds of one iteration so that `runs` of them fit: a third each for stdout, stderr and files."""
    share = limits.report_bytes_max // max(1, runs) // 3
    if share < STREAM_BYTES_MIN:
        raise _refused(
            f"{runs} iterations leave {share} bytes for each stream in a report of {limits.report_bytes_max}; "
            f"at least {STREAM_BYTES_MIN} are needed"
        )
    return limits.model_copy(
        update={
            "stream_bytes_max": min(limits.stream_bytes_max, share),
            "files_bytes_max": min(limits.files_bytes_max, share),
        }
    )


def _refused(message: str) -> JobFault:
    return JobFault(Fault(kind=FaultClass.SPEC_REFUSED, stage=Stage.PLAN, message=message))
