"""A real server process and real agent processes on loopback, to be stopped, killed and started again by tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import leftovers

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
    """`server-stub serve` on a SQLite file, always on the same port."""

    folder: Path
    port: int = field(default_factory=lambda: free_port())  # noqa: PLW0108  It is defined further down.
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> str:
        """The database's URL."""
        return f"sqlite:///{self.folder / 'bench.db'}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "server_stub", "serve", "--port", str(self.port), "--database", self.database]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=os.environ | QUICK, stdout=log, stderr=log)
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
        now = "2026-01-02T03:04:05Z"
        run = {"project": "chaos", "context": {"bencher.dev/v0/repo/name": "chaos"}, "branch": "main", "results": []}
        body = {"image": image, "entrypoint": ["/bin/sh", "-c"], "cmd": [script], **job}
        answer = httpx.post(
            f"{self.url}/v0/run",
            json={**run, "testbed": "rack", "start_time": now, "end_time": now, "job": body},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
        report: dict[str, Any] = answer.json()
        return report

    def job(self, report: dict[str, Any]) -> dict[str, Any]:
        """The job of a report."""
        return self._get(f"/v0/projects/chaos/jobs/{report['job']}")

    def report(self, report: dict[str, Any]) -> dict[str, Any]:
        """The report as it is now."""
        return self._get(f"/v0/projects/chaos/reports/{report['uuid']}")

    def ended(self, report: dict[str, Any]) -> dict[str, Any]:
        """The job, once it is in a state that it never leaves."""
        wait_until(lambda: self.job(report)["status"] in TERMINAL, "the job does not end")
        return self.job(report)

    def _get(self, path: str) -> dict[str, Any]:
        answer = httpx.get(self.url + path, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return httpx.get(f"{self.url}/v0/server/version", timeout=5).is_success
        except httpx.HTTPError:
            return False


@dataclass
class Agent:
    """`runner-agent run` under a name of its own: its containers are told from all others."""

    server: Server
    folder: Path
    runner: str
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, *, stop_at: str | None = None) -> None:
        """Start it and wait until it is up; `stop_at`: it stops itself at this named point."""
        settings = {
            "RUNNER_AGENT_SERVER": self.server.url,
            "RUNNER_AGENT_RUNNER": self.runner,
            "RUNNER_AGENT_KEY_FILE": str(self.folder / "key"),
            "RUNNER_AGENT_STATE_DIR": str(self.folder / "state"),
            "RUNNER_AGENT_LOCK_FILE": str(self.folder / "lock"),
            "RUNNER_AGENT_RERUNS_MAX": "0",
            "RUNNER_AGENT_ISOLATION__TUNE": "false",  # This machine is not ours to tune.
            "RUNNER_AGENT_ISOLATION__CANARIES": "false",
            "RUNNER_AGENT_ISOLATION__GROUP": self.runner.replace("-", ""),  # Others clear what they find in theirs.
        }
        armed = {"RUNNER_AGENT_STOP_AT": stop_at} if stop_at else {}
        lives = self._lives()
        with (self.folder / "agent.log").open("ab") as log:
            command = [sys.executable, "-W", "error", "-m", "runner_agent", "run"]
            self.process = subprocess.Popen(command, env=os.environ | settings | armed, stdout=log, stderr=log)
        wait_until(lambda: self._lives() > lives, "the agent does not start")

    def _lives(self) -> int:
        path = self.folder / "agent.log"
        return path.read_text().count("agent_started") if path.exists() else 0

    def await_stop(self) -> None:
        """Wait until it stands still at its point."""
        wait_until(lambda: _state_of(self.process.pid) == "T", lambda: "the agent never got there\n" + self.log())

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
        label = f"label=dev.runner-agent.identity={self.runner}"
        listing = ["docker", "ps", "--all", "--quiet", "--filter", label]
        return subprocess.run(listing, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    def left_on_disk(self) -> list[str]:
        """Reports that wait or were set aside, and an unkept promise."""
        state = self.folder / "state"
        spool = [path.name for path in (state / "spool").iterdir()]
        return spool + [path.name for path in state.glob("current-job*")]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(folder)
    server.operate("spec", "create", "small", "--memory-mib", "64", "--disk-mib", "64", "--fallback")
    server.start()
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=WAIT_S_MAX)


@contextmanager
def joined(server: Server, folder: Path) -> Iterator[Agent]:
    """A new runner and its agent, not started yet; killed at the end of the block if it still lives."""
    runner = f"chaos-{leftovers.MARK}-{uuid.uuid4().hex[:8]}"
    made = json.loads(server.operate("runner", "create", runner, "--spec", "small", "--json"))
    (folder / "key").write_text(made["key"])
    agent = Agent(server, folder, runner)
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


def _state_of(pid: int) -> str:
    """One letter, as in proc(5); T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
