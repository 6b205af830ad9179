"""What the routes of one server process share."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from server_stub.job_queue import JobQueue
from server_stub.settings import Settings
from server_stub.store.database import Database


@dataclass(slots=True)
class AppState:
    """One process's database, queue and settings."""

    database: Database
    queue: JobQueue
    settings: Settings


def state_of(request: Request) -> AppState:
    """The state of the application that serves `request`."""
    return cast("AppState", request.app.state.shared)
