"""Puts together what is known of one job, for its submitter and for operators. One transaction, reads only."""

from typing import Any
from uuid import UUID

from runner_protocol.states import TERMINAL, JobState
from server_stub.entity_json import spec_json
from server_stub.errors import NotFoundError
from server_stub.job_json import attempt_json, job_json, output_json, result_json, waiting_json
from server_stub.settings import Settings
from server_stub.store import job_reads, outputs, specs
from server_stub.store.tx import Tx


def job_view(
    tx: Tx, uuid: UUID, settings: Settings, *, project_id: int | None = None, with_output: bool = False
) -> dict[str, Any]:
    """One job: its state, why it waits, its attempts, and once it has ended what stands behind its numbers.

    `with_output`: with what its iterations printed, once it has ended. Raises `NotFoundError`.
    """
    row = job_reads.find(tx, uuid, project_id)
    if row is None:
        raise NotFoundError(f"there is no job {uuid}")
    spec = specs.by_id(tx, row["spec_id"])
    view = job_json(row, spec_json(spec))
    view["attempts"] = [attempt_json(attempt) for attempt in job_reads.attempts(tx, row["id"])]
    state = JobState(row["state"])
    if state is JobState.PENDING:
        lost_ms = round(settings.lost_s * 1000)
        view["waiting"] = waiting_json(job_reads.waiting(tx, row, spec["slug"], lost_ms, tiers=settings.tiers))
    report = outputs.find_report(tx, uuid) if state in TERMINAL | {JobState.COMPLETED} else None
    if report is not None:
        view |= result_json(report)
        if with_output and state in TERMINAL:
            view["output"] = output_json(report)
    return view
