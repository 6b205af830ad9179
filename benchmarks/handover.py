"""How long until a job that is submitted to one server process is handed to an agent that waits at another.

Two real server processes on one PostgreSQL with fsync on (Debian's, started here), and beside them one process on
SQLite where both ends are the same. Prints the median and the worst of N hand-overs in milliseconds, from the moment
before the submission is sent to the moment the claim has arrived; and how long the submission itself took.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from postgresql_server import PostgresServer

SETTLE_S = 0.3
"""Between parking a poll and submitting: the agent is idle, as most are."""


@contextmanager
def serving(url: str) -> Iterator[str]:
    """A server process on a free port."""
    command = [sys.executable, "-m", "server_stub", "serve", "--port", "0", "--database", url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield json.loads(process.stderr.readline())["url"]
    finally:
        process.terminate()
        process.communicate()


def operate(url: str, *arguments: str) -> Any:
    """One verb of the command line."""
    command = [sys.executable, "-m", "server_stub", *arguments, "--json", "--database", url]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def hand_over(submitter: httpx.Client, agent: httpx.Client, runner: str) -> tuple[float, float]:
    """Seconds from before the submission to the claim, and to the submission's answer."""
    path, arrived = f"/v0/runners/{runner}/jobs", []

    def poll() -> None:
        job = agent.post(path, json={"poll_timeout": 60}).json()
        arrived.append((time.perf_counter(), job))

    waiting = threading.Thread(target=poll)
    waiting.start()
    time.sleep(SETTLE_S)
    now = "2026-01-01T00:00:00Z"
    run = {"project": "demo", "branch": "main", "start_time": now, "end_time": now, "results": [], "context": {}}
    began = time.perf_counter()
    submitter.post("/v0/run", json=run | {"job": {"image": "localhost/bench:v1"}}).raise_for_status()
    answered = time.perf_counter()
    waiting.join()
    claimed, job = arrived[0]
    report = {"job": job["job"], "attempt": job["attempt"], "outcome": "completed"}
    agent.post(f"{path}/{job['job']}/report", json={"attempt": job["attempt"], "report": report}).raise_for_status()
    return claimed - began, answered - began


def measure(name: str, url: str, processes: int, count: int) -> None:
    """Print one line."""
    operate(url, "spec", "create", "small", "--fallback")
    made = operate(url, "runner", "create", "rack", "--spec", "small")
    headers = {"authorization": f"Bearer {made['key']}"}
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(url)) for _ in range(processes)]
        submitter = stack.enter_context(httpx.Client(base_url=servers[0], timeout=90))
        agent = stack.enter_context(httpx.Client(base_url=servers[-1], headers=headers, timeout=90))
        hand_over(submitter, agent, made["slug"])  # The first one makes the project, and warms both up.
        times = [hand_over(submitter, agent, made["slug"]) for _ in range(count)]
    claims, answers = ([1000 * seconds for seconds in column] for column in zip(*times, strict=True))
    print(
        f"{name:<36} hand-over median {statistics.median(claims):6.1f} ms, worst {max(claims):6.1f} ms"
        f" · 201 after median {statistics.median(answers):6.1f} ms"
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=50, help="hand-overs to measure")
    count = parser.parse_args().n
    with PostgresServer.started(durable=True) as server, server.fresh_database() as url:
        measure("PostgreSQL, two server processes", url, 2, count)
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite, one server process", f"sqlite:///{folder}/bench.db", 1, count)


if __name__ == "__main__":
    main()
