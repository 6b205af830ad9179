"""Says why a job waits, in one word for machines and one sentence for its submitter. Pure: looks nothing up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    """Why a pending job is not running, the most lasting reason first."""

    NO_RUNNER = "no_runner"
    LOST = "runners_lost"
    DRAINED = "runners_drained"
    BLOCKED = "runners_blocked"
    BACK_OFF = "back_off"
    TIER = "tier_limit"
    BUSY = "runners_busy"
    SOON = "soon"


class RunnerState(StrEnum):
    """What an operator sees of a runner."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    """Finishes what it holds and takes no more."""
    BLOCKED = "blocked"
    DRAINED = "drained"
    LOST = "lost"
    NEVER_SEEN = "never_seen"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class RunnerFacts:
    """What a runner's state follows from. Times are milliseconds."""

    archived: bool
    drained: bool
    holds_a_job: bool
    blocked: bool
    seen_ms: int | None


def runner_state(facts: RunnerFacts, now_ms: int, lost_ms: int) -> RunnerState:
    """The one word for a runner. A silent one is lost, whatever else it was."""
    if facts.archived:
        return RunnerState.REMOVED
    if facts.seen_ms is None:
        return RunnerState.DRAINED if facts.drained else RunnerState.NEVER_SEEN
    if now_ms - facts.seen_ms > lost_ms:
        return RunnerState.LOST
    if facts.holds_a_job:
        return RunnerState.DRAINING if facts.drained else RunnerState.BUSY
    if facts.drained:
        return RunnerState.DRAINED
    return RunnerState.BLOCKED if facts.blocked else RunnerState.IDLE


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a pending job's JSON says about its wait."""

    reason: WaitReason
    message: str
    position: int
    """1 is the next to be handed out among those that want the same spec."""
    runners: int
    """Runners that hold the spec."""


def why_waiting(
    states: Mapping[RunnerState, int], *, spec: str, position: int, not_before_s: float = 0, tier_blocked: bool = False
) -> Waiting:
    """Explain a wait. `states`: how many runners hold the spec in each; `not_before_s`: what is left of a back-off."""
    alive = {state: count for state, count in states.items() if count and state is not RunnerState.REMOVED}
    useful = {RunnerState.IDLE, RunnerState.BUSY}

    def because(reason: WaitReason, message: str) -> Waiting:
        return Waiting(reason, message, position, sum(alive.values()))

    if not alive:
        return because(WaitReason.NO_RUNNER, f"no runner holds the spec {spec}")
    if not useful.intersection(alive):
        return because(*_all_out(alive, spec))
    if not_before_s > 0:
        return because(WaitReason.BACK_OFF, f"tried again in {not_before_s:.0f} s, after a fault of the infrastructure")
    if tier_blocked:
        return because(WaitReason.TIER, "another job of the same submitter has to end first")
    if RunnerState.IDLE not in alive:
        return because(WaitReason.BUSY, f"every runner with the spec {spec} is busy; number {position} in the queue")
    return because(WaitReason.SOON, f"number {position} in the queue, and a runner with the spec {spec} is idle")


def _all_out(alive: Collection[RunnerState], spec: str) -> tuple[WaitReason, str]:
    if RunnerState.BLOCKED in alive:
        return WaitReason.BLOCKED, f"the runners with the spec {spec} take no work just now: see what they say"
    if {RunnerState.DRAINED, RunnerState.DRAINING}.intersection(alive):
        return WaitReason.DRAINED, f"the runners with the spec {spec} are drained"
    return WaitReason.LOST, f"no runner with the spec {spec} has been heard of lately"
