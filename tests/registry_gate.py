"""A proxy before a registry that does what registries do on bad days: stalls, 429, 503, a line cut, a wrong digest.

It also keeps a door of its own: with `tokens` it asks for a bearer token and serves the endpoint that hands them out,
to whoever has the password. Everything that was asked is in `asked`.
"""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from registry import PASSWORD, USER, Registry, forget

TOKEN = "a-token-of-the-gate"


@dataclass(frozen=True)
class Asked:
    """One request that came through."""

    path: str
    range: str | None
    authorization: str | None


@dataclass(frozen=True)
class Fault:
    """What is done to the next requests that match."""

    matches: Callable[[str], bool]
    times: int = 1
    status: int | None = None
    stall_s: float = 0
    cut_after_bytes: int | None = None
    body: bytes | None = None
    """In place of the registry's."""


@dataclass
class Gate:
    """The proxy, while it serves."""

    registry: Registry
    tokens: bool = False
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def next_fault(self, path: str) -> Fault | None:
        """The fault for this request, used up."""
        for at, fault in enumerate(self.faults):
            if fault.times and fault.matches(path):
                self.faults[at] = Fault(**{**fault.__dict__, "times": fault.times - 1})
                return fault
        return None

    def paths(self, part: str) -> list[Asked]:
        """What was asked of paths that hold this part."""
        return [one for one in self.asked if part in one.path]


@contextlib.contextmanager
def gated(registry: Registry, *, tokens: bool = False) -> Iterator[Gate]:
    """A gate before this registry until the end of the block."""
    gate = Gate(registry, tokens)

    class Handler(_Handler):
        """Knows its gate."""

        served = gate

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    gate.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield gate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        forget(gate.host)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Gate

    def do_GET(self) -> None:
        self._pass(body=True)

    def do_HEAD(self) -> None:
        self._pass(body=False)

    def log_message(self, *_: object) -> None:
        """What was asked is in the gate."""

    def _pass(self, *, body: bool) -> None:
        gate = self.served
        gate.asked.append(Asked(self.path, self.headers["Range"], self.headers["Authorization"]))
        if self.path.startswith("/token"):
            self._hand_out_token()
        elif gate.tokens and self.headers["Authorization"] != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="http://{gate.host}/token",service="gate"'
            self._answer(401, {"WWW-Authenticate": challenge}, b"{}")
        else:
            self._forward(gate.next_fault(self.path), body=body)

    def _hand_out_token(self) -> None:
        right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] == f"Basic {right}":
            self._answer(200, {}, json.dumps({"token": TOKEN}).encode())
        else:
            self._answer(401, {}, b"{}")

    def _forward(self, fault: Fault | None, *, body: bool) -> None:
        if fault and fault.stall_s:
            time.sleep(fault.stall_s)
        if fault and fault.status:
            self._answer(fault.status, {"Retry-After": "1"}, b'{"errors": [{"code": "BAD", "message": "a bad day"}]}')
            return
        own = {"Range": self.headers["Range"]} if self.headers["Range"] else {}
        wanted = {"Accept": ", ".join(self.headers.get_all("Accept") or ["*/*"]), **own}
        with httpx.Client(trust_env=False) as client:
            got = client.request(self.command, f"http://{self.served.registry.host}{self.path}", headers=wanted)
        content = fault.body if fault and fault.body is not None else got.content
        headers = {key: value for key, value in got.headers.items() if key.lower() in _PASSED}
        cut = fault.cut_after_bytes if fault else None
        length = len(content) if body else int(got.headers.get("Content-Length", 0))
        self._answer(got.status_code, headers, content if body else b"", length=length, cut_after_bytes=cut)

    def _answer(
        self,
        status: int,
        headers: dict[str, Any],
        content: bytes,
        *,
        length: int | None = None,
        cut_after_bytes: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content[:cut_after_bytes])
        if cut_after_bytes is not None:
            self.close_connection = True


_PASSED = frozenset({"content-type", "docker-content-digest", "content-range", "accept-ranges", "etag"})
