"""Cancels a job, whoever asks and however far it is. One transaction."""

from uuid import UUID

from runner_protocol.states import TERMINAL, JobState
from server_stub.errors import ConflictError, NotFoundError, UnavailableError
from server_stub.leases import End
from server_stub.store import jobs
from server_stub.store.tx import Row, Tx

TRIES = 3
"""A job may be claimed between the look and the move; more often than once is not luck any more."""


def cancel(tx: Tx, uuid: UUID, project_id: int | None) -> Row:
    """End a pending job at once; have the holder of a leased one told. A canceled job stays so.

    `project_id`: the project that it must be of; None where an operator asks. Returns the job's row as it was. Raises
    `NotFoundError`, and `ConflictError` for a job that has ended another way.
    """
    for _ in range(TRIES):
        job = jobs.by_uuid(tx, uuid)
        if job is None or project_id not in (None, job["project_id"]):
            raise NotFoundError(f"there is no job {uuid}")
        state = JobState(job["state"])
        if state is JobState.CANCELED:
            return job
        if state is JobState.COMPLETED or state in TERMINAL:
            raise ConflictError(f"job {uuid} is {state}: it has ended and cannot be canceled")
        if state is not JobState.PENDING:
            jobs.ask_to_stop(tx, job, None)
            return job
        if jobs.conclude(tx, job, End(JobState.CANCELED, None), "canceled"):
            return job
    raise UnavailableError(f"job {uuid} changes hands just now")
