"""Sends the parts of a page that change, as they change: server-sent events, one stream for each open page."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from server_stub.access import may_read_output, rights_in
from server_stub.actors import Right
from server_stub.errors import NotFoundError
from server_stub.pages import fleet, jobs
from server_stub.pages.eyes import eyes_of
from server_stub.pages.headers import SAFE
from server_stub.pages.visitor import visitor_of
from server_stub.state import own_address, state_of
from server_stub.store import job_reads, projects
from server_stub.store.tx import Tx
from server_stub.watching import FLEET, FleetSight, JobSight, Sight, Watch

router = APIRouter(include_in_schema=False)

QUIET_S_MAX = 20.0
"""After so long without news a line is sent all the same, so that what stands between does not cut the stream."""
HEADERS = {**SAFE, "cache-control": "no-store", "x-accel-buffering": "no"}
Render = Callable[[Sight], dict[str, str]]


@router.get("/live/fleet")
async def follow_fleet(request: Request) -> StreamingResponse:
    """The parts of the fleet's page."""
    state, visitor, server = state_of(request), visitor_of(request), own_address(request)
    eyes = await state.database.read(lambda tx: eyes_of(tx, visitor.actor(tx)))

    def render(sight: Sight) -> dict[str, str]:
        assert isinstance(sight, FleetSight)
        return fleet.parts_of(sight, eyes, server)

    return StreamingResponse(_stream(state.watch, FLEET, render), headers=HEADERS, media_type="text/event-stream")


@router.get("/live/jobs/{job}")
async def follow_job(request: Request, job: UUID) -> StreamingResponse:
    """The live part of a job's page; `ended` once the job has."""
    state, visitor = state_of(request), visitor_of(request)

    def read(tx: Tx) -> bool:
        actor, row = visitor.actor(tx), job_reads.find(tx, job)
        project = projects.by_id(tx, row["project_id"]) if row else None
        if project is None or Right.VIEW not in rights_in(tx, actor, project):
            raise NotFoundError(f"there is no job {job}")
        return may_read_output(tx, actor, project)

    output = await state.database.read(read)

    def render(sight: Sight) -> dict[str, str]:
        assert isinstance(sight, JobSight)
        return jobs.parts_of(sight, output=output)

    return StreamingResponse(_stream(state.watch, str(job), render), headers=HEADERS, media_type="text/event-stream")


async def _stream(watch: Watch, topic: str, render: Render) -> AsyncIterator[bytes]:
    """What changes, until the reader leaves, the server stops, or nothing will change any more."""
    sent: dict[str, str] = {}
    with watch.following(topic) as follower:
        yield b"retry: 2000\n\n"
        while not follower.closed:
            sight = await follower.next(QUIET_S_MAX)
            if sight is None:
                yield b": still here\n\n"
                continue
            parts = render(sight)
            changed = {name: html for name, html in parts.items() if sent.get(name) != html}
            sent = parts
            if changed:
                yield b"event: parts\ndata: " + orjson.dumps(changed) + b"\n\n"
            if isinstance(sight, JobSight) and jobs.is_over(sight.job):
                yield b"event: ended\ndata: {}\n\n"
                return
