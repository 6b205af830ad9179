"""What a large fleet costs one server process, and how many jobs a second it hands out.

    ./dev bench fleet [--agents 10000] [--jobs 2000] [--rounds 3]

Ten thousand simulated agents, all started at once, wait for work at one process on SQLite: memory a poll, CPU while
idle, time from a submission to its hand-over, and what a restart of the server brings down on it until all wait again.
Then a full queue and 64 agents, on SQLite and on PostgreSQL with fsync: jobs a second from claim to acknowledged
report, and in turn with it the same number of jobs that do nothing through procrastinate on the same PostgreSQL.
Server, database and agents share this machine's CPUs.
"""

import argparse
import asyncio
import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import procrastinate
import psutil
import psycopg
from procrastinate.types import JSONValue
from simulated import SimulatedAgent, Traffic, Wire

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from postgresql_server import PostgresServer, free_port

from runner_protocol.jobs import Work
from server_stub.store import jobs, runners, specs
from server_stub.store.database import Database
from server_stub.store.fresh import fresh_uuids
from server_stub.store.tx import Tx

WORKERS = 64
"""Agents that work a full queue off."""
IDLE_S = 30
HAND_OVERS = 300
PEER_CONCURRENCY = 16
DESCRIPTORS = 65_536
NOW = "2026-01-01T00:00:00Z"
RUN = {"project": "demo", "branch": "main", "start_time": NOW, "end_time": NOW, "results": [], "context": {}}
RUN |= {"job": {"image": "localhost/bench:v1"}}


class ServerProcess:
    """`server-stub serve` on a fixed port."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it says where it serves."""
        command = [sys.executable, "-m", "server_stub", "serve", "--port", str(self.port), "--database", self.database]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  It lives as long as the process.
        self._process = subprocess.Popen(command, stderr=self._log)
        self.watched = psutil.Process(self._process.pid)
        while not self._answers():
            if self._process.poll() is not None:
                self._log.seek(0)
                raise SystemExit(self._log.read().decode())
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.HTTPError:
            return False

    @property
    def rss_mib(self) -> float:
        """Memory."""
        return self.watched.memory_info().rss / 2**20

    @property
    def cpu_s(self) -> float:
        """CPU time so far."""
        times = self.watched.cpu_times()
        return times.user + times.system

    def parked(self) -> int:
        """Polls that wait there, as its metrics say."""
        page = httpx.get(f"{self.url}/metrics", timeout=600).text
        return round(float(page.partition("\nbench_polls_open ")[2].split()[0]))


@contextmanager
def serving(database: str) -> Iterator[ServerProcess]:
    """A server for the length of a block."""
    server = ServerProcess(database)
    try:
        yield server
    finally:
        server.stop()


def join(url: str, count: int) -> list[tuple[str, str]]:
    """Make a spec and that many runners; slug and key of each."""

    def work(tx: Tx) -> list[tuple[str, str]]:
        spec = specs.create(tx, _spec())
        made = [runners.create(tx, f"rack {number}", f"rack-{number}") for number in range(count)]
        ids = {row["uuid"]: row["id"] for row in tx.all("SELECT id, uuid FROM runner")}
        tx.insert("runner_spec", ("runner_id", "spec_id"), [(ids[str(uuid)], spec["id"]) for uuid, _ in made])
        return [(f"rack-{number}", key) for number, (_, key) in enumerate(made)]

    database = Database.open(url)
    try:
        return database.wait(work)
    finally:
        database.close()


def _spec() -> Any:
    from server_stub.edits import NewSpec

    body = {"name": "small", "architecture": "x86_64", "cpu": 1, "memory": 1 << 30, "disk": 1 << 30}
    return NewSpec.model_validate(body | {"network": False, "fallback": True})


def fill(url: str, count: int) -> None:
    """Queue that many jobs like the one that was submitted last, each with a report and a version of its own."""

    def work(tx: Tx) -> None:
        job = tx.one("SELECT * FROM job ORDER BY id DESC LIMIT 1")
        last = tx.one("SELECT * FROM report ORDER BY id DESC LIMIT 1")
        assert job is not None
        assert last is not None
        request = jobs.request_of(tx, job["id"])
        number = tx.value("SELECT MAX(number) FROM version")
        for offset, uuid in enumerate(fresh_uuids(tx.now_ms(), count), start=1):
            version = tx.insert("version", ("head_id", "number"), [(last["head_id"], number + offset)], returning="id")
            new = {k: v for k, v in last.items() if k != "id"} | {"version_id": version[0]["id"], "uuid": uuid}
            made = tx.insert("report", tuple(new), [tuple(new.values())], returning="id")
            jobs.enqueue(
                tx,
                report_id=made[0]["id"],
                work=Work.model_validate_json(request["work"]),
                settings=json.loads(request["settings"]),
                registry_auth=None,
                **{name: job[name] for name in ("project_id", "organization_id", "spec_id", "timeout_s")},
                priority=job["priority"],
                source_ip=job["source_ip"],
            )

    database = Database.open(url)
    database.wait(work)
    database.close()


