"""What agents call, as `runner_protocol.messages` lists it: claim, heartbeat, pieces, report.

An ASGI layer in front of the framework's routing: these calls are most of a busy server's work, and on two cores the
framework's own part of one was more than the database's.
"""

import asyncio
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import ClaimRequest, Heartbeat, ReportEnvelope
from server_stub.bodies import problem_of
from server_stub.connections import seat_of, take_seat, watched
from server_stub.departure import Departure
from server_stub.envelope import cut_off, defect, refused
from server_stub.errors import ApiError, BadRequestError
from server_stub.job_queue import JobQueue
from server_stub.state import state_of

M = TypeVar("M", bound=BaseModel)

BIG_BODY_BYTES = 64 << 10
"""A body beyond this is decoded in a thread: other agents' heartbeats must not wait for it."""


async def claim(request: Request) -> Response:
    """Ask for work and wait for it: 200 with a job, 204 when `poll_timeout` has passed."""
    if (seat := seat_of(request)) is not None:
        return _claimed(seat.outcome.result())
    queue, caller, text = state_of(request).queue, (_runner(request), _key(request)), await _body(request)
    with watched(request) as departure:
        if queue.crowded and (seat := take_seat(request, departure)) is not None:
            seat.wait(_claim_in_turn(queue, caller, text, departure))
            return _Later()
        poll = await queue.arrive(*caller, await _read(ClaimRequest, text))
        if poll.claim is None and (seat := take_seat(request, departure)) is not None:
            seat.wait(queue.wait(poll, departure))
            return _Later()
        return _claimed(await queue.wait(poll, departure))


async def _claim_in_turn(
    queue: JobQueue, caller: tuple[str, str | None], text: bytes, departure: Departure
) -> ClaimedJob | None:
    """As one of a fleet that comes at once. What a host says of itself is read when its turn has come: it is large."""
    came = asyncio.get_running_loop().time()
    async with queue.turns:
        poll = await queue.arrive(*caller, await _read(ClaimRequest, text), came)
    del text
    return await queue.wait(poll, departure)


async def heartbeat(request: Request) -> Response:
    """Extend a lease; the first beat confirms the claim."""
    body = await _read(Heartbeat, await _body(request))
    return _reply(await state_of(request).queue.beat(_runner(request), _key(request), _job(request), body))


async def put_piece(request: Request) -> Response:
    """Send one piece of a large report, as raw bytes."""
    job, attempt, index = _job(request), _number(request, "attempt"), _number(request, "index")
    piece = await _body(request)
    await state_of(request).queue.put_piece(_runner(request), _key(request), job, attempt, index, piece)
    return Response(status_code=204)


async def report(request: Request) -> Response:
    """End an attempt with its report."""
    text = await _body(request)
    body, large = await _read(ReportEnvelope, text), len(text) > BIG_BODY_BYTES
    queue = state_of(request).queue
    return _reply(await queue.report(_runner(request), _key(request), _job(request), body, large=large))


class _Later(Response):
    """Nothing for now: the request sits, and comes again."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


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
"""Every call, the frequent ones first. The framework has them too, to say which paths take which methods."""
_PREFIX = _JOBS.partition("{")[0]


class AgentCalls:
    """Serves what agents call, and hands everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = _route_of(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
        except ApiError as error:
            response = await refused(request, error)
        except ClientDisconnect as error:
            response = await cut_off(request, error)
        except Exception as error:
            await (await defect(request, error))(scope, receive, send)
            raise
        await response(scope, receive, send)


def _route_of(scope: Scope) -> _Call | None:
    """The call that a request is, noted in its scope."""
    if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
        for route in ROUTES:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return route
    return None


async def _body(request: Request) -> bytes:
    """Not the framework's, which keeps it for as long as the request lasts."""
    return b"".join([piece async for piece in request.stream()])


async def _read(model: type[M], body: bytes) -> M:
    body = body or b"{}"
    try:
        if len(body) > BIG_BODY_BYTES:
            return await asyncio.to_thread(model.model_validate_json, body)
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BadRequestError(problem_of(error)) from error


def _claimed(job: ClaimedJob | None) -> Response:
    return Response(status_code=204) if job is None else _reply(job)


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
