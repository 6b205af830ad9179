"""A thousand short jobs through two agents: memory, descriptors and disk of agent and server stay where they were.

Prints the first and the last figures. `./dev soak` runs it; it takes about a second a job.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import Agent, Server, joined, serving

pytestmark = [pytest.mark.docker, pytest.mark.soak]

JOBS = 1000
# By then every thread, connection and cache that an idle process lacks is there.
WARM_AFTER = 100
UNDER_WAY_MAX = 6
# A leak of one page or one descriptor a job shows: 900 jobs would make 3.5 MiB and 900 descriptors of it.
GROWTH_BYTES_MAX = 3 << 20
DESCRIPTORS_MORE_MAX = 4
# Each of the server's connections to SQLite may keep every page of the database, up to its cache's bound.
CONNECTIONS = 5
# The database grows, for it keeps what was measured: one small report, its rows and their indexes.
STORED_BYTES_A_JOB_MAX = 48 << 10


@dataclass(frozen=True)
class Figures:
    """What one process holds."""

    memory_bytes: int
    descriptors: int
    threads: int
    disk_bytes: int

    @classmethod
    def of(cls, pid: int, folder: Path) -> "Figures":
        """As they are now. The log is left out: whoever runs the process rotates it."""
        process = psutil.Process(pid)
        files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
        private = process.memory_full_info().uss
        return cls(private, process.num_fds(), process.num_threads(), sum(path.stat().st_size for path in files))

    def __str__(self) -> str:
        return (
            f"{self.memory_bytes / 2**20:7.1f} MiB  {self.descriptors:3} descriptors  {self.threads:3} threads"
            f"  {self.disk_bytes / 1024:9.1f} KiB on disk"
        )


@dataclass
class World:
    """One server and two agents."""

    server: Server
    agents: list[Agent]

    def figures(self) -> dict[str, Figures]:
        """Of all three processes."""
        agents = {
            f"agent {number}": Figures.of(agent.process.pid, agent.folder) for number, agent in enumerate(self.agents)
        }
        return {"server": Figures.of(self.server.process.pid, self.server.folder), **agents}


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # The server's own intervals: quick ones would make it do more beside the jobs than it ever does. An engine that
    # starts a thousand containers on a busy machine refuses some; that is tried again and is not what is measured.
    with ExitStack() as stack:
        server = stack.enter_context(
            serving(tmp_path_factory.mktemp("server"), settings={"SERVER_STUB_ATTEMPTS_MAX": "100"})
        )
        agents = [stack.enter_context(joined(server, tmp_path_factory.mktemp("agent"))) for _ in range(2)]
        for agent in agents:
            agent.start()
        yield World(server, agents)


def run(world: World, image: str, numbers: range) -> None:
    """Run these jobs, a few at a time; each prints its own number, and that is what is stored."""
    under_way: deque[tuple[int, dict[str, Any]]] = deque()

    def await_one() -> None:
        number, submitted = under_way.popleft()
        job = world.server.ended(submitted)
        assert (job["status"], world.server.values(submitted)) == ("processed", [float(number)]), job

    for number in numbers:
        if len(under_way) == UNDER_WAY_MAX:
            await_one()
        script = f"""echo '{{"sort": {{"latency": {{"value": {number}}}}}}}'"""
        under_way.append((number, world.server.submit(image, script)))
    while under_way:
        await_one()


def test_a_thousand_jobs_leave_memory_descriptors_and_disk_where_they_were(world: World, bench_image: str) -> None:
    run(world, bench_image, range(WARM_AFTER))
    first = world.figures()
    run(world, bench_image, range(WARM_AFTER, JOBS))
    last = world.figures()
    for name in first:
        print(f"\n{name:8} after {WARM_AFTER:5} jobs: {first[name]}\n{name:8} after {JOBS:5} jobs: {last[name]}")
    for name, before in first.items():
        after = last[name]
        grown_max = (JOBS - WARM_AFTER) * STORED_BYTES_A_JOB_MAX if name == "server" else 64 << 10
        cached = CONNECTIONS * (after.disk_bytes - before.disk_bytes)
        assert after.memory_bytes - before.memory_bytes < GROWTH_BYTES_MAX + cached, name
        assert after.descriptors - before.descriptors <= DESCRIPTORS_MORE_MAX, name
        assert after.disk_bytes - before.disk_bytes < grown_max, name
    assert [agent.drain() for agent in world.agents] == [0, 0]
    assert [agent.left_on_engine() + agent.left_on_disk() for agent in world.agents] == [[], []]
