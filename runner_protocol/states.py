"""The states of a job and the table of legal moves between them.

One table, three uses: the server builds its guards (`… WHERE state IN (…)`) from it, the agent's session checks itself
against it, and `docs/states.md` is drawn from it. Nothing else decides what a job may become.

    submit → pending → claimed → running → completed → processed
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. The names are those of the public API."""

    PENDING = "pending"
    """Waits in the queue for a runner that holds its spec."""
    CLAIMED = "claimed"
    """Handed to a runner that has not yet said that it started."""
    RUNNING = "running"
    """The runner has confirmed it; the lease is renewed by heartbeats."""
    COMPLETED = "completed"
    """The runner's report is stored; its results are not parsed yet."""
    PROCESSED = "processed"
    """Results parsed, metrics stored, thresholds tested."""
    FAILED = "failed"
    """Ended without usable results; the fault says whose doing it was."""
    CANCELED = "canceled"
    """Ended by its submitter or by its hard time limit."""


MOVES: dict[JobState, dict[JobState, str]] = {
    JobState.PENDING: {
        JobState.CLAIMED: "a runner takes it",
        JobState.CANCELED: "its submitter cancels it",
    },
    JobState.CLAIMED: {
        JobState.RUNNING: "first heartbeat",
        JobState.PENDING: "never confirmed, lease lost or handed back",
        JobState.COMPLETED: "report of an attempt whose heartbeats were lost",
        JobState.FAILED: "reported, or attempts used up",
        JobState.CANCELED: "its submitter cancels it",
    },
    JobState.RUNNING: {
        JobState.COMPLETED: "report stored",
        JobState.PENDING: "lease lost or handed back",
        JobState.FAILED: "reported, or attempts used up",
        JobState.CANCELED: "its submitter cancels it, or its time is up",
    },
    JobState.COMPLETED: {
        JobState.PROCESSED: "results stored",
        JobState.FAILED: "results cannot be parsed",
    },
    JobState.PROCESSED: {},
    JobState.FAILED: {},
    JobState.CANCELED: {},
}
"""state → state that may follow → what causes it."""

TERMINAL = frozenset(state for state, following in MOVES.items() if not following)
"""States that a job never leaves."""

LEASED = frozenset({JobState.CLAIMED, JobState.RUNNING})
"""States in which a runner holds the job under a lease."""


class IllegalMoveError(ValueError):
    """A move that the table does not hold."""

    def __init__(self, old: JobState, new: JobState) -> None:
        super().__init__(f"a job that is {old} cannot become {new}")
        self.old = old
        self.new = new


def move(old: JobState, new: JobState) -> JobState:
    """Return `new` where the table allows it; raise `IllegalMoveError` where not."""
    if new not in MOVES[old]:
        raise IllegalMoveError(old, new)
    return new


def sources(new: JobState) -> frozenset[JobState]:
    """All states from which a job may become `new`: the guard of an update."""
    return frozenset(old for old, following in MOVES.items() if new in following)
