"""What `fleet` and `fleet_throughput` measure: a server process, runners, a full queue, and simulated agents."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from simulated import SimulatedAgent, Traffic, Wire

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from postgresql_server import free_port

from runner_protocol.jobs import Work
from server_stub.edits import NewSpec
from server_stub.store import jobs, runners, specs
from server_stub.store.database import Database
from server_stub.store.fresh import fresh_uuids
from server_stub.store.tx import Tx

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


def _spec() -> NewSpec:
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


async def warm(server: ServerProcess, key: tuple[str, str]) -> None:
    """One job all the way, so that nothing is measured that happens once."""
    fleet = Fleet(server, [key])
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as submitter:
        await hand_over(submitter, fleet)
    await fleet.disband()


async def hand_over(submitter: httpx.AsyncClient, fleet: Fleet) -> tuple[float, float]:
    """Seconds from before a submission is sent until an agent has the job, and from its answer if that came first."""
    began = time.perf_counter()
    answer = await submitter.post("/v0/run", json=RUN)
    answered = time.perf_counter()
    answer.raise_for_status()
    arrived = await fleet.claimed(answer.json()["job"])
    return arrived - began, max(0.0, arrived - answered)
