"""A cable between agent and server that can be pulled: a TCP proxy that holds, delays, cuts and answers in its place.

It knows HTTP just well enough to tell which call passes, so that a trap can be set: just before the request reaches
the server, or when the answer is there and nobody has had it. Runs on a thread of its own.
"""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

PIECE_BYTES = 64 << 10
LOOK_AGAIN_S = 0.02

CALLS: Final = {
    "claim": re.compile(rb"POST \S+/jobs HTTP"),
    "heartbeat": re.compile(rb"POST \S+/heartbeat HTTP"),
    "piece": re.compile(rb"PUT \S+/pieces/\d+ HTTP"),
    "report": re.compile(rb"POST \S+/report HTTP"),
}
"""What agents ask of the server, by the first line of the request."""

ALL_CALLS: Final = {**CALLS, "run": re.compile(rb"POST /v0/run HTTP")}
"""And what submitters ask."""


class Way(Enum):
    """A direction."""

    THERE = "there"
    BACK = "back"


@dataclass(frozen=True)
class Trap:
    """What is done, once, when a call passes."""

    call: str
    way: Way
    """THERE: the server has not heard of it. BACK: it has done what was asked, and the answer is on its way."""
    spring: Callable[[], object] = lambda: None
    """Done first, in a thread: the server is killed, say."""
    let_through: float = 0.0
    """The share of the piece that still passes before the line is reset; 1 lets all go on."""
    answer: bytes = b""
    """Sent to the agent in the server's place before the line is reset."""


@dataclass
class Cable:
    """The proxy, while it serves."""

    target_port: int
    port: int = 0
    delay_s: float = 0.0
    held: set[Way] = field(default_factory=set)
    """Directions in which nothing moves: no error, no end, as behind a firewall that forgot the connection."""
    unplugged: bool = False
    """New connections are reset."""
    traps: list[Trap] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    sprung: int = 0
    _lines: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(init=False)

    def reset_all(self) -> None:
        """Reset every connection there is, both ends."""
        for writer in list(self._lines):
            self._loop.call_soon_threadsafe(_reset, writer)

    def mend(self) -> None:
        """As new: nothing held, delayed or trapped."""
        self.delay_s, self.unplugged = 0.0, False
        self.held.clear()
        self.traps.clear()

    async def serve(self, started: threading.Event, ended: asyncio.Event) -> None:
        """Until `ended`."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await ended.wait()
        server.close()
        for writer in list(self._lines):
            _reset(writer)

    async def _connected(self, agent_in: asyncio.StreamReader, agent_out: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self.unplugged:
                _reset(agent_out)
                return
            try:
                server_in, server_out = await asyncio.open_connection("127.0.0.1", self.target_port)
            except OSError:  # The server is away: so are we.
                _reset(agent_out)
                return
            line = _Line(self, agent_out, server_out)
            self._lines |= {agent_out, server_out}
            await asyncio.gather(line.pump(agent_in, Way.THERE), line.pump(server_in, Way.BACK))
            self._lines -= {agent_out, server_out}

    def trap_for(self, call: str, way: Way) -> Trap | None:
        """The trap that this springs, used up."""
        for trap in self.traps:
            if (trap.call, trap.way) == (call, way):
                self.traps.remove(trap)
                self.sprung += 1
                return trap
        return None


class _Line:
    """One connection through the cable."""

    def __init__(self, cable: Cable, agent: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._cable, self._agent, self._server = cable, agent, server
        self._call = ""
        self._answered = True

    async def pump(self, source: asyncio.StreamReader, way: Way) -> None:
        """Carry what arrives, until one end goes; then both go."""
        sink = self._server if way is Way.THERE else self._agent
        try:
            while piece := await source.read(PIECE_BYTES):
                trap = self._watch(piece, way)
                while way in self._cable.held:  # noqa: ASYNC110  Who lets go sits in another thread.
                    await asyncio.sleep(LOOK_AGAIN_S)
                await asyncio.sleep(self._cable.delay_s)
                if trap is not None:
                    await asyncio.to_thread(trap.spring)
                    if trap.let_through < 1:
                        await self._break(sink, piece[: int(len(piece) * trap.let_through)], trap.answer)
                        return
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    def _watch(self, piece: bytes, way: Way) -> Trap | None:
        """See which call this begins, or that it is the beginning of its answer."""
        if way is Way.THERE:
            for call, first_line in ALL_CALLS.items():
                if first_line.match(piece):
                    self._call, self._answered = call, False
                    self._cable.passed[call] += 1
                    return self._cable.trap_for(call, way)
            return None
        if self._answered:
            return None
        self._answered = True
        return self._cable.trap_for(self._call, way)

    async def _break(self, sink: asyncio.StreamWriter, rest: bytes, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            sink.write(rest)
            await sink.drain()
            if answer:
                self._agent.write(answer)
                await self._agent.drain()
                self._agent.close()
                self._server.close()
                return
        _reset(self._agent)
        _reset(self._server)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def cabled(target_port: int) -> Iterator[Cable]:
    """A cable to this port for the length of the block."""
    cable = Cable(target_port)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    def live() -> None:
        loop.run_until_complete(cable.serve(started, ended))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = threading.Thread(target=live, name="cable")
    thread.start()
    started.wait()
    try:
        yield cable
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def bad_gateway(status: int, retry_after_s: int = 0) -> bytes:
    """What a proxy on the way says in its own words."""
    body = b"<html>not now</html>"
    head = f"HTTP/1.1 {status} Not Now\r\nContent-Type: text/html\r\nRetry-After: {retry_after_s}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
