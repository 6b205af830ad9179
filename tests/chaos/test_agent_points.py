"""The agent is killed at every step that anybody outside can see, and the server under it: every job ends once.

Real server, real agent, real engine, real registry. What must hold afterwards: the job is processed, its results are
stored once and are what the container printed, and nothing is left on the engine or on the agent's disk.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Agent, Server, joined, serving, wait_until

from runner_agent.points import POINTS

pytestmark = [pytest.mark.docker, pytest.mark.chaos]

PRINTS = """echo '{"sort": {"latency": {"value": 42.0}}}'"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[Agent]:
    with joined(server, tmp_path) as agent:
        yield agent


def assert_all_is_well(server: Server, agent: Agent, submitted: dict[str, Any]) -> None:
    """Every invariant, once the job has ended."""
    job = server.ended(submitted)
    assert job["status"] == "processed", (job, agent.log())
    wait_until(lambda: agent.left_on_disk() == [], "a report stays on the agent's disk")
    assert (agent.drain(), server.values(submitted), agent.containers()) == (0, [42.0], [])


@pytest.mark.parametrize("point", POINTS)
def test_an_agent_that_is_killed_at_a_step_loses_no_job(
    point: str, server: Server, agent: Agent, bench_image: str
) -> None:
    agent.start(stop_at=point)
    submitted = server.submit(bench_image, PRINTS)
    agent.await_stop()
    agent.kill()
    agent.start()
    assert_all_is_well(server, agent, submitted)


@pytest.mark.parametrize("point", ["claim.after", "iteration.before", "spool.before", "deliver.before"])
def test_an_agent_that_wakes_up_after_its_lease_was_lost_does_no_harm(
    point: str, server: Server, agent: Agent, bench_image: str
) -> None:
    agent.start(stop_at=point)
    submitted = server.submit(bench_image, PRINTS)
    agent.await_stop()
    time.sleep(5)  # The lease, and then some: nobody announces that a process that stands still has lost it.
    agent.process.send_signal(signal.SIGCONT)
    assert_all_is_well(server, agent, submitted)


@pytest.mark.parametrize(
    "point", ["claim.before", "promise.after", "iteration.after", "deliver.before", "deliver.after"]
)
def test_a_server_that_is_killed_while_the_agent_is_at_a_step_loses_no_job(
    point: str, server: Server, agent: Agent, bench_image: str
) -> None:
    agent.start(stop_at=point)
    submitted = server.submit(bench_image, PRINTS)
    agent.await_stop()
    server.kill()
    agent.process.send_signal(signal.SIGCONT)
    time.sleep(1)  # Let it find the server away.
    server.start()
    assert_all_is_well(server, agent, submitted)
