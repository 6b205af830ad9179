"""The only door to the API server: claim, beat, deliver. Each call is made once; who asks again decides that himself.

Raises the families of `errors.py` by the table of `answers.py`. Bounds: every answer is read up to `ANSWER_BYTES_MAX`,
every call has a deadline, and a report leaves in pieces no larger than the claim allowed.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import anyio
import httpx
from pydantic import SecretStr, ValidationError

from runner_agent.answers import by_the_server, date_of, error_of
from runner_agent.errors import IdentityFault, LeaseLostError, ServerFault, SettingFault
from runner_agent.spool import SpooledReport
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import AgentIdentity, ClaimRequest, Heartbeat, HeartbeatReply, Progress, ReportReceipt
from runner_protocol.results import Stage
from runner_protocol.wire import Message

ANSWER_BYTES_MAX = 4 << 20
CALL_S_MAX = 30.0
# A claim may come this much later than its poll ends: the way there, a proxy, a server under load.
POLL_GRACE_S = 15.0
# One piece of 1 MiB in this time is 35 kB/s: slower than that a report of 256 MiB would take hours.
PIECE_S_MAX = 30.0

JSON = {"content-type": "application/json"}
BYTES = {"content-type": "application/octet-stream"}

M = TypeVar("M", bound=Message)


def poll_s_max(poll_timeout_s: float) -> float:
    """The longest that a claim can take: it is made again where the key was rotated."""
    return 2 * (poll_timeout_s + POLL_GRACE_S)


def delivery_s_max(report: SpooledReport) -> float:
    """The longest that a delivery can take, each of its calls made again where the key was rotated."""
    pieces = -(-report.size_bytes // report.piece_bytes_max)
    return 2 * (pieces * PIECE_S_MAX + 2 * CALL_S_MAX)


class Client:
    """One runner's connection to its server."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        runner: str,
        identity: AgentIdentity,
        key: Callable[[], SecretStr],
        answered: Callable[[float], None] | None = None,
    ) -> None:
        """`key` is asked once now and again after a 401: a rotated key is found without a restart.

        `answered` hears of every answer that the server itself gave, a refusal too: the time, in seconds since 1970.
        """
        self._http = http
        self._jobs = f"/v0/runners/{runner}/jobs"
        self._identity = identity
        self._read_key = key
        self._key = key()
        self._answered = answered
        self.clock_offset_s: float | None = None
        """How far this host's clock is ahead of the server's, as the last answer told; none before it or without."""

    async def claim(self, request: ClaimRequest) -> ClaimedJob | None:
        """Ask for work. None: the poll ended without any."""
        body = request.model_copy(update={"agent": self._identity}).as_json()
        answer = await self._call(
            "POST", self._jobs, body, within_s=request.poll_timeout + POLL_GRACE_S, headers=JSON, claim=True
        )
        return None if answer is None else _read(ClaimedJob, answer)

    async def beat(self, job: ClaimedJob, heartbeat: Heartbeat) -> HeartbeatReply:
        """Renew the lease. Raises `LeaseLostError` where the attempt is stale."""
        body = heartbeat.model_copy(update={"instance": self._identity.instance}).as_json()
        answer = await self._call("POST", f"{self._jobs}/{job.job}/heartbeat", body, headers=JSON)
        return _read(HeartbeatReply, answer or b"")

    async def greet(self) -> None:
        """Find out whether the server knows our key; changes nothing, for it asks about a job that nobody has."""
        body = Heartbeat(attempt=1, progress=Progress(stage=Stage.CLAIM)).as_json()
        with suppress(LeaseLostError):
            await self._call("POST", f"{self._jobs}/{UUID(int=0)}/heartbeat", body, headers=JSON)

    async def deliver(self, report: SpooledReport) -> ReportReceipt:
        """Send one finished report, in pieces where it is large. The same report may be sent again."""
        if report.size_bytes <= report.piece_bytes_max:
            body = b'{"attempt":%d,"report":%b}' % (report.attempt, await anyio.to_thread.run_sync(report.read))
        else:
            body = await self._send_pieces(report)
        url = f"{self._jobs}/{report.job}/report"
        answer = await self._call("POST", url, body, headers=JSON, within_s=2 * CALL_S_MAX)
        return _read(ReportReceipt, answer or b"")

    async def _send_pieces(self, report: SpooledReport) -> bytes:
        """Send every piece; return the envelope that names them."""
        url = f"{self._jobs}/{report.job}/attempts/{report.attempt}/pieces"
        count = -(-report.size_bytes // report.piece_bytes_max)
        for index in range(count):
            piece = await anyio.to_thread.run_sync(report.read_piece, index)
            await self._call("PUT", f"{url}/{index}", piece, headers=BYTES, within_s=PIECE_S_MAX)
        return b'{"attempt":%d,"pieces":%d,"sha256":"%b"}' % (report.attempt, count, report.sha256.encode())

    async def _call(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        headers: dict[str, str],
        within_s: float = CALL_S_MAX,
        claim: bool = False,
    ) -> bytes | None:
        """One call; one more where the key has been rotated meanwhile. None for an empty answer."""
        try:
            return await self._once(method, url, body, headers, within_s=within_s, claim=claim)
        except IdentityFault:
            if not self._key_rotated():
                raise
            return await self._once(method, url, body, headers, within_s=within_s, claim=claim)

    async def _once(
        self, method: str, url: str, body: bytes, headers: dict[str, str], *, within_s: float, claim: bool
    ) -> bytes | None:
        sent = headers | {"authorization": f"Bearer {self._key.get_secret_value()}"}
        try:
            with anyio.fail_after(within_s):
                async with self._http.stream(method, url, content=body, headers=sent) as response:
                    answer = await _read_bounded(response)
        except TimeoutError:
            raise ServerFault(f"no answer within {within_s:g} s") from None
        except httpx.HTTPError as error:
            raise ServerFault(f"{type(error).__name__}: {error}") from error
        now = datetime.now(UTC)
        self._compare_clocks(response, now)
        if self._answered and by_the_server(response.status_code, answer):
            self._answered(now.timestamp())
        if response.is_success:
            return answer or None
        raise error_of(response.status_code, response.headers, answer, claim=claim, now=now)

    def _key_rotated(self) -> bool:
        """Read the key again. One that cannot be read just now is the old one."""
        before = self._key
        with suppress(SettingFault):
            self._key = self._read_key()
        return self._key != before

    def _compare_clocks(self, response: httpx.Response, now: datetime) -> None:
        there = date_of(response.headers.get("date", ""))
        if there is not None:
            self.clock_offset_s = (now - there).total_seconds()


async def _read_bounded(response: httpx.Response) -> bytes:
    parts = bytearray()
    async for part in response.aiter_bytes():
        parts += part
        if len(parts) > ANSWER_BYTES_MAX:
            raise ServerFault(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(parts)


def _read(model: type[M], answer: bytes) -> M:
    """A 2xx that cannot be read is not the server's: somebody in between answered."""
    try:
        return model.model_validate_json(answer)
    except ValidationError as error:
        raise ServerFault(f"an answer that is no {model.__name__}: {error.errors()[0]['msg']}") from error


@asynccontextmanager
async def connected(
    server: str,
    *,
    runner: str,
    identity: AgentIdentity,
    key: Callable[[], SecretStr],
    answered: Callable[[float], None] | None = None,
    ca_file: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """Open the door. `ca_file`: trust its authorities, not the system's; `transport`: another way behind the door."""
    verify = _trust(ca_file) if server.startswith("https:") else False
    # Connections are few and long: a claim, a heartbeat, a report. Deadlines are set around each whole call.
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=120)
    async with httpx.AsyncClient(
        base_url=server, verify=verify, transport=transport, timeout=httpx.Timeout(None, connect=10.0), limits=limits
    ) as http:
        yield Client(http, runner=runner, identity=identity, key=key, answered=answered)


def _trust(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
