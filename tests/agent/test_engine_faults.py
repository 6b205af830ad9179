"""The engine fails under a running job, in every way that one can: the job is handed back and the agent goes on.

A real engine of our own, the real agent with its own thread for the lease, and a server that obeys the wire contract.
"""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import images
import pytest
from agents import client_of, make_daemon, until
from fakes import FakeServer, make_job
from private_engine import PrivateEngine, private_engine

from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.session import DrainAsked, Ending
from runner_protocol.jobs import ClaimedJob, Work
from runner_protocol.results import INFRASTRUCTURE, Outcome

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.docker,
    # The engine's own Python library forgets to close a socket that could not connect (docker/transport/unixconn.py).
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

IMAGE = "bench:1"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    with private_engine(tmp_path_factory.mktemp("engine")) as engine:
        engine.load(IMAGE, images.system())
        yield engine


def job_of(script: str) -> ClaimedJob:
    return make_job(Work(image=IMAGE, entrypoint=["/bin/sh", "-c"], cmd=[script]), heartbeat_s=0.2)


@asynccontextmanager
async def agent_on(engine: PrivateEngine, server: FakeServer, state_dir: Path) -> AsyncIterator[list[Ending]]:
    """An agent beside the block, drained at its end."""
    terms = EngineSettings(
        identity="faults", docker_host=engine.url, local_images=True, call_s_max=5.0, stall_s_max=5.0
    )
    endings: list[Ending] = []
    with anyio.fail_after(120):
        async with client_of(server) as client, anyio.create_task_group() as tasks:
            daemon = make_daemon(client, DockerEngine(terms), state_dir, jobs_max=None)

            async def live() -> None:
                endings.append(await daemon.run())

            tasks.start_soon(live)
            yield endings
            daemon.tell(DrainAsked())


async def running(engine: PrivateEngine) -> str:
    """The one container that runs."""
    found: list[str] = []

    def look() -> bool:
        found[:] = engine.docker("ps", "--quiet").split()
        return bool(found)

    await until(look)
    return found[0]


def killed_and_started(engine: PrivateEngine, container: str) -> None:
    engine.kill()
    engine.start()


def stopped_and_started(engine: PrivateEngine, container: str) -> None:
    engine.signal(signal.SIGTERM)
    engine.process.wait(timeout=60)
    engine.start()


@pytest.mark.parametrize("fault", [killed_and_started, stopped_and_started])
async def test_a_job_whose_engine_goes_away_is_handed_back_and_the_next_one_runs(
    fault: Callable[[PrivateEngine, str], None], engine: PrivateEngine, tmp_path: Path
) -> None:
    server = FakeServer()
    server.submit(job_of("sleep 600"))
    async with agent_on(engine, server, tmp_path):
        await anyio.to_thread.run_sync(fault, engine, await running(engine))
        await until(lambda: len(server.reports) == 1)
        server.submit(job_of("echo well"))
        await until(lambda: len(server.reports) == 2)
    lost, well = server.reports
    assert lost.outcome is Outcome.RELEASED
    assert lost.fault is not None and lost.fault.kind in INFRASTRUCTURE
    assert (well.outcome, well.iterations[0].stdout.text) == (Outcome.COMPLETED, "well\n")
    assert engine.containers() == []


async def test_a_container_that_is_removed_from_outside_ends_its_job_and_not_the_agent(
    engine: PrivateEngine, tmp_path: Path
) -> None:
    server = FakeServer()
    server.submit(job_of("sleep 600"))
    async with agent_on(engine, server, tmp_path):
        await anyio.to_thread.run_sync(engine.docker, "rm", "--force", await running(engine))
        await until(lambda: len(server.reports) == 1)
        server.submit(job_of("echo well"))
        await until(lambda: len(server.reports) == 2)
    lost, well = server.reports
    # The kill comes before the removal: who looks in between sees a signal, who looks later sees nothing any more.
    assert lost.fault is not None
    assert lost.fault.signal == "SIGKILL" or lost.outcome is Outcome.RELEASED
    assert well.outcome is Outcome.COMPLETED


async def test_an_engine_that_hangs_costs_a_bounded_time_and_is_used_again_when_it_answers(
    engine: PrivateEngine, tmp_path: Path
) -> None:
    server = FakeServer()
    server.submit(replace_timeout(job_of("sleep 600"), iteration_s_max=2))
    async with agent_on(engine, server, tmp_path):
        await running(engine)
        engine.signal(signal.SIGSTOP)
        await until(lambda: len(server.reports) == 1)
        await until(lambda: any(claim.state.blocked for claim in server.claims))
        engine.signal(signal.SIGCONT)
        server.submit(job_of("echo well"))
        await until(lambda: len(server.reports) == 2)
    lost, well = server.reports
    assert lost.fault is not None and lost.outcome in (Outcome.RELEASED, Outcome.FAILED)
    assert (well.outcome, well.iterations[0].stdout.text) == (Outcome.COMPLETED, "well\n")
    assert engine.containers() == []


async def test_an_agent_whose_engine_is_not_there_yet_waits_for_it(engine: PrivateEngine, tmp_path: Path) -> None:
    server = FakeServer()
    engine.kill()
    server.submit(job_of("echo well"))
    async with agent_on(engine, server, tmp_path):
        await until(lambda: any(claim.state.blocked for claim in server.claims))
        await anyio.to_thread.run_sync(engine.start)
        await until(lambda: len(server.reports) == 1)
    assert server.claims[0].state.blocked[0].startswith("engine: ")
    assert [report.outcome for report in server.reports] == [Outcome.COMPLETED]


def replace_timeout(job: ClaimedJob, *, iteration_s_max: float) -> ClaimedJob:
    budgets = job.budgets.model_copy(update={"iteration_s_max": iteration_s_max})
    return job.model_copy(update={"budgets": budgets})
