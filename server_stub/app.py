"""Wires one server process: database, queue, routes, and what every response has in common."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from server_stub.envelope import Envelope, handle_errors
from server_stub.job_queue import JobQueue
from server_stub.pages import PAGES
from server_stub.process import process_completed_job
from server_stub.routes import ROUTERS, agents
from server_stub.settings import Settings
from server_stub.state import AppState
from server_stub.store.database import Database
from server_stub.telemetry import Timed
from server_stub.tracing import Traces
from server_stub.watching import Watch

API_VERSION = "0.6.12"
"""Version of the API that this server speaks: the command line of that API compares it with its own."""


class _App(FastAPI):
    """The framework behind our own layers: what agents call passes none of its own, least of all while a poll waits."""

    def build_middleware_stack(self) -> ASGIApp:
        """Called by the framework, once."""
        state: AppState = self.state.shared
        front = Timed(agents.AgentCalls(super().build_middleware_stack()), telemetry=state.queue.telemetry)
        return Envelope(front, body_bytes_max=state.settings.body_bytes_max, routes=lambda: self.router.routes)


def create_app(database: Database, settings: Settings, traces: Traces | None = None) -> FastAPI:
    """Make the application. The database stays the caller's to close, once the application has shut down."""
    queue = JobQueue(database, settings, on_completed=lambda job: process_completed_job(database, job), traces=traces)
    watch = Watch(database, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with queue.running(), watch.running():
            yield

    app = _App(
        title="Benchmark runner API",
        version=API_VERSION,
        openapi_url="/v0/server/spec",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        strict_content_type=False,
    )
    app.state.shared = AppState(database, queue, watch, settings)
    handle_errors(app)
    app.router.routes.extend(agents.ROUTES)
    for router in [*PAGES, *ROUTERS]:
        app.include_router(router)
    return app
