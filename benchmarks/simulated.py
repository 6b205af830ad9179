"""Agents as a server sees them: one connection each, a poll that waits, a report for each job. They run nothing.

HTTP is spelled here by hand, so that ten thousand of them leave the two cores to the server that is measured.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner_agent.session import EARLY_POLL_S_MAX, back_off_s

POLL_S = 600
CONNECTING = 200
"""Connections that are opened at once; the rest waits its turn."""

_opening = asyncio.Semaphore(CONNECTING)


@dataclass(slots=True)
class Wire:
    """One connection that asks one thing at a time."""

    host: str
    port: int
    key: str
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Ask and read the whole answer. Raises `OSError` or `EOFError` where the connection ends."""
        if self._writer is None:
            async with _opening:
                self._reader, self._writer = await asyncio.open_connection(self.host, self.port, limit=1 << 16)
        assert self._reader is not None
        content = b"" if body is None else json.dumps(body).encode()
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        answer = await self._reader.readexactly(int(length)) if length else b""
        return int(head[9:12]), answer

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass(slots=True)
class SimulatedAgent:
    """Polls, says that the job is done, and polls again; after a failure it waits as the agent does."""

    wire: Wire
    runner: str
    claimed: Callable[[dict[str, Any]], None]

    async def live(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            try:
                asked = time.monotonic()
                job = await self.claim(POLL_S)
                failures = 0
                if job is not None:
                    self.claimed(job)
                    await self.report(job)
                elif time.monotonic() - asked < POLL_S / 2:
                    await asyncio.sleep(EARLY_POLL_S_MAX * random.random())
            except (OSError, EOFError):
                self.wire.close()
                failures += 1
                await asyncio.sleep(back_off_s(failures, random.random()))

    async def work(self) -> None:
        """One job after the other, until there is none."""
        while (job := await self.claim(1)) is not None:
            self.claimed(job)
            await self.report(job)

    async def claim(self, poll_s: int) -> dict[str, Any] | None:
        """Ask for work."""
        status, answer = await self.wire.call("POST", f"/v0/runners/{self.runner}/jobs", {"poll_timeout": poll_s})
        if status == 204:
            return None
        if status != 200:
            raise OSError(answer)
        job: dict[str, Any] = json.loads(answer)
        return job

    async def report(self, job: dict[str, Any]) -> None:
        """End the job."""
        report = {"job": job["job"], "attempt": job["attempt"], "outcome": "completed"}
        path = f"/v0/runners/{self.runner}/jobs/{job['job']}/report"
        status, answer = await self.wire.call("POST", path, {"attempt": job["attempt"], "report": report})
        if status != 200:
            raise OSError(answer)
