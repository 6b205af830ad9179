"""Builds a whole agent around a fake engine and a fake server: everything in between is the real thing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import anyio
from fakes import FakeEngine, FakeServer
from pydantic import SecretStr

from runner_agent.bench import Bench, OpenBench
from runner_agent.client import Client, connected
from runner_agent.current_job import CurrentJob
from runner_agent.daemon import Daemon, Habits, Hands
from runner_agent.engine import Engine
from runner_agent.lease_thread import Beside
from runner_agent.notify import Notifier
from runner_agent.plan import Policy
from runner_agent.preflight import Floors
from runner_agent.session import Ending
from runner_agent.spool import Spool
from runner_agent.tracing import Traces
from runner_protocol.jobs import Spec
from runner_protocol.messages import AgentIdentity
from runner_protocol.results import HostRecord

INSTANCE = UUID(int=7)
ROOMY = Floors(image_free_bytes_min=0, image_free_inodes_min=0, state_free_bytes_min=0)


class OpenHost:
    """A machine that is left as it is."""

    def __init__(self, record: HostRecord, note: str) -> None:
        self._record = record
        self._note = note

    def record(self) -> HostRecord:
        """As it was given."""
        return self._record

    @asynccontextmanager
    async def hold(self, spec: Spec) -> AsyncIterator[Bench]:
        """Hold nothing."""
        yield OpenBench(self._note)


@asynccontextmanager
async def client_of(server: FakeServer, key: str | None = None) -> AsyncIterator[Client]:
    """The agent's real client, talking to the fake."""
    identity = AgentIdentity(version="1", instance=INSTANCE, machine_id="m")
    secret = SecretStr(key or server.key)
    async with connected(
        "http://server.test", runner="bench-1", identity=identity, key=lambda: secret, transport=server.transport
    ) as client:
        yield client


def make_daemon(
    client: Client,
    engine: Engine,
    state_dir: Path,
    *,
    jobs_max: int | None = 1,
    drain_s_max: float = 60,
    floors: Floors = ROOMY,
    policy: Policy | None = None,
    traces: Traces | None = None,
) -> Daemon:
    """An agent that leaves off after `jobs_max` jobs."""
    hands = Hands(
        client=client,
        leases=Beside(client),
        engine=engine,
        host=lambda facts: OpenHost(HostRecord(hostname="host", engine=facts.name), "nobody watches in this test"),
        spool=Spool(state_dir / "spool"),
        current_job=CurrentJob(state_dir),
        state_dir=state_dir,
        notifier=Notifier.from_environment(),
        traces=traces or Traces(),
    )
    habits = Habits(
        poll_timeout_s=1,
        pause_s_max=60,
        drain_s_max=drain_s_max,
        floors=floors,
        policy=policy or Policy(),
        jobs_max=jobs_max,
    )
    return Daemon(hands, habits)


async def run_agent(
    server: FakeServer, engine: FakeEngine, state_dir: Path, *, jobs_max: int | None = 1, policy: Policy | None = None
) -> Ending:
    """One life, from start to end."""
    async with client_of(server) as client:
        with anyio.fail_after(20):
            return await make_daemon(client, engine, state_dir, jobs_max=jobs_max, policy=policy).run()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something has happened that announces itself to nobody."""
    while not true():  # noqa: ASYNC110  What is waited for knows nothing of events.
        await anyio.sleep(0.01)
