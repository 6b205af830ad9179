"""What the routes of one server process share."""

from dataclasses import dataclass, field
from typing import cast

from anyio import CapacityLimiter
from starlette.requests import Request

from server_stub.job_queue import JobQueue
from server_stub.settings import Settings
from server_stub.store.database import Database

PAINTERS = 2
"""Pictures that one process draws at the same time; each holds some 25 MiB."""


@dataclass(slots=True)
class AppState:
    """One process's database, queue and settings."""

    database: Database
    queue: JobQueue
    settings: Settings
    painters: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PAINTERS))


def state_of(request: Request) -> AppState:
    """The state of the application that serves `request`."""
    return cast("AppState", request.app.state.shared)
