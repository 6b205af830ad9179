"""Iterations that print 25 MiB each, on the real engine: what a report cannot hold is cut evenly and counted.

And more iterations than a report has room for are refused before the first one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Agent, Server, joined, serving, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.chaos, pytest.mark.xdist_group("points")]

REPORT_BYTES_MAX = 64 << 20
ITERATIONS = 4
PRINTED_BYTES = 25 << 20
FLOODS = f"head -c {PRINTED_BYTES} /dev/zero | tr '\\0' x >&2; " + """echo '{"sort": {"latency": {"value": 42.0}}}'"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (folder := tmp_path / "server").mkdir()
    with serving(folder, settings={"SERVER_STUB_REPORT_BYTES_MAX": str(REPORT_BYTES_MAX)}) as server:
        yield server


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[Agent]:
    (folder := tmp_path / "agent").mkdir()
    with joined(server, folder) as agent:
        agent.start()
        yield agent


def test_many_large_outputs_are_delivered_cut_and_counted_and_too_many_are_refused_before_the_work(
    server: Server, agent: Agent, bench_image: str
) -> None:
    too_many = server.submit(bench_image, FLOODS, iter=REPORT_BYTES_MAX // 3 // 4096 + 1)
    large = server.submit(bench_image, FLOODS, iter=ITERATIONS)
    refused, job = server.ended(too_many), server.ended(large)
    assert (refused["status"], refused["fault"]["kind"], refused["fault"]["stage"]) == (
        "failed",
        "spec_refused",
        "plan",
    )
    assert (job["status"], server.values(large)) == ("processed", [42.0] * ITERATIONS), agent.log()
    share = REPORT_BYTES_MAX // ITERATIONS // 3
    told = [(each["stderr"].count("x"), each["stderr_dropped_bytes"]) for each in job["output"]["results"]]
    assert told == [(share, PRINTED_BYTES - share)] * ITERATIONS
    wait_until(lambda: agent.left_on_disk() == [], "the report stays on the agent's disk")
    assert (agent.drain(), agent.left_on_engine()) == (0, [])
