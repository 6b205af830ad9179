"""Answers Prometheus on loopback with the page of figures: one small answer for each connection, one after the other.

Off unless the owner sets `metrics_listen`. Runs in the agent's own loop, so never on the benchmark's CPUs. Knows no
figure; whoever asks wrongly, or slowly, is hung up on.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio
import structlog
from anyio.abc import ByteStream, SocketListener

REQUEST_BYTES_MAX: Final = 8192
REQUEST_S_MAX: Final = 2.0
"""Of one connection, from its first byte to our last. Whoever waits behind it waits no longer than a scrape may."""

AGAIN_S: Final = 10.0
"""After the kernel has refused us a port or a connection."""

log = structlog.get_logger()


async def answer_prometheus(address: str, page: Callable[[], str]) -> None:
    """Until cancelled. `address`: such as `127.0.0.1:9101`. One that is taken is tried again: nothing else stops."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            async with await anyio.create_tcp_listener(local_host=host.strip("[]"), local_port=int(port)) as doors:
                door = doors.listeners[0]
                assert isinstance(door, SocketListener), "a number is one address"
                while True:
                    await _answer(await door.accept(), page)
        except OSError as error:
            log.warning("metrics_not_served", address=address, why=str(error))
            await anyio.sleep(AGAIN_S)


async def _answer(caller: ByteStream, page: Callable[[], str]) -> None:
    with anyio.move_on_after(REQUEST_S_MAX), suppress(anyio.BrokenResourceError, anyio.EndOfStream):
        async with caller:
            await caller.send(_reply(await _head(caller), page))


async def _head(caller: ByteStream) -> bytes:
    """All that was asked, or as much of it as anybody needs."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < REQUEST_BYTES_MAX:
        head += await caller.receive()
    return head


def _reply(head: bytes, page: Callable[[], str]) -> bytes:
    if not head.startswith(b"GET /metrics "):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = page().encode()
    kind = "text/plain; version=0.0.4; charset=utf-8"
    lines = ("HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", "", "")
    return "\r\n".join(lines).encode() + body
