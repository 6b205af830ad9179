"""What agents call, as `runner_protocol.messages` lists it: claim, heartbeat, pieces, report."""

import asyncio
from typing import TypeVar
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from runner_protocol.messages import ClaimRequest, Heartbeat, ReportEnvelope
from server_stub.bodies import problem_of
from server_stub.departure import Departure
from server_stub.errors import BadRequestError
from server_stub.state import state_of

router = APIRouter(tags=["agents"])

M = TypeVar("M", bound=BaseModel)

BIG_BODY_BYTES = 64 << 10
"""A body beyond this is decoded in a thread: other agents' heartbeats must not wait for it."""


@router.post("/v0/runners/{runner}/jobs", include_in_schema=False)
async def claim(request: Request, runner: str) -> Response:
    """Ask for work and wait for it: 200 with a job, 204 when `poll_timeout` has passed."""
    body = await _read(request, ClaimRequest)
    departure = Departure()
    watch = asyncio.create_task(_watch(request, departure))
    try:
        job = await state_of(request).queue.claim(runner, _key(request), body, departure)
    finally:
        watch.cancel()
    return Response(status_code=204) if job is None else _reply(job)


@router.post("/v0/runners/{runner}/jobs/{job}/heartbeat", include_in_schema=False)
async def heartbeat(request: Request, runner: str, job: UUID) -> Response:
    """Extend a lease; the first beat confirms the claim."""
    body = await _read(request, Heartbeat)
    return _reply(await state_of(request).queue.beat(runner, _key(request), job, body))


@router.put("/v0/runners/{runner}/jobs/{job}/attempts/{attempt}/pieces/{index}", include_in_schema=False)
async def put_piece(request: Request, runner: str, job: UUID, attempt: int, index: int) -> Response:
    """Send one piece of a large report, as raw bytes."""
    piece = await request.body()
    await state_of(request).queue.put_piece(runner, _key(request), job, attempt, index, piece)
    return Response(status_code=204)


@router.post("/v0/runners/{runner}/jobs/{job}/report", include_in_schema=False)
async def report(request: Request, runner: str, job: UUID) -> Response:
    """End an attempt with its report."""
    body = await _read(request, ReportEnvelope)
    return _reply(await state_of(request).queue.report(runner, _key(request), job, body))


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
