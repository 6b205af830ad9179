"""What the routes of one server process share."""

from dataclasses import dataclass, field
from typing import cast

from anyio import CapacityLimiter
from starlette.requests import Request

from server_stub.job_queue import JobQueue
from server_stub.settings import Settings
from server_stub.store.database import Database
from server_stub.watching import Watch

PAINTERS = 2
"""Pictures that one process draws at the same time; each holds some 25 MiB."""


@dataclass(slots=True)
class AppState:
    """One process's database, queue, watch and settings."""

    database: Database
    queue: JobQueue
    watch: Watch
    settings: Settings
    painters: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PAINTERS))

    def close(self) -> None:
        """Answer everyone who waits: the process is about to stop."""
        self.queue.close()
        self.watch.close()


def state_of(request: Request) -> AppState:
    """The state of the application that serves `request`."""
    return cast("AppState", request.app.state.shared)


def is_https(request: Request) -> bool:
    """Whether the client came over TLS, at our door or at that of a trusted proxy."""
    forwarded = request.headers.get("x-forwarded-proto") if state_of(request).settings.proxies_trusted else None
    return (forwarded or request.url.scheme) == "https"


def own_address(request: Request) -> str:
    """This server's address, as the client knows it."""
    return f"{'https' if is_https(request) else 'http'}://{request.headers.get('host', 'localhost')}"
