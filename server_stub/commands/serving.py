"""`serve`: one server process, from its settings to its last answered poll."""

import asyncio
import gc
import signal
from contextlib import suppress
from types import FrameType
from typing import Any

import structlog
import uvicorn

from server_stub.app import create_app
from server_stub.connections import Connection
from server_stub.logs import configure_logs
from server_stub.notify import notify
from server_stub.settings import Settings
from server_stub.state import AppState
from server_stub.store.database import Database
from server_stub.tracing import Traces

# A parked poll is answered at once when the process is told to stop; what is left are requests that do their work.
SHUTDOWN_S_MAX = 30
BACKLOG = 4096
"""Connections that may wait to be taken: a whole fleet comes back after a restart."""
KEEP_ALIVE_S = 75
"""Longer than an agent's poll, so that it can use its connection again."""
TICK_S = 1.0
"""The date in answers is as old at most; uvicorn looks ten times as often, mostly for a signal."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """Answers everyone who waits when it is told to stop: otherwise each would hold the shutdown up to its time-out."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then say where: the port may have been 0."""
        self._loop, self._told_to_stop = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info("serving", url=f"http://{host}:{port}")
            notify("READY=1", f"STATUS=serving http://{host}:{port}")

    async def main_loop(self) -> None:
        """Serve until told to stop."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told_to_stop.wait(), TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT came."""
        notify("STOPPING=1")
        self._loop.call_soon_threadsafe(self._state.close)
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._told_to_stop.set)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; return when every request has been answered."""
    configure_logs()
    traces = Traces.to(settings.traces_url)
    database = Database.open(settings.database)
    try:
        app = create_app(database, settings, traces)
        state: AppState = app.state.shared
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=Connection,
            backlog=BACKLOG,
            access_log=False,
            log_config=None,
            lifespan="on",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S_MAX,
        )
        server = Server(config, state)
        # What has been imported stays: looking through all of it for garbage again and again held answers up.
        gc.collect()
        gc.freeze()
        # uvicorn raises the signal again once it has shut down; with ours in place that is the end of it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        server.run()
        log.info("stopped")
    finally:
        database.close()
        traces.close()
