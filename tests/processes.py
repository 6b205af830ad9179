"""A real server process and real agent processes on loopback, to be stopped, killed and started again by tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import leftovers

GROUPS = Path("/sys/fs/cgroup")
TERMINAL = frozenset({"processed", "failed", "canceled"})
WAIT_S_MAX = 90.0
# Leases so short that a test can wait until they run out, and long enough for a machine that does much else.
QUICK = {
    "SERVER_STUB_HEARTBEAT_S": "0.5",
    "SERVER_STUB_LEASE_S": "4",
    "SERVER_STUB_CONFIRM_S": "4",
    "SERVER_STUB_SWEEP_S": "0.1",
}


@dataclass
class Server:
    """`server-stub serve`, always on the same port; on a SQLite file of its folder where no database is named."""

    folder: Path
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=lambda: QUICK)
    """Its environment, on top of ours."""
    port: int = field(default_factory=lambda: free_port())  # noqa: PLW0108  It is defined further down.
    process: subprocess.Popen[bytes] = field(init=False)
    # One for all calls, for each reads all certificates of this machine; no connection outlives its call.
    _api: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
    )

    def __post_init__(self) -> None:
        """A database, where none was named."""
        self.database = self.database or f"sqlite:///{self.folder / 'bench.db'}"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.ready()

    def launch(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "server_stub", "serve", "--port", str(self.port), "--database", self.database]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **self.settings}, stdout=log, stderr=log)

    def ready(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, "the server does not answer")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def operate(self, *arguments: str) -> str:
        """What one of the operator's verbs prints."""
        command = [sys.executable, "-m", "server_stub", *arguments, "--database", self.database]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def submit(self, image: str, script: str, **job: Any) -> dict[str, Any]:
        """Submit one run of a shell script; the report as it was answered."""
        answer = self.post_run(image, script, uuid.uuid4(), **job)
        assert answer.status_code == 201, answer.text
        report: dict[str, Any] = answer.json()
        return report

    def post_run(
        self, image: str, script: str, key: uuid.UUID, *, through: int | None = None, **job: Any
    ) -> httpx.Response:
        """The answer to one run under this key of idempotency, asked for at our port or `through` another one."""
        now = "2026-01-02T03:04:05Z"
        run = {"project": "chaos", "context": {"bencher.dev/v0/repo/name": "chaos"}, "branch": "main", "results": []}
        body = {"image": image, "entrypoint": ["/bin/sh", "-c"], "cmd": [script], **job}
        times = {"start_time": now, "end_time": now}
        whole = {**run, **times, "testbed": "rack", "idempotency_key": str(key), "job": body}
        return self._api.post(f"http://127.0.0.1:{through or self.port}/v0/run", json=whole)

    def job(self, report: dict[str, Any]) -> dict[str, Any]:
        """The job of a report."""
        return self._get(f"/v0/projects/chaos/jobs/{report['job']}")

    def jobs_total(self) -> int:
        """How many jobs there ever were."""
        answer = self._api.get(f"{self.url}/v0/projects/chaos/jobs", params={"per_page": 1})
        return int(answer.headers["x-total-count"])

    def report(self, report: dict[str, Any]) -> dict[str, Any]:
        """The report as it is now."""
        return self._get(f"/v0/projects/chaos/reports/{report['uuid']}")

    def values(self, report: dict[str, Any]) -> list[float]:
        """Every value that is stored for a report, in the order of its iterations."""
        return [
            measure["metric"]["value"]
            for iteration in self.report(report)["results"]
            for result in iteration
            for measure in result["measures"]
        ]

    def ended(self, report: dict[str, Any]) -> dict[str, Any]:
        """The job, once it is in a state that it never leaves."""
        wait_until(lambda: self.job(report)["status"] in TERMINAL, "the job does not end")
        return self.job(report)

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._api.get(self.url + path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return self._api.get(f"{self.url}/v0/server/version", timeout=5).is_success
        except httpx.HTTPError:
            return False


@dataclass
class Agent:
    """`runner-agent run` under a name of its own: its containers are told from all others."""

    server: Server
    folder: Path
    runner: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Its environment, on top of what it needs."""
    engine: str | None = None
    """Where its engine answers; none: the one of this machine."""
    within: Sequence[str] = ()
    """A command that becomes the agent: what follows it on its line."""
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, *, stop_at: str | None = None) -> None:
        """Start it and wait until it is up; `stop_at`: it stops itself at this named point."""
        lives = self._lives()
        self.launch(stop_at=stop_at)
        wait_until(lambda: self._lives() > lives, "the agent does not start")

    def launch(self, *, stop_at: str | None = None) -> None:
        """Start it."""
        settings = {
            "RUNNER_AGENT_SERVER": self.server.url,
            "RUNNER_AGENT_RUNNER": self.runner,
            "RUNNER_AGENT_KEY_FILE": str(self.folder / "key"),
            "RUNNER_AGENT_STATE_DIR": str(self.folder / "state"),
            "RUNNER_AGENT_LOCK_FILE": str(self.folder / "lock"),
            "RUNNER_AGENT_RERUNS_MAX": "0",
            "RUNNER_AGENT_ISOLATION__TUNE": "false",  # This machine is not ours to tune.
            "RUNNER_AGENT_ISOLATION__CANARIES": "false",
            "RUNNER_AGENT_ISOLATION__GROUP": self._group,  # Others clear what they find in theirs.
        }
        armed = {"RUNNER_AGENT_STOP_AT": stop_at} if stop_at else {}
        if self.engine:
            armed["RUNNER_AGENT_ENGINE__DOCKER_HOST"] = self.engine
        with (self.folder / "agent.log").open("ab") as log:
            command = [*self.within, sys.executable, "-W", "error", "-m", "runner_agent", "run"]
            env = {**os.environ, **settings, **armed, **self.settings}
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def _lives(self) -> int:
        path = self.folder / "agent.log"
        return path.read_text().count("agent_started") if path.exists() else 0

    def state(self) -> str:
        """One letter, as in proc(5); T is stopped."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def await_stop(self) -> None:
        """Wait until it stands still at its point."""
        wait_until(lambda: self.state() == "T", lambda: "the agent never got there\n" + self.log())

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def drain(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=WAIT_S_MAX)

    def log(self) -> str:
        """All it has said so far, over all its lives."""
        return (self.folder / "agent.log").read_text()

    def containers(self) -> list[str]:
        """Every container that bears its name, running or not."""
        return self._docker("ps", "--all", "--quiet", "--filter", self._label)

    def left_on_engine(self) -> list[str]:
        """Every container, network and volume that bears its name."""
        networks = self._docker("network", "ls", "--quiet", "--filter", self._label)
        return self.containers() + networks + self._docker("volume", "ls", "--quiet", "--filter", self._label)

    @property
    def _label(self) -> str:
        return f"label=dev.runner-agent.identity={self.runner}"

    def _docker(self, *arguments: str) -> list[str]:
        command = ["docker", *(["-H", self.engine] if self.engine else []), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    def left_on_host(self) -> list[str]:
        """Control groups in which its jobs ran."""
        return [str(path) for pattern in (self._group, f"*/{self._group}") for path in GROUPS.glob(pattern)]

    @property
    def _group(self) -> str:
        return self.runner.replace("-", "")

    def left_on_disk(self) -> list[str]:
        """Reports that wait or were set aside, an unkept promise, and a host that was not put back."""
        state = self.folder / "state"
        return [path.name for pattern in ("spool/*", "current-job*", "tuning*") for path in state.glob(pattern)]


@contextmanager
def serving(folder: Path, database: str = "", settings: Mapping[str, str] = QUICK) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(folder, database, settings)
    server.operate("spec", "create", "small", "--memory-mib", "64", "--disk-mib", "64", "--fallback")
    server.start()
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=WAIT_S_MAX)


@contextmanager
def joined(server: Server, folder: Path, **how: Any) -> Iterator[Agent]:
    """A new runner and its agent, not started yet; killed at the end of the block if it still lives."""
    runner = f"chaos-{leftovers.MARK}-{uuid.uuid4().hex[:8]}"
    made = json.loads(server.operate("runner", "create", runner, "--spec", "small", "--json"))
    (folder / "key").write_text(made["key"])
    agent = Agent(server, folder, runner, **how)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.kill()
        server.operate("runner", "remove", runner)


def wait_until(true: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
    """Look again and again; what has not happened after a long while never will."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(0.05)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
