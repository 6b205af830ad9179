"""How many jobs a second a server process hands out, on each database, and beside it a peer on the same PostgreSQL.

Ours go over HTTP: claim, report, acknowledgement, with the report compressed, stored and parsed. The peer's worker
speaks with the database itself, and its jobs send nothing back.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import procrastinate
import psycopg
from fleet_world import fill, join, serving, warm
from postgresql_server import PostgresServer
from procrastinate.types import JSONValue
from simulated import SimulatedAgent, Wire

from runner_protocol.messages import Heartbeat, Progress
from runner_protocol.results import Stage
from server_stub import claims, intake
from server_stub.job_queue import terms_of
from server_stub.settings import Settings
from server_stub.store.database import Database
from server_stub.store.tx import Row, Tx

WORKERS = 64
"""Agents that work a full queue off, and jobs that the peer's worker runs at once."""
PEER_CONNECTIONS = 16
"""Of the peer's one worker, to the same PostgreSQL; our process has 13."""
BARE = 4_000
"""Claims, and then heartbeats, without HTTP."""
TOGETHER = 1_000
"""Leases that one transaction renews, keys and all."""


async def throughput(name: str, url: str, count: int) -> float:
    """Print jobs a second from claim to acknowledged report, with a full queue."""
    first, *keys = join(url, 1 + WORKERS)
    with serving(url) as server:
        await warm(server, first)
        await asyncio.to_thread(fill, url, count)
        done: list[float] = []
        agents = [
            SimulatedAgent(Wire("127.0.0.1", server.port, key), slug, lambda _: done.append(time.perf_counter()))
            for slug, key in keys
        ]
        began, cpu_s, own_s = time.perf_counter(), server.cpu_s, time.process_time()
        await asyncio.gather(*(agent.work() for agent in agents))
        took_s = max(done) - began
        print(
            f"{name:<33} {count / took_s:8.0f} jobs/s  (server {1e6 * (server.cpu_s - cpu_s) / count:.0f} µs CPU a job,"
            f" agents {1e6 * (time.process_time() - own_s) / count:.0f} µs)"
        )
        for agent in agents:
            agent.wire.close()
    return count / took_s


async def bare(name: str, url: str) -> None:
    """Print what the database alone bears: claims, and then heartbeats, of as many agents, 64 at any moment."""
    keys = join(url, 1 + BARE)
    with serving(url) as server:
        await warm(server, keys.pop())
    fill(url, BARE)
    database, settings = Database.open(url), Settings()
    terms = terms_of(settings)
    look = partial(claims.look, offer=claims.Offer(terms, tiers=False))
    renew = partial(intake.beat, terms=terms)
    claimed: dict[str, claims.Claim] = {}

    async def claim(slug: str, key: str) -> None:
        caller = claims.Caller(slug, key, instance=None, blocked=False)
        claim = await database.write_together(look, key, caller)
        assert claim is not None
        claimed[key] = claim

    def word(slug: str, key: str) -> tuple[intake.From, Heartbeat]:
        job = claimed[key].message
        return intake.From(slug, key, job.job), Heartbeat(attempt=job.attempt, progress=Progress(stage=Stage.ITERATE))

    async def beat(slug: str, key: str) -> None:
        await database.write_together(renew, key, word(slug, key))

    for what, call in (("claims", claim), ("first heartbeats", beat), ("heartbeats", beat)):
        began = time.perf_counter()
        left = iter(keys)
        await asyncio.gather(*(_each(left, call) for _ in range(WORKERS)))
        print(f"{name + ' alone':<33} {BARE / (time.perf_counter() - began):8.0f} {what}/s")
    words, times, statement = [word(*each) for each in keys[:TOGETHER]], [], Statement("UPDATE job SET lease_until_ms")
    for _ in range(15):
        began = time.perf_counter()
        await database.write(lambda tx: renew(cast("Tx", Watched(tx, statement)), words))
        times.append(time.perf_counter() - began)
    print(f"{name + ' alone':<33} {1000 * statistics.median(times):8.1f} ms for {TOGETHER} leases renewed together")
    print(f"{'':<33} {1000 * statistics.median(statement.times):8.2f} ms of it the statement that renews them")
    database.close()


@dataclass
class Statement:
    """How long it took each time, in seconds."""

    begins: str
    times: list[float] = field(default_factory=list)


class Watched:
    """A transaction that times one of its statements, from its rows as they are to those that it gives back."""

    def __init__(self, tx: Tx, statement: Statement) -> None:
        self._tx = tx
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def all(self, sql: str, **parameters: Any) -> list[Row]:
        """As the transaction's."""
        began = time.perf_counter()
        rows = self._tx.all(sql, **parameters)
        if sql.startswith(self._statement.begins):
            self._statement.times.append(time.perf_counter() - began)
        return rows


async def _each(left: Iterator[tuple[str, str]], call: Callable[[str, str], Awaitable[None]]) -> None:
    for slug, key in left:
        await call(slug, key)


async def peer(url: str, count: int) -> float:
    """Print the same for procrastinate: jobs that do nothing, one worker, through with all of them."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=PEER_CONNECTIONS))

    @app.task(name="nothing")
    async def nothing(number: int) -> None:
        pass

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        calls: list[dict[str, JSONValue]] = [{"number": number} for number in range(count)]
        await nothing.batch_defer_async(*calls)
        began, own_s = time.perf_counter(), time.process_time()
        await app.run_worker_async(concurrency=WORKERS, wait=False, install_signal_handlers=False)
        took_s, own_s = time.perf_counter() - began, time.process_time() - own_s
    with psycopg.connect(url) as connection:
        done = connection.execute("SELECT COUNT(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
        assert done == (count,), done
    print(f"{'procrastinate on it':<33} {count / took_s:8.0f} jobs/s  (worker {1e6 * own_s / count:.0f} µs CPU a job)")
    return count / took_s


def rounds(count: int, jobs_each: int) -> Iterator[float]:
    """Ours and theirs in turn, each on a fresh database of the same server; the ratio of each round."""
    with PostgresServer.started(durable=True) as server:
        with server.fresh_database() as alone:
            asyncio.run(bare("PostgreSQL", alone))
        for _ in range(count):
            with server.fresh_database() as ours:
                mine = asyncio.run(throughput("PostgreSQL, fsync", ours, jobs_each))
            with server.fresh_database() as theirs:
                yield mine / asyncio.run(peer(theirs, jobs_each))
