"""The error body that every refused call carries, and the reasons for refusing an attempt."""

from enum import StrEnum
from uuid import UUID

from runner_protocol.wire import Message


class Stale(StrEnum):
    """Why a call about an attempt came too late. The agent kills the container and forgets the job."""

    SUPERSEDED = "superseded"
    """A later attempt exists or will: the lease was lost."""
    CANCELED = "canceled"
    FINISHED = "finished"
    """The job has ended another way."""
    UNKNOWN = "unknown"
    """This server never handed that job to this runner."""

    @classmethod
    def _missing_(cls, value: object) -> "Stale | None":
        return cls.UNKNOWN if isinstance(value, str) else None


class Problem(Message):
    """Body of every 4xx and 5xx."""

    request_id: UUID
    message: str
    error_code: str | None = None
    stale: Stale | None = None
    """Only on a 409 about an attempt."""
