"""Agent and server are killed before and after every step that somebody outside can see: every job ends once.

Real server, real agent, real engine, real registry; of the server on each database. What must hold afterwards: each job
is processed, its results are stored once and are what its container printed, and nothing is left on the engine or
on the agent's disk. Jobs pile up while one kill follows the other, and are all looked at after the last one.
"""

import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from cable import CALLS, Cable, Trap, Way, cabled
from postgresql_server import PostgresServer
from processes import QUICK, Agent, Server, joined, serving, wait_until

from runner_agent.points import POINTS

pytestmark = [pytest.mark.docker, pytest.mark.chaos, pytest.mark.xdist_group("points")]

SERVER = QUICK | {
    "SERVER_STUB_LEASE_S": "3",
    "SERVER_STUB_ATTEMPTS_MAX": "100",
    "SERVER_STUB_REQUEUE_S_MAX": "0.1",
    "SERVER_STUB_PIECE_BYTES_MAX": "1024",  # Less than any report: each is sent in pieces.
}
AGENT = {"RUNNER_AGENT_POLL_TIMEOUT_S": "2", "RUNNER_AGENT_PAUSE_S_MAX": "0.2"}


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), settings=SERVER) as server:
        yield server


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ExitStack() as stack:
        url = stack.enter_context(stack.enter_context(PostgresServer.started()).fresh_database())
        yield stack.enter_context(serving(tmp_path_factory.mktemp("server"), url, SERVER))


@pytest.fixture(params=["on_sqlite", pytest.param("on_postgresql", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    with cabled(server.port) as cable:
        yield cable


@pytest.fixture
def agent(server: Server, cable: Cable, tmp_path: Path) -> Iterator[Agent]:
    settings = AGENT | {"RUNNER_AGENT_SERVER": f"http://127.0.0.1:{cable.port}"}
    with joined(server, tmp_path, settings=settings) as agent:
        yield agent


def prints(number: int) -> str:
    """The script of a job that prints this number."""
    return f"""echo '{{"sort": {{"latency": {{"value": {number}}}}}}}'"""


def stop_with_a_job(server: Server, agent: Agent, point: str, image: str, number: int) -> dict[str, Any]:
    """A new job, and the agent stands still where it gets to this point with it."""
    report = server.submit(image, prints(number))
    agent.launch(stop_at=point)
    agent.await_stop()
    return report


def assert_all_is_well(server: Server, agent: Agent, submitted: list[dict[str, Any]]) -> None:
    """Every invariant, once all jobs have ended; the first one prints 0, the next one 1."""
    ended = [(server.ended(each)["status"], server.values(each)) for each in submitted]
    assert ended == [("processed", [float(number)]) for number in range(len(submitted))], agent.log()
    wait_until(lambda: agent.left_on_disk() == [], "a report stays on the agent's disk")
    assert (agent.drain(), agent.left_on_engine()) == (0, [])


@pytest.mark.parametrize("server", ["on_sqlite"], indirect=True)
def test_an_agent_that_is_killed_at_each_step_in_turn_loses_no_job(
    server: Server, agent: Agent, bench_image: str
) -> None:
    submitted = []
    for number, point in enumerate(POINTS):
        submitted.append(stop_with_a_job(server, agent, point, bench_image, number))
        agent.kill()
    agent.start()
    assert_all_is_well(server, agent, submitted)


@pytest.mark.parametrize("server", ["on_sqlite"], indirect=True)
def test_an_agent_that_wakes_up_after_its_lease_was_lost_does_no_harm(
    server: Server, agent: Agent, bench_image: str
) -> None:
    submitted = []
    for number, point in enumerate(["claim.after", "iteration.before", "spool.before", "deliver.before"]):
        submitted.append(stop_with_a_job(server, agent, point, bench_image, number))
        # Nobody announces to a process that stands still that it has lost its lease.
        wait_until(lambda: server.job(submitted[-1])["status"] == "pending", "the lease does not run out")
        agent.process.send_signal(signal.SIGCONT)
        server.ended(submitted[-1])
        agent.kill()
    agent.start()
    assert_all_is_well(server, agent, submitted)


def test_a_server_that_is_killed_before_or_after_each_call_of_an_agent_loses_no_job(
    server: Server, cable: Cable, agent: Agent, bench_image: str
) -> None:
    agent.start()
    submitted = []
    for number, (call, way) in enumerate(product(CALLS, Way)):
        # Two: an agent that waits may be done with the first one before the trap stands.
        submitted += [server.submit(bench_image, prints(2 * number + each)) for each in range(2)]
        cable.traps.append(Trap(call, way, spring=server.kill))
        wait_until(lambda: server.process.poll() is not None, f"no agent makes the call: {call}")
        server.start()
    assert_all_is_well(server, agent, submitted)


def test_a_run_that_is_sent_again_because_the_server_was_killed_before_or_after_it_is_done_once(
    server: Server, cable: Cable, agent: Agent, bench_image: str
) -> None:
    agent.start()
    submitted = []
    for number, way in enumerate(Way):
        key = uuid.uuid4()
        cable.traps.append(Trap("run", way, spring=server.kill))
        with pytest.raises(httpx.HTTPError):
            server.post_run(bench_image, prints(number), key, through=cable.port)
        server.start()
        submitted += [server.post_run(bench_image, prints(number), key).json() for _ in range(2)]
    assert [report["uuid"] for report in submitted[::2]] == [report["uuid"] for report in submitted[1::2]]
    assert_all_is_well(server, agent, submitted[::2])
