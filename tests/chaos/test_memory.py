"""An agent that has run two hundred jobs is as large as one that has run a few: what good and bad jobs leave behind."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import Agent, Server, joined, serving

pytestmark = [pytest.mark.docker, pytest.mark.soak]

GROWTH_BYTES_MAX = 20 << 20
PRINTS = """echo '{"sort": {"latency": {"value": 42.0}}}'"""
# Each kind of end that keeps something in memory for a while, with the state that its job comes to.
KINDS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (PRINTS, {}, "processed"),
    (PRINTS, {"iter": 3}, "processed"),
    (f"{PRINTS}; exit 1", {}, "failed"),
    ("head -c 4000000 /dev/zero | tr '\\0' x >&2; " + PRINTS, {}, "processed"),
    ("head -c 500000 /dev/urandom > noise; " + PRINTS, {"file_paths": ["noise"]}, "failed"),
    (PRINTS, {"file_paths": ["missing"]}, "failed"),
    (f"{PRINTS}; sleep 60", {"timeout": 1}, "failed"),
)
# Whole rounds, two hundred jobs and a little: the first and the last size are taken after the same kind of job.
JOBS = 29 * len(KINDS)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """On a server of its own."""
    server, home = tmp_path / "server", tmp_path / "agent"
    server.mkdir()
    home.mkdir()
    with serving(server) as serves, joined(serves, home) as agent:
        agent.start()
        yield agent


def test_the_memory_of_an_agent_does_not_grow_with_its_jobs(agent: Agent, bench_image: str) -> None:
    process, sizes = psutil.Process(agent.process.pid), []
    for script, job, state in islice(cycle(KINDS), JOBS):
        assert run(agent.server, bench_image, script, job) == state, agent.log()[-4000:]
        sizes.append(process.memory_info().rss)
    # The first round of kinds imports what each of them needs.
    first, last = sizes[len(KINDS) - 1], sizes[-1]
    print(f"{JOBS} jobs: {first / 2**20:.1f} MiB after {len(KINDS)}, {last / 2**20:.1f} MiB after all")
    assert last - first < GROWTH_BYTES_MAX
    assert (agent.drain(), agent.containers(), agent.left_on_disk()) == (0, [], [])


def run(server: Server, image: str, script: str, job: dict[str, Any]) -> str:
    """The state that a job ends in."""
    state: str = server.ended(server.submit(image, script, **job))["status"]
    return state
