"""The agent's own view of its lease, and when to renew it. Pure: times are readings of one monotonic clock, in seconds.

The server alone decides whether a lease holds: its answer of 409, or of 401 again and again, ends the job. This clock
only sets the pace of the heartbeats and tells the operator when the server must have given the job away.
"""

from dataclasses import dataclass, replace

from runner_protocol.jobs import ClaimedJob

# A failed beat is tried again much sooner than the next one is due: one lost packet must not cost a third of a lease.
RETRY_S_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A promise of the server, counted from when the call that brought it was sent: the cautious end of the doubt."""

    length_s: float
    heartbeat_s: float
    renewed_at_s: float
    confirmed: bool = False
    """Whether the server has answered a heartbeat: until then it may think that we never heard of the claim."""

    @classmethod
    def of(cls, job: ClaimedJob, now_s: float) -> "Lease":
        """The lease that a claim brings."""
        return cls(length_s=job.lease_s, heartbeat_s=min(job.heartbeat_s, job.lease_s / 3), renewed_at_s=now_s)

    def renewed(self, sent_at_s: float, length_s: float) -> "Lease":
        """After an answered heartbeat that was sent at `sent_at_s`."""
        return replace(self, length_s=length_s, renewed_at_s=sent_at_s, confirmed=True)

    def overdue(self, now_s: float) -> bool:
        """Whether the server may have given the job to somebody else."""
        return now_s >= self.renewed_at_s + self.length_s

    def pause_s(self, sent_at_s: float, now_s: float, *, answered: bool, chance: float) -> float:
        """How long to wait before the next beat."""
        if answered:
            return max(0.0, sent_at_s + self.heartbeat_s - now_s)
        return min(RETRY_S_MAX, self.heartbeat_s) * (0.5 + chance / 2)
