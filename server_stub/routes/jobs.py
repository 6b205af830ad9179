"""Jobs of a project: where each stands, why it waits, what it printed, and how to end it."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from server_stub.access import actor_of, may_read_output, open_for_jobs, open_project
from server_stub.canceling import cancel
from server_stub.entity_json import spec_json
from server_stub.job_json import job_json
from server_stub.job_views import job_view
from server_stub.queries import Direction, JobListing
from server_stub.routes.caller import Caller, ProjectId
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes_of_jobs import JobJson
from server_stub.state import state_of
from server_stub.store import job_reads, specs
from server_stub.store.tx import Tx

router = APIRouter(tags=["jobs"])


@router.get("/v0/projects/{project}/jobs", **answers(list[JobJson]))
async def list_jobs(
    request: Request,
    caller: Caller,
    project: ProjectId,
    query: Annotated[JobListing, Query()],
) -> Response:
    """Jobs of a project, the newest first; without what they printed."""
    wanted = query.part(Direction.DESC)

    def read(tx: Tx) -> tuple[list[dict[str, Any]], int]:
        row = open_project(tx, actor_of(tx, caller), project)
        states = None if query.status is None else [query.status]
        rows, total = job_reads.page(tx, wanted, project_id=row["id"], states=states)
        return [job_json(job, spec_json(specs.by_id(tx, job["spec_id"]))) for job in rows], total

    found, total = await state_of(request).database.read(read)
    return json_reply(found, total=total)


@router.get("/v0/projects/{project}/jobs/{job}", **answers(JobJson))
async def get_job(request: Request, caller: Caller, project: ProjectId, job: UUID) -> Response:
    """One job. What it printed is shown once it has ended, to callers with a credential and of unclaimed projects."""
    state = state_of(request)

    def read(tx: Tx) -> dict[str, Any]:
        actor = actor_of(tx, caller)
        row = open_project(tx, actor, project)
        shown = may_read_output(tx, actor, row)
        return job_view(tx, job, state.settings, project_id=row["id"], with_output=shown)

    return json_reply(await state.database.read(read))


@router.post("/v0/projects/{project}/jobs/{job}/cancel", **answers(JobJson))
async def cancel_job(request: Request, caller: Caller, project: ProjectId, job: UUID) -> Response:
    """End a job: at once while it waits; where it runs, its runner is told with the next heartbeat."""
    state = state_of(request)
    project_id = await state.database.write(partial(_cancel, caller=caller, project=project, job=job))
    view = partial(job_view, uuid=job, settings=state.settings, project_id=project_id)
    return json_reply(await state.database.read(view))


@router.delete("/v0/projects/{project}/jobs/{job}", **answers(None, 204))
async def delete_job(request: Request, caller: Caller, project: ProjectId, job: UUID) -> Response:
    """The same as `cancel`. The job stays to be read, for its report does."""
    await state_of(request).database.write(partial(_cancel, caller=caller, project=project, job=job))
    return Response(status_code=204)


def _cancel(tx: Tx, caller: Caller, project: ProjectId, job: UUID) -> int:
    """Whoever may submit to a project may cancel there: anybody, while nobody has claimed it."""
    actor = actor_of(tx, caller)
    row = open_for_jobs(tx, actor, project)
    cancel(tx, job, row["id"])
    project_id: int = row["id"]
    return project_id
