"""The engine's HTTP API, one small method for each call, and the bridge of worker threads that awaits them.

Every call is bounded in time. Knows no jobs and takes no decision; whether a refusal is whose fault is `faults.py`'s.
Source of the calls: Docker Engine API v1.41 (`docs.docker.com/engine/api/v1.41`).
"""

import base64
import binascii
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import docker
import requests
import urllib3
from anyio.abc import TaskGroup
from docker.errors import DockerException

from runner_agent.containers.faults import EngineRefusedError, EngineSilentError

T = TypeVar("T")

# One run holds two (output and exit) and makes one call at a time; the rest is for threads that were abandoned.
THREADS_MAX = 24
# The thread has its own time limit at the socket. This much later the story stops believing in it.
ABANDON_AFTER_S = 5.0
# A stopped engine refuses a connection at once; a remote one that takes longer is not fit for measuring.
CONNECT_S_MAX = 10.0
# An answer that is read whole. The largest is a list of containers; no list of ours comes near.
ANSWER_BYTES_MAX = 64 << 20


@asynccontextmanager
async def tasks() -> AsyncIterator[TaskGroup]:
    """A task group that raises one error as itself, so that the families of errors keep their meaning."""
    try:
        async with anyio.create_task_group() as group:
            yield group
    except ExceptionGroup as error:
        raise error.exceptions[0] from None


class Stream:
    """An answer that is still arriving. Read in a worker thread; hung up from anywhere."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def read(self, size: int = -1, /) -> bytes:
        """Exactly `size` bytes, fewer only at the end. Raises `EngineSilentError` where the line breaks."""
        try:
            return bytes(self._response.raw.read(size))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise EngineSilentError(f"the engine broke off: {error}") from error

    def pieces(self, size: int = 64 << 10) -> Iterator[bytes]:
        """Whatever has arrived, as it arrives, until the end."""
        try:
            while piece := self._response.raw.read1(size):
                yield piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise EngineSilentError(f"the engine broke off: {error}") from error

    def lines(self) -> Iterator[dict[str, Any]]:
        """JSON objects, one a line, as they arrive."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from (json.loads(line) for line in whole if line.strip())
        if rest.strip():
            yield json.loads(rest)

    def hang_up(self) -> None:
        """End it from this side. A reader in another thread comes back at once."""
        # The shutdown wakes a blocked reader, which closing alone does not.
        with suppress(Exception):
            self._response.raw.shutdown()
        with suppress(Exception):
            self._response.close()


class Door:
    """The engine's API for one runner. Connects on first use, so that building it asks nothing of the engine."""

    def __init__(self, host: str | None, *, call_s_max: float) -> None:
        self._host = host
        self._call_s_max = call_s_max
        self._client: docker.APIClient | None = None
        self._threads = anyio.CapacityLimiter(THREADS_MAX)

    async def call(self, fn: Callable[[], T], *, within_s: float | None = None) -> T:
        """Await a blocking call in a worker thread. Raises `EngineSilentError` where it takes too long.

        An abandoned thread goes on. What it must not leave behind is asked for with `make`.
        """
        within_s = (within_s or self._call_s_max) + ABANDON_AFTER_S
        try:
            with anyio.fail_after(None if math.isinf(within_s) else within_s):
                return await anyio.to_thread.run_sync(fn, abandon_on_cancel=True, limiter=self._threads)
        except TimeoutError as error:
            raise EngineSilentError(f"the engine gave no answer within {within_s:.0f} s") from error

    async def make(self, fn: Callable[[], T]) -> T:
        """Await a call that makes something, to its answer even when cancelled: what is made late nobody removes."""
        with anyio.fail_after(None, shield=True):
            return await self.call(fn)

    def ask(self, method: str, path: str, *, within_s: float | None = None, **what: Any) -> Any:
        """One call, its answer read whole: decoded JSON, or none where the engine has nothing to say."""
        response = self._send(method, path, within_s=within_s, **what)
        with closing(response):
            return _json(_body(response))

    def open(self, method: str, path: str, *, within_s: float | None = None, **what: Any) -> Stream:
        """One call whose answer is a stream. `within_s` is the longest silence in it."""
        return Stream(self._send(method, path, within_s=within_s, **what))

    def stat(self, container: str, path: str) -> dict[str, Any]:
        """What `path` in a container is, without its content: name, size, mode (as Go has it), link target."""
        response = self._send("HEAD", f"/containers/{container}/archive", params={"path": path})
        with closing(response):
            header = response.headers.get("X-Docker-Container-Path-Stat", "")
        try:
            found: dict[str, Any] = json.loads(base64.b64decode(header))
        except (binascii.Error, ValueError) as error:
            raise EngineSilentError("the engine described a file in a way that cannot be read") from error
        return found

    def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            self._client.close()

    def _send(self, method: str, path: str, *, within_s: float | None = None, **what: Any) -> requests.Response:
        try:
            client = self._connected()
            response = client.request(
                method,
                f"{client.base_url}/v{client.api_version}{path}",
                stream=True,
                timeout=(CONNECT_S_MAX, within_s or self._call_s_max),
                **what,
            )
        except (requests.RequestException, DockerException, urllib3.exceptions.HTTPError, OSError) as error:
            raise EngineSilentError(f"the engine does not answer: {error}") from error
        if response.status_code >= 400:
            with closing(response):
                raise EngineRefusedError(response.status_code, _message(response))
        return response

    def _connected(self) -> docker.APIClient:
        if self._client is None:
            client = docker.APIClient(base_url=self._host, version="auto", timeout=int(self._call_s_max))
            # Archives come as they are: packing them would burn a CPU on both sides of a local socket.
            client.headers["Accept-Encoding"] = "identity"
            self._client = client
        return self._client


def _body(response: requests.Response) -> bytes:
    try:
        return bytes(response.raw.read(ANSWER_BYTES_MAX, decode_content=True))
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise EngineSilentError(f"the engine broke off: {error}") from error


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else None
    except ValueError as error:
        raise EngineSilentError("the engine's answer is not JSON") from error


def _message(response: requests.Response) -> str:
    """The engine's own words. A HEAD has none; its status must do."""
    body = _body(response)
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500] or f"HTTP status {response.status_code}"
