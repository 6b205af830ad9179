"""What agents call, as `runner_protocol.messages` lists it: claim, heartbeat, pieces, report.

Plain routes in front of the framework's: these calls are most of a busy server's work, and on two cores the framework's
own part of one was more than the database's.
"""

import asyncio
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from runner_protocol.messages import ClaimRequest, Heartbeat, ReportEnvelope
from server_stub.bodies import problem_of
from server_stub.departure import Departure
from server_stub.errors import BadRequestError
from server_stub.state import state_of

M = TypeVar("M", bound=BaseModel)

BIG_BODY_BYTES = 64 << 10
"""A body beyond this is decoded in a thread: other agents' heartbeats must not wait for it."""


async def claim(request: Request) -> Response:
    """Ask for work and wait for it: 200 with a job, 204 when `poll_timeout` has passed."""
    body = await _read(request, ClaimRequest)
    departure = Departure()
    watch = asyncio.create_task(_watch(request, departure))
    try:
        job = await state_of(request).queue.claim(_runner(request), _key(request), body, departure)
    finally:
        watch.cancel()
    return Response(status_code=204) if job is None else _reply(job)


async def heartbeat(request: Request) -> Response:
    """Extend a lease; the first beat confirms the claim."""
    body = await _read(request, Heartbeat)
    return _reply(await state_of(request).queue.beat(_runner(request), _key(request), _job(request), body))


async def put_piece(request: Request) -> Response:
    """Send one piece of a large report, as raw bytes."""
    job, attempt, index = _job(request), _number(request, "attempt"), _number(request, "index")
    piece = await request.body()
    await state_of(request).queue.put_piece(_runner(request), _key(request), job, attempt, index, piece)
    return Response(status_code=204)


async def report(request: Request) -> Response:
    """End an attempt with its report."""
    body = await _read(request, ReportEnvelope)
    large = len(await request.body()) > BIG_BODY_BYTES
    queue = state_of(request).queue
    return _reply(await queue.report(_runner(request), _key(request), _job(request), body, large=large))


class _Call(Route):
    """A plain route that says, as the framework's do, which one serves the request: figures are kept by it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


_JOBS = "/v0/runners/{runner}/jobs"
ROUTES = [
    _Call(_JOBS, claim, methods=["POST"]),
    _Call(_JOBS + "/{job}/heartbeat", heartbeat, methods=["POST"]),
    _Call(_JOBS + "/{job}/report", report, methods=["POST"]),
    _Call(_JOBS + "/{job}/attempts/{attempt}/pieces/{index}", put_piece, methods=["PUT"]),
]
"""Every call, the frequent ones first."""


async def _watch(request: Request, departure: Departure) -> None:
    """Notice when the client goes: the body has been read, so that the next message says so."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    departure.happen()


async def _read(request: Request, model: type[M]) -> M:
    body = await request.body() or b"{}"
    try:
        if len(body) > BIG_BODY_BYTES:
            return await asyncio.to_thread(model.model_validate_json, body)
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BadRequestError(problem_of(error)) from error


def _reply(message: BaseModel) -> Response:
    return Response(message.model_dump_json(), media_type="application/json")


def _key(request: Request) -> str | None:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def _runner(request: Request) -> str:
    runner: str = request.path_params["runner"]
    return runner


def _job(request: Request) -> UUID:
    try:
        return UUID(request.path_params["job"])
    except ValueError as error:
        raise BadRequestError("job: not a UUID") from error


def _number(request: Request, name: str) -> int:
    try:
        return int(request.path_params[name])
    except ValueError as error:
        raise BadRequestError(f"{name}: not a whole number") from error
