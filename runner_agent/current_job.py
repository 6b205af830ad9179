"""The one job that this agent has promised to run, on disk from the claim until its report is there.

What one agent leaves unfinished, the next one settles. Knows nothing of the server or the spool's files.
Calls block: the daemon makes them from a worker thread.
"""

from pathlib import Path
from uuid import UUID

from pydantic import Field, ValidationError

from runner_agent.durable import set_aside, sync_directory, write_durably
from runner_protocol.jobs import ClaimedJob, Limits
from runner_protocol.results import Fault, FaultClass, Outcome, RunReport, Stage
from runner_protocol.wire import Message

FILE = "current-job.json"


class Promise(Message):
    """An attempt that was claimed."""

    job: UUID
    attempt: int = Field(ge=1)
    piece_bytes_max: int = Field(default=Limits().piece_bytes_max, ge=1)


class CurrentJob:
    """The promise in one state directory."""

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self._path = state_dir / FILE

    def remember(self, job: ClaimedJob) -> None:
        """Before anything is done for the job."""
        promise = Promise(job=job.job, attempt=job.attempt, piece_bytes_max=job.limits.piece_bytes_max)
        write_durably(self._path, promise.as_json())

    def forget(self) -> None:
        """Its report is in the spool, or nobody wants one any more."""
        self._path.unlink(missing_ok=True)
        sync_directory(self._path.parent)

    def promised(self) -> Promise | None:
        """What a predecessor left unfinished. An unreadable file is set aside: the server's lease settles that job."""
        if not self._path.exists():
            return None
        try:
            return Promise.model_validate_json(self._path.read_bytes())
        except ValidationError:
            set_aside(self._path, ".damaged")
            return None


def handed_back(promise: Promise) -> RunReport:
    """What the next agent says of a job that its predecessor did not finish: another attempt should run it."""
    return RunReport(
        job=promise.job,
        attempt=promise.attempt,
        outcome=Outcome.RELEASED,
        fault=Fault(
            kind=FaultClass.AGENT_RESTARTED,
            stage=Stage.ITERATE,
            message="the agent was killed or the host went down while it held the job",
        ),
    )
