"""The fleet of docs/operations.md on loopback: real nginx with TLS, two server processes, PostgreSQL, twenty agents."""

import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from postgresql_server import PostgresServer
from processes import QUICK, free_port, wait_until
from queue_world import new_runner, new_spec

from runner_protocol.messages import POLL_TIMEOUT_S_MAX
from server_stub.store.database import Database
from server_stub.store.tx import Tx

pytestmark = pytest.mark.postgres

SITE = Path(__file__).parents[2] / "packaging/fleet/nginx.conf"
AGENTS = 20
NOW = "2026-01-02T03:04:05Z"
RUN = {"project": "fleet", "context": {}, "branch": "main", "results": [], "start_time": NOW, "end_time": NOW}


@dataclass
class Fleet:
    """Where its parts are."""

    folder: Path
    database: str
    port: int = field(default_factory=free_port)
    server_ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    servers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def serve(self, port: int) -> None:
        """Start one server process and wait until it is ready."""
        command = [sys.executable, "-m", "server_stub", "serve", "--port", str(port), "--database", self.database]
        with (self.folder / f"{port}.log").open("ab") as log:
            self.servers[port] = subprocess.Popen(command, env=QUICK | self._environment(), stdout=log, stderr=log)
        wait_until(lambda: self._ready(port), "a server does not get ready")

    def stop(self) -> None:
        """SIGTERM for all, and wait."""
        for process in self.servers.values():
            process.terminate()
        for process in self.servers.values():
            process.wait()

    def parked(self, port: int) -> int:
        """Polls that wait at one server process, as its metrics say."""
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        return round(float(page.partition("\nbench_polls_open ")[2].split()[0]))

    def client(self, key: str = "") -> httpx.AsyncClient:
        """A client of the proxy."""
        trust = ssl.create_default_context(cafile=self.folder / "bench.crt")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=f"https://localhost:{self.port}", verify=trust, headers=headers, timeout=120)

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "SERVER_STUB_PROXIES_TRUSTED": "true"}

    def _ready(self, port: int) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).is_success
        return False


@contextmanager
def nginx(fleet: Fleet) -> Iterator[None]:
    """The site that we ship, on the ports of this fleet."""
    folder = fleet.folder
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    certificate += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "bench.key")]
    subprocess.run([*certificate, "-out", str(folder / "bench.crt")], check=True, capture_output=True)
    site = SITE.read_text().replace("listen 443 ssl", f"listen 127.0.0.1:{fleet.port} ssl")
    for ours, theirs in zip(fleet.server_ports, (61016, 61017), strict=True):
        site = site.replace(f"127.0.0.1:{theirs};", f"127.0.0.1:{ours};")
    site = site.replace("/etc/nginx/bench", str(folder / "bench"))
    paths = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; pid {folder / 'pid'}; worker_processes 1; events {{ worker_connections 512; }}"
    (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {paths}\n{site} }}")
    command = ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log"), "-p", str(folder)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def fleet(tmp_path: Path, postgresql: PostgresServer) -> Iterator[Fleet]:
    with ExitStack() as stack:
        fleet = Fleet(tmp_path, stack.enter_context(postgresql.fresh_database()))
        stack.callback(fleet.stop)
        for port in fleet.server_ports:
            fleet.serve(port)
        stack.enter_context(nginx(fleet))
        yield fleet


def join(database: str) -> list[tuple[str, str]]:
    """Slug and key of each agent's runner."""

    def work(tx: Tx) -> list[tuple[str, str]]:
        spec = new_spec(tx, fallback=True)
        made = [new_runner(tx, f"rack {number}", spec) for number in range(AGENTS)]
        return [(runner.slug, runner.key) for runner in made]

    opened = Database.open(database)
    try:
        return opened.wait(work)
    finally:
        opened.close()


async def agent(fleet: Fleet, runner: str, key: str, did: list[tuple[str, str]]) -> None:
    """Polls through the proxy, beats once and reports; what a dying server or proxy cuts is asked again."""
    async with fleet.client(key) as api:
        while True:
            with suppress(httpx.TransportError):
                answer = await api.post(f"/v0/runners/{runner}/jobs", json={"poll_timeout": 60})
                if answer.status_code == 200:
                    await carry_out(api, f"/v0/runners/{runner}/jobs", answer.json())
                    did.append((answer.json()["job"], runner))
                elif answer.status_code != 204:
                    await asyncio.sleep(0.2)


async def carry_out(api: httpx.AsyncClient, path: str, job: dict[str, Any]) -> None:
    """One job, until its report is acknowledged."""
    beat = {"attempt": job["attempt"], "progress": {"stage": "iterate"}}
    printed = {"number": 0, "exit_code": 0, "stdout": {"text": json.dumps({"b": {"latency": {"value": 1}}})}}
    report = {"job": job["job"], "attempt": job["attempt"], "outcome": "completed", "iterations": [printed]}
    for call, body in (("heartbeat", beat), ("report", {"attempt": job["attempt"], "report": report})):
        while not (await api.post(f"{path}/{job['job']}/{call}", json=body)).is_success:  # noqa: ASYNC110  Another process.
            await asyncio.sleep(0.2)


async def submit(api: httpx.AsyncClient, count: int) -> list[str]:
    """Jobs, all at once."""
    run = RUN | {"job": {"image": "localhost/bench:v1"}}
    answers = await asyncio.gather(*(api.post("/v0/run", json=run) for _ in range(count)))
    assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    return [answer.json()["job"] for answer in answers]


async def processed(api: httpx.AsyncClient, jobs: list[str]) -> None:
    """Wait until all of them are."""
    for job in jobs:
        async with asyncio.timeout(90):
            while (await api.get(f"/v0/projects/fleet/jobs/{job}")).json()["status"] != "processed":  # noqa: ASYNC110
                await asyncio.sleep(0.1)


def test_a_fleet_behind_nginx_does_every_job_once_also_when_a_server_is_killed(fleet: Fleet) -> None:
    runners, did = join(fleet.database), list[tuple[str, str]]()

    async def live() -> list[str]:
        agents = [asyncio.create_task(agent(fleet, *runner, did)) for runner in runners]
        async with fleet.client() as api:
            await asyncio.to_thread(wait_until, lambda: sum(map(fleet.parked, fleet.server_ports)) == AGENTS, "parked")
            shares = [fleet.parked(port) for port in fleet.server_ports]
            assert min(shares) >= AGENTS // 4, f"the polls are not shared out: {shares}"
            assert (await api.get("/metrics")).status_code == 403
            jobs = await submit(api, 2 * AGENTS)
            await processed(api, jobs)
            killed, left = fleet.server_ports
            fleet.servers[killed].kill()
            fleet.servers[killed].wait()
            jobs += await submit(api, AGENTS)
            await processed(api, jobs)
            assert fleet.parked(left) == AGENTS
        for one in agents:
            one.cancel()
        await asyncio.gather(*agents, return_exceptions=True)
        return jobs

    jobs = asyncio.run(live())
    assert Counter(job for job, _ in did) == Counter(jobs)
    assert len({runner for _, runner in did}) > 1


def test_the_proxy_waits_longer_than_any_poll() -> None:
    found = re.search(r"proxy_read_timeout (\d+)s;", SITE.read_text())
    assert found is not None
    assert int(found[1]) > POLL_TIMEOUT_S_MAX
