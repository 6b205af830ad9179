"""Whether this process lives, whether it can serve, and what it counts. For those who watch it, not for clients."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from server_stub.errors import NotFoundError, UnavailableError
from server_stub.state import state_of
from server_stub.store import job_reads
from server_stub.store.tx import Row, Tx

router = APIRouter(tags=["health"], include_in_schema=False)

READY_S_MAX = 2.0


@router.get("/healthz")
async def health() -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def ready(request: Request) -> Response:
    """The process takes work and its database answers; 503 where not."""
    state = state_of(request)
    if state.queue.waiters.closing:
        raise UnavailableError("the server is stopping")
    try:
        async with asyncio.timeout(READY_S_MAX):
            await state.database.read(lambda tx: tx.value("SELECT COUNT(*) FROM schema_migration"))
    except TimeoutError as error:
        raise UnavailableError(f"the database has not answered for {READY_S_MAX:g} s") from error
    return PlainTextResponse("ready\n")


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    state = state_of(request)
    if not state.settings.metrics:
        raise NotFoundError("metrics are switched off")
    lost_ms = round(state.settings.lost_s * 1000)

    def read(tx: Tx) -> tuple[list[Row], dict[str, int], int]:
        states = job_reads.runner_states(tx, lost_ms)
        return job_reads.depths(tx), {str(state): count for state, count in states.items()}, tx.now_ms()

    depths, states, now_ms = await state.database.read(read)
    telemetry = state.queue.telemetry
    telemetry.polls.set(len(state.queue.waiters))
    return Response(telemetry.page(depths, states, now_ms), media_type="text/plain; version=0.0.4; charset=utf-8")
