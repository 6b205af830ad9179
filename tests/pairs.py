"""A whole pair: the real server on a real database and the real agent, in one process, with no port in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
from agents import make_daemon
from pydantic import SecretStr
from queue_world import Runner, new_runner, new_spec

from runner_agent.client import Client, connected
from runner_agent.engine import Engine
from runner_agent.plan import Policy
from runner_agent.session import DrainAsked, Ending
from runner_protocol.messages import AgentIdentity
from server_stub.app import create_app
from server_stub.settings import Settings
from server_stub.store.database import Database
from server_stub.store.tx import Tx
from server_stub.tracing import Traces

CONTEXT = {"bencher.dev/v0/repo/name": "pair"}
"""Names the project, which the first run makes."""

TERMINAL = frozenset({"processed", "failed", "canceled"})


@dataclass
class Pair:
    """The server, seen by a submitter and by agents."""

    transport: httpx.ASGITransport
    api: httpx.AsyncClient
    database: Database
    runner: Runner

    @asynccontextmanager
    async def client(self, instance: int = 1) -> AsyncIterator[Client]:
        """An agent's connection."""
        key = SecretStr(self.runner.key)
        identity = AgentIdentity(version="1", instance=UUID(int=instance), machine_id="m")
        async with connected(
            "http://server", runner=self.runner.slug, identity=identity, key=lambda: key, transport=self.transport
        ) as client:
            yield client

    @asynccontextmanager
    async def agent(
        self, engine: Engine, state_dir: Path, *, instance: int = 1, policy: Policy | None = None
    ) -> AsyncIterator[list[Ending]]:
        """An agent that lives beside the block and is drained at its end."""
        endings: list[Ending] = []
        async with self.client(instance) as client, anyio.create_task_group() as tasks:
            daemon = make_daemon(client, engine, state_dir, jobs_max=None, policy=policy)

            async def live() -> None:
                endings.append(await daemon.run())

            tasks.start_soon(live)
            yield endings
            daemon.tell(DrainAsked())

    async def submit(self, image: str = "registry.test/bench:1", **job: Any) -> dict[str, Any]:
        """Send one run; return the report as it was answered."""
        run = {
            "branch": "main",
            "testbed": "rack",
            "start_time": "2026-01-02T03:04:05Z",
            "end_time": "2026-01-02T03:04:05Z",
            "results": [],
            "job": {"image": image, **job},
        }
        answer = await self.api.post("/v0/run", json={"project": "pair", "context": CONTEXT, **run})
        assert answer.status_code == 201, answer.text
        report: dict[str, Any] = answer.json()
        return report

    async def ended(self, report: dict[str, Any]) -> dict[str, Any]:
        """The job of a report, once it is in a state that it never leaves."""
        with anyio.fail_after(60):
            while (job := await self.job(report))["status"] not in TERMINAL:  # noqa: ASYNC110  The API has no events.
                await anyio.sleep(0.02)
        return job

    async def job(self, report: dict[str, Any]) -> dict[str, Any]:
        """The job of a report, as the API shows it."""
        answer = await self.api.get(f"/v0/projects/pair/jobs/{report['job']}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def report(self, report: dict[str, Any]) -> dict[str, Any]:
        """The report as it is now."""
        answer = await self.api.get(f"/v0/projects/pair/reports/{report['uuid']}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def paired(database: Database, *, traces: Traces | None = None, **settings: Any) -> AsyncIterator[Pair]:
    """The pair on a database, with one runner."""

    def prepare(tx: Tx) -> Runner:
        return new_runner(tx, "bench 1", new_spec(tx, fallback=True))

    app = create_app(database, Settings(**settings), traces)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as api:
            yield Pair(transport, api, database, await database.write(prepare))