class Fleet:
    """Simulated agents, each in a task of its own, and when each job came to one of them."""

    def __init__(self, server: ServerProcess, keys: list[tuple[str, str]]) -> None:
        self.claims: dict[str, asyncio.Future[float]] = {}
        self.traffic = Traffic()
        self._agents = [
            SimulatedAgent(Wire("127.0.0.1", server.port, key, self.traffic), slug, self._claimed) for slug, key in keys
        ]
        self._lives = [asyncio.create_task(agent.live()) for agent in self._agents]

    def _claimed(self, job: str) -> None:
        self.claimed(job).set_result(time.perf_counter())

    def claimed(self, job: str) -> asyncio.Future[float]:
        """Resolves to the moment at which an agent had it."""
        return self.claims.setdefault(job, asyncio.get_running_loop().create_future())

    async def disband(self) -> None:
        """Stop all."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        for agent in self._agents:
            agent.wire.close()


async def parked(server: ServerProcess, count: int) -> float:
    """Wait until that many polls wait; how long that took."""
    began = time.perf_counter()
    while await asyncio.to_thread(server.parked) < count:  # noqa: ASYNC110  It is another process.
        await asyncio.sleep(0.5)
    return time.perf_counter() - began


async def idle(url: str, count: int) -> None:
    """Print what waiting costs, how fast a job is handed over, and how long a restart takes."""
    first, *keys = join(url, 1 + count)
    with serving(url) as server:
        await warm(server, first)
        before, cpu_s = server.rss_mib, server.cpu_s
        fleet = Fleet(server, keys)
        took_s = await parked(server, count)
        cpu_s = server.cpu_s - cpu_s
        await asyncio.sleep(5)
        grown = server.rss_mib - before
        print(f"{count} agents join                 {took_s:8.1f} s, {1e6 * cpu_s / count:.0f} µs CPU each")
        print(f"memory                            {grown:+8.1f} MiB, {grown * 1024 / count:.1f} KiB a poll")
        await rest(server)
        await hand_overs(server, fleet)
        await restart(server, fleet, count)
        await fleet.disband()


async def restart(server: ServerProcess, fleet: Fleet, count: int) -> None:
    """Print how long a fleet takes to come back to a server that was away for a moment, and how hard it comes."""
    fleet.traffic.forget()
    began = time.perf_counter()
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    away_s = time.perf_counter() - began
    await parked(server, count)
    print(f"all back after a restart          {time.perf_counter() - began:8.1f} s, {away_s:.1f} s of them without it")
    traffic = fleet.traffic
    print(
        f"requests on the way               {len(traffic.asked):8d}, {traffic.peak()} in the worst second,"
        f" {traffic.answers[503]} told to come later, {traffic.answers[0]} met no server"
    )


async def warm(server: ServerProcess, key: tuple[str, str]) -> None:
    """One job all the way, so that nothing is measured that happens once."""
    fleet = Fleet(server, [key])
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as submitter:
        await hand_over(submitter, fleet)
    await fleet.disband()


async def rest(server: ServerProcess) -> None:
    """Print the CPU time that the idle process takes."""
    cpu_s = server.cpu_s
    await asyncio.sleep(IDLE_S)
    print(f"CPU while idle                    {(server.cpu_s - cpu_s) / IDLE_S:8.2%}")


async def hand_overs(server: ServerProcess, fleet: Fleet) -> None:
    """Print how long jobs take from their submission to an agent, one after the other."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as submitter:
        times = [await hand_over(submitter, fleet) for _ in range(HAND_OVERS)]
    for name, column in zip(
        ("submission to hand-over", "of that, after the 201"), zip(*times, strict=True), strict=True
    ):
        cuts = statistics.quantiles([1000 * seconds for seconds in column], n=100)
        print(f"{name:<33} {cuts[49]:8.2f} ms median, {cuts[98]:.2f} ms p99")


async def hand_over(submitter: httpx.AsyncClient, fleet: Fleet) -> tuple[float, float]:
    """Seconds from before a submission is sent until an agent has the job, and from its answer if that came first."""
    began = time.perf_counter()
    answer = await submitter.post("/v0/run", json=RUN)
    answered = time.perf_counter()
    answer.raise_for_status()
    arrived = await fleet.claimed(answer.json()["job"])
    return arrived - began, max(0.0, arrived - answered)


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


async def peer(url: str, count: int) -> float:
    """Print the same for procrastinate: jobs that do nothing, one worker, through with all of them."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=PEER_CONCURRENCY))

    @app.task(name="nothing")
    async def nothing(number: int) -> None:
        pass

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        calls: list[dict[str, JSONValue]] = [{"number": number} for number in range(count)]
        await nothing.batch_defer_async(*calls)
        began = time.perf_counter()
        await app.run_worker_async(concurrency=PEER_CONCURRENCY, wait=False, install_signal_handlers=False)
        took_s = time.perf_counter() - began
    with psycopg.connect(url) as connection:
        done = connection.execute("SELECT COUNT(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
        assert done == (count,), done
    print(f"{'procrastinate on it':<33} {count / took_s:8.0f} jobs/s")
    return count / took_s


def rounds(count: int, jobs_each: int) -> Iterator[float]:
    """Ours and theirs in turn, each on a fresh database of the same server; the ratio of each round."""
    with PostgresServer.started(durable=True) as server:
        for _ in range(count):
            with server.fresh_database() as ours:
                mine = asyncio.run(throughput("PostgreSQL, fsync", ours, jobs_each))
            with server.fresh_database() as theirs:
                yield mine / asyncio.run(peer(theirs, jobs_each))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3, help="of both on PostgreSQL, in turn")
    parser.add_argument("--only", choices=("idle", "throughput"))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    if options.only != "throughput":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(idle(f"sqlite:///{folder}/bench.db", options.agents))
    if options.only != "idle":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(throughput("SQLite, synchronous=FULL", f"sqlite:///{folder}/bench.db", options.jobs))
        print(f"{'ratio, median of the rounds':<33} {statistics.median(rounds(options.rounds, options.jobs)):8.2f}")


if __name__ == "__main__":
    main()
