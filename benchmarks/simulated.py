"""Agents as a server sees them: one connection each, a poll that waits, a report for each job. They run nothing.

What they do next, and how long they wait after a failure, the agent's own `session` decides. HTTP is spelled here by
hand, so that ten thousand of them leave the two cores to the server that is measured.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from runner_agent.session import (
    CallFailed,
    Claim,
    Claimed,
    Command,
    Deliver,
    Delivered,
    Event,
    JobEnded,
    NothingToDo,
    RunJob,
    Session,
    Started,
    Wait,
    Waited,
)
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import AgentIdentity, ClaimRequest, HostState
from runner_protocol.results import HostRecord, IsolationLevel

POLL_S = 600


class RefusedError(Exception):
    """An answer that is neither a job nor nothing."""

    def __init__(self, status: int, answer: bytes, retry_after_s: float | None) -> None:
        super().__init__(f"{status}: {answer.decode(errors='replace')}")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Traffic:
    """What all wires of a fleet have asked and been answered since it was last forgotten."""

    asked: list[float] = field(default_factory=list)
    """The moment of each request that found a server."""
    answers: Counter[int] = field(default_factory=Counter)
    """By status; 0 where there was no server, or none any more."""

    def forget(self) -> None:
        """Begin anew."""
        self.asked.clear()
        self.answers.clear()

    def peak(self) -> int:
        """The most requests within one second."""
        moments = sorted(self.asked)
        first = most = 0
        for last, moment in enumerate(moments):
            while moment - moments[first] >= 1:
                first += 1
            most = max(most, last - first + 1)
        return most


@dataclass(slots=True)
class Wire:
    """One connection that asks one thing at a time."""

    host: str
    port: int
    key: str
    traffic: Traffic = field(default_factory=Traffic)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def call(self, method: str, path: str, content: bytes) -> bytes:
        """Ask and read the whole answer. Raises `OSError` or `EOFError` where the connection ends, `RefusedError`."""
        try:
            head, answer = await self._exchange(method, path, content)
        except (OSError, EOFError):
            self.traffic.answers[0] += 1
            raise
        status = int(head[9:12])
        self.traffic.answers[status] += 1
        if status >= 300:
            retry_after = _header(head, b"retry-after")
            raise RefusedError(status, answer, float(retry_after) if retry_after else None)
        return answer

    async def _exchange(self, method: str, path: str, content: bytes) -> tuple[bytes, bytes]:
        if self._reader is not None and self._reader.at_eof():
            self.close()  # The server has hung up since.
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port, limit=1 << 16)
        assert self._reader is not None
        self.traffic.asked.append(time.monotonic())
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = _header(head, b"content-length")
        return head, await self._reader.readexactly(int(length)) if length else b""

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


@dataclass(slots=True)
class SimulatedAgent:
    """Carries out what a session says, except that a job ends as soon as it is there."""

    wire: Wire
    runner: str
    claimed: Callable[[str], None]
    _report: dict[str, Any] = field(default_factory=dict)
    _identity: AgentIdentity = field(init=False)

    def __post_init__(self) -> None:
        self._identity = AgentIdentity(version="0.1.0", instance=uuid4(), machine_id=uuid4().hex)

    async def live(self) -> None:
        """Until cancelled."""
        session = Session(random.random)
        commands = session.step(Started())
        while True:
            commands = session.step(await self._do(commands[0]))

    async def _do(self, command: Command) -> Event:
        try:
            match command:
                case Claim():
                    return await self._claim()
                case RunJob(job):
                    self._report = {"job": str(job.job), "attempt": job.attempt, "outcome": "completed"}
                    return JobEnded(spooled=True)
                case Deliver():
                    await self._deliver(self._report)
                    return Delivered()
                case Wait(seconds):
                    await asyncio.sleep(seconds)
        except RefusedError as error:
            return CallFailed(error.retry_after_s)
        except (OSError, EOFError):
            self.wire.close()
            return CallFailed()
        return Waited()

    async def _claim(self) -> Event:
        asked = time.monotonic()
        answer = await self._ask(POLL_S)
        if not answer:
            return NothingToDo(early=time.monotonic() - asked < POLL_S / 2)
        job = ClaimedJob.model_validate_json(answer)
        self.claimed(str(job.job))
        return Claimed(job)

    async def work(self) -> None:
        """One job after the other, until there is none."""
        while answer := await self._ask(1):
            job = json.loads(answer)
            await self._deliver({"job": job["job"], "attempt": job["attempt"], "outcome": "completed"})
            self.claimed(job["job"])

    async def _ask(self, poll_s: int) -> bytes:
        request = ClaimRequest(poll_timeout=poll_s, agent=self._identity, state=self._state())
        return await self.wire.call("POST", f"/v0/runners/{self.runner}/jobs", request.model_dump_json().encode())

    def _state(self) -> HostState:
        """As much as a host says of itself, so that the server reads and keeps as much as it really has to."""
        host = HostRecord(
            hostname=self.runner,
            machine_id=self._identity.machine_id,
            boot_id=str(self._identity.instance),
            kernel="6.1.0-18-amd64",
            cpu_model="AMD EPYC 7443P 24-Core Processor",
            cpus=48,
            memory_bytes=256 << 30,
            engine="Docker 27.5.1 (containerd 1.7.25, runc 1.2.4)",
            microcode="0xa0011d5",
            virtual=False,
            epoch="2026-11-01T00:00:00Z",
            noise_floor=0.0021,
            minimum_detectable_effect=0.004,
        )
        return HostState(host=host, isolation=IsolationLevel.PARTITION_ISOLATED, sandboxes=["runc", "runsc"])

    async def _deliver(self, report: dict[str, Any]) -> None:
        path = f"/v0/runners/{self.runner}/jobs/{report['job']}/report"
        await self.wire.call("POST", path, json.dumps({"attempt": report["attempt"], "report": report}).encode())
