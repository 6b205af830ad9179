"""How long until the job of a lost host is in another host's hands, with the settings that a server has by default.

One host claims a job, confirms it with a heartbeat and is never heard of again; another one waits for work all the
time. Prints the seconds from the last heartbeat to the second host's claim, on SQLite and on PostgreSQL, both at once.
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from handover import operate, serving
from postgresql_server import PostgresServer

PROMISED_S = 60
"""A lost host's job is queued again within this time."""


def joined(database: str, url: str, name: str) -> httpx.Client:
    """A new runner's connection."""
    key = operate(database, "runner", "create", name, "--spec", "small")["key"]
    return httpx.Client(base_url=f"{url}/v0/runners/{name}", headers={"authorization": f"Bearer {key}"}, timeout=120)


def claimed(runner: httpx.Client) -> Any:
    """The job that this runner is handed, however long it takes."""
    while (answer := runner.post("/jobs", json={"poll_timeout": 60})).status_code == 204:
        pass
    answer.raise_for_status()
    return answer.json()


def submit(url: str) -> None:
    """One run of a job that nobody will carry out."""
    now = "2026-01-02T03:04:05Z"
    run = {"project": "lost", "context": {"bencher.dev/v0/repo/name": "lost"}, "branch": "main", "testbed": "rack"}
    times = {"start_time": now, "end_time": now}
    answer = httpx.post(f"{url}/v0/run", json={**run, **times, "results": [], "job": {"image": "127.0.0.1:1/none:1"}})
    answer.raise_for_status()


def seconds_until_taken_over(database: str) -> float:
    """From the last sign of life to the second host's claim."""
    operate(database, "spec", "create", "small", "--memory-mib", "64", "--disk-mib", "64", "--fallback")
    with serving(database) as url, joined(database, url, "lost") as lost, joined(database, url, "other") as other:
        submit(url)
        job = claimed(lost)
        beat = {"attempt": job["attempt"], "progress": {"stage": "iterate"}}
        lost.post(f"/jobs/{job['job']}/heartbeat", json=beat).raise_for_status()
        silent_since = time.monotonic()
        again = claimed(other)
        assert (again["job"], again["attempt"]) == (job["job"], job["attempt"] + 1)
        return time.monotonic() - silent_since


def main() -> None:
    """Both databases."""
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer.started(durable=True) as server,
        server.fresh_database() as postgresql,
        ThreadPoolExecutor() as threads,
    ):
        databases = {"SQLite": f"sqlite:///{folder}/bench.db", "PostgreSQL": postgresql}
        took = dict(zip(databases, threads.map(seconds_until_taken_over, databases.values()), strict=True))
    for name, seconds in took.items():
        kept = "kept" if seconds <= PROMISED_S else "broken"
        print(f"{name:10}  {seconds:5.1f} s from the last heartbeat to the next host's claim ({PROMISED_S} s: {kept})")


if __name__ == "__main__":
    main()
