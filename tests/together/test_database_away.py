"""The database is away, full, locked or stands still: every call is answered 503, and nothing is half done.

One conversation on each database and each trouble: a job is held while the trouble lasts, and everything that was
refused succeeds afterwards, once.
"""

import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from chaos.world import signal_all
from pairs import CONTEXT, Pair, paired
from postgresql_server import PostgresServer
from small_disk import small_disk

from server_stub.store.database import Database
from server_stub.store.tx import Tx

pytestmark = pytest.mark.anyio

PRINTED = '{"sort": {"latency": {"value": 7.0}}}'
TABLES = ("report", "job", "job_attempt", "job_output", "report_piece", "branch", "metric")

Trouble = Callable[[], AbstractContextManager[None]]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process holds the lock."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """Restarted, with a while in between."""
    server.stop("fast")
    try:
        yield
    finally:
        server.start()


@contextmanager
def standing_still(server: PostgresServer) -> Iterator[None]:
    """No process of it does anything."""
    signal_all(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(server.pid, signal.SIGCONT)


@pytest.fixture(
    params=["locked", "disk full", *(pytest.param(one, marks=pytest.mark.postgres) for one in ("stopped", "stalled"))]
)
def troubled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, Trouble]]:
    """A database and what happens to it."""
    if request.param in ("stopped", "stalled"):
        server: PostgresServer = request.getfixturevalue("postgresql")
        with server.fresh_database() as url, closing(Database.open(url)) as database:
            yield database, lambda: (stopped if request.param == "stopped" else standing_still)(server)
        return
    with small_disk(tmp_path / "disk", 16) as disk:
        file = disk.folder / "bench.db"

        @contextmanager
        def full() -> Iterator[None]:
            disk.fill()
            yield
            disk.make_room()

        with closing(Database.open(f"sqlite:///{file}")) as database:
            yield database, full if request.param == "disk full" else lambda: locked(file)


@pytest.fixture
async def pair(troubled: tuple[Database, Trouble]) -> AsyncIterator[Pair]:
    async with paired(troubled[0], heartbeat_s=60, lease_s=600, sweep_s=0.2, seen_flush_s=0.2) as pair:
        yield pair


def counted(tx: Tx) -> dict[str, int]:
    return {table: int(tx.value(f"SELECT COUNT(*) FROM {table}")) for table in TABLES}


async def test_while_the_database_is_away_calls_get_503_and_afterwards_each_is_done_once(
    pair: Pair, troubled: tuple[Database, Trouble]
) -> None:
    database, trouble = troubled
    submitted = await pair.submit()
    agent, path = pair.runner.headers, f"/v0/runners/{pair.runner.slug}/jobs"
    while (claimed := await pair.api.post(path, json={"poll_timeout": 5}, headers=agent)).status_code != 200:
        assert claimed.status_code in (204, 503), claimed.text  # A machine that does much else.
    job = claimed.json()
    report = {
        "job": job["job"],
        "attempt": 1,
        "outcome": "completed",
        "iterations": [{"number": 0, "exit_code": 0, "stdout": {"text": PRINTED}}],
    }
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", f"{path}/{job['job']}/attempts/1/pieces/0", {"content": b"a piece" * 5000, "headers": agent}),
        (
            "POST",
            f"{path}/{job['job']}/heartbeat",
            {"json": {"attempt": 1, "progress": {"stage": "iterate"}}, "headers": agent},
        ),
        ("POST", "/v0/run", {"json": a_run()}),
        ("POST", f"{path}/{job['job']}/report", {"json": {"attempt": 1, "report": report}, "headers": agent}),
    ]
    before = await database.read(counted)
    database.answer_s_max = 1
    with trouble():
        refused = [await pair.api.request(method, url, **what) for method, url, what in calls]
    database.answer_s_max = 60
    assert [(answer.status_code, answer.headers.get("retry-after")) for answer in refused] == [(503, "1")] * 4
    # What had begun when the database stood still may be done since, whole: then the job has ended, and says so.
    answers = [await pair.api.request(method, url, **what) for method, url, what in calls]
    codes = [answer.status_code for answer in answers]
    assert codes[0] in (204, 409) and codes[1] in (200, 409) and codes[2:] == [201, 200], codes
    assert (await pair.ended(submitted))["status"] == "processed"
    after = await database.read(counted)
    grown = {table: after[table] - before[table] for table in TABLES}
    assert grown | {"report_piece": 0} == {
        "report": 1,
        "job": 0,
        "job_attempt": 0,
        "job_output": 1,
        "report_piece": 0,
        "branch": 1,
        "metric": 1,
    }


def a_run() -> dict[str, Any]:
    now = "2026-01-02T03:04:05Z"
    return {
        "project": "pair",
        "context": CONTEXT,
        "idempotency_key": "3b9e7a52-4d0f-4c84-9f0b-0c5b7a1e2d11",
        "branch": "other",
        "testbed": "rack",
        "start_time": now,
        "end_time": now,
        "results": [],
    }


@pytest.mark.postgres
async def test_connections_that_end_in_a_failover_are_replaced_and_polls_go_on(postgresql: PostgresServer) -> None:
    with postgresql.fresh_database() as url, closing(Database.open(url)) as database:
        async with paired(database, sweep_s=0.2) as pair, anyio.create_task_group() as tasks:
            answers: list[httpx.Response] = []

            async def poll() -> None:
                path = f"/v0/runners/{pair.runner.slug}/jobs"
                while not answers or answers[-1].status_code == 503:  # The agent asks again, and so do we.
                    answers.append(await pair.api.post(path, json={"poll_timeout": 60}, headers=pair.runner.headers))

            tasks.start_soon(poll)
            await anyio.sleep(0.3)  # Parked, as idle agents are.
            await anyio.to_thread.run_sync(postgresql.drop_connections)
            submitted = await pair.submit()
        assert (answers[-1].status_code, answers[-1].json().get("job")) == (200, submitted["job"])
