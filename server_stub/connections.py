"""Connections that let go of a request while it waits: each of ten thousand polls keeps a socket, and little else.

A request that is being served holds uvicorn's protocol with its parser and flow control, its headers, and a frame of
every layer above. One that may wait for long takes a seat instead: to uvicorn its client has gone, and all of that goes
too. When what it waits for has ended, the request is put to the app once more, in short, with the outcome at hand.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

from starlette.requests import Request
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server_stub.departure import Departure

_CONNECTION, _SEAT = "server_stub.connection", "server_stub.seat"
"""Where an app finds them: among the extensions of a request's scope."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, in which a request may take a seat. uvicorn makes them, told so by its setting `http`."""

    departure: Departure | None = None
    """To be told when the client goes."""
    risen: "Seat | None" = None
    """Whose request comes next."""

    def on_message_begin(self) -> None:
        """A request begins: it shall find its connection, and the seat that it waited in."""
        super().on_message_begin()
        scope = cast(Scope, self.scope)
        scope["extensions"] = {_CONNECTION: self}
        if self.risen is not None:
            scope["extensions"][_SEAT] = self.risen
            scope["state"]["began_s"] = self.risen.began_s
            self.risen = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or we have closed."""
        self._let_go(exc)
        if self.departure is not None:
            self.departure.happen()

    def seat(self, scope: Scope, departure: Departure) -> "Seat | None":
        """Let a request sit; None where its client has gone, or has already begun another one."""
        if self.transport.is_closing() or self.scope is not scope or self.cycle.scope is not scope:
            return None
        seat = Seat(self, departure)
        self.transport.set_protocol(seat)
        self._let_go(ConnectionResetError("the request waits elsewhere"))
        return seat

    def _let_go(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.scope is not None:
            cast(Scope, self.scope).pop("extensions", None)  # We hold it, and are held by it.


class Seat(asyncio.Protocol):
    """Holds the connection of a request that waits, and what has to be known to put it to the app again."""

    __slots__ = ("_closes", "_early", "_head", "_server", "_transport", "began_s", "departure", "outcome")

    def __init__(self, connection: Connection, departure: Departure) -> None:
        scope = cast(Scope, connection.scope)
        self._transport = connection.transport
        self._server = (connection.config, connection.server_state, connection.app_state, connection.loop)
        self._head = _head_of(scope)
        self._closes = not connection.cycle.keep_alive
        self._early = b""
        self.began_s: float = scope["state"]["began_s"]
        self.departure = departure
        self.outcome: asyncio.Task[Any]
        """What it waits for; done, once the request is put to the app again."""

    def wait(self, work: Coroutine[Any, Any, Any]) -> None:
        """Sit until this has ended, be it with an error."""
        _, state, _, loop = self._server
        state.connections.add(self)  # type: ignore[arg-type]  # Those that a shutdown speaks to and waits for.
        self.outcome = loop.create_task(work)
        self.outcome.add_done_callback(self._rise)

    def data_received(self, data: bytes) -> None:
        """The client has begun another request: that has to wait, too."""
        self._early += data
        self._transport.pause_reading()

    def connection_lost(self, _: Exception | None) -> None:
        """The client has gone."""
        self._leave()
        self.departure.happen()

    def shutdown(self) -> None:
        """The server stops: as uvicorn's own, close once this is answered."""
        self._closes = True

    def _leave(self) -> None:
        _, state, _, _ = self._server
        state.connections.discard(self)

    def _rise(self, outcome: asyncio.Task[Any]) -> None:
        self._leave()
        if outcome.cancelled():
            self._transport.close()
        elif self._transport.is_closing():
            outcome.exception()  # There is nobody to be told.
        else:
            connection = Connection(*self._server)
            connection.risen = self
            self._transport.set_protocol(connection)
            connection.connection_made(self._transport)
            connection.data_received(self._head + (b"connection: close\r\n\r\n" if self._closes else b"\r\n"))
            if self._early:
                self._transport.resume_reading()
                connection.data_received(self._early)


def seat_of(request: Request) -> Seat | None:
    """Where a request has waited, if it has."""
    seat: Seat | None = request.scope.get("extensions", {}).get(_SEAT)
    return seat


def take_seat(request: Request, departure: Departure) -> Seat | None:
    """A place to wait in, for a request of which nothing is answered yet; None where it must wait as it is."""
    connection = _connection_of(request)
    return None if connection is None else connection.seat(request.scope, departure)


@contextmanager
def watched(request: Request) -> Iterator[Departure]:
    """Tell, for the length of a block, when the client goes. The body has been read."""
    departure, connection = Departure(), _connection_of(request)
    if connection is None:  # Another server than ours. It says so in the next message.
        watch = asyncio.create_task(_watch(request, departure))
        try:
            yield departure
        finally:
            watch.cancel()
    else:
        connection.departure = departure
        if connection.transport.is_closing():
            departure.happen()
        try:
            yield departure
        finally:
            connection.departure = None


def _connection_of(request: Request) -> Connection | None:
    connection: Connection | None = request.scope.get("extensions", {}).get(_CONNECTION)
    return connection


async def _watch(request: Request, departure: Departure) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    departure.happen()


def _head_of(scope: Scope) -> bytes:
    """A request's first line and the headers that its answer depends on, but for their end."""
    line = b"%s %s HTTP/%s\r\n" % (scope["method"].encode(), scope["raw_path"], scope["http_version"].encode())
    kept = [b"%s: %s\r\n" % header for header in scope["headers"] if header[0] == b"authorization"]
    return b"".join([line, *kept, b"content-length: 0\r\n"])
