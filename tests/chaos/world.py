"""Everything real that chaos is done to: a server on one of the databases, agents, an engine of our own, cables.

Knows how to be whole again (`heal`) and what must hold then (`broken_invariants`); what is done to it is in `faults`.
"""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import images
import registry as registries
from cable import Cable, cabled
from postgresql_server import PostgresServer
from private_engine import PrivateEngine, private_engine
from processes import QUICK, TERMINAL, Agent, Server, joined, serving
from small_disk import SmallDisk, small_disk

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
# A job that lost its third attempt waits two minutes for the next one, and again after each that it loses then.
SETTLE_S_MAX = 480.0
# Faults fall thick: what an operator sees as a job that no host can run would end most jobs here.
SERVER = QUICK | {"SERVER_STUB_ATTEMPTS_MAX": "100"}
AGENT = {
    "RUNNER_AGENT_POLL_TIMEOUT_S": "5",
    "RUNNER_AGENT_GATE__STATE_FREE_BYTES_MIN": str(1 << 20),
    "RUNNER_AGENT_GATE__IMAGE_FREE_BYTES_MIN": "0",
    "RUNNER_AGENT_ENGINE__DISK_FREE_BYTES_MIN": "0",
}


@dataclass
class Submitted:
    """One run that was asked for, and what must come of it."""

    number: int
    iterations: int
    key: uuid.UUID = field(default_factory=uuid.uuid4)
    report: dict[str, str] | None = None
    """As the server first answered; none while it has not."""

    @property
    def script(self) -> str:
        """Prints a value that no other job prints, after a moment."""
        return f"""sleep 0.{self.number % 7}; echo '{{"sort": {{"latency": {{"value": {self.number}}}}}}}'"""


@dataclass
class Host:
    """One agent, the cable to its server, its disk and its clock."""

    agent: Agent
    cable: Cable
    disk: SmallDisk
    clock: Path


@dataclass
class World:
    """All of it."""

    server: Server
    hosts: list[Host]
    engine: PrivateEngine
    disk: SmallDisk
    """The server's."""
    clock: Path
    postgresql: PostgresServer | None
    image: str
    submitted: list[Submitted] = field(default_factory=list)
    killed_from_outside: set[str] = field(default_factory=set)
    """Jobs whose container somebody else killed: their own fault, as far as anybody can tell."""

    def submit(self, number: int, iterations: int) -> None:
        """Ask for one more run. Where nobody answers it is asked for again later, under the same key."""
        self.submitted.append(Submitted(number, iterations))
        self.ask(self.submitted[-1])

    def ask(self, run: Submitted) -> None:
        """Send a run, the first time or again: the first report must be what comes back."""
        try:
            how = {"iter": run.iterations, "allow_failure": False}
            answer = self.server.post_run(self.image, run.script, run.key, **how)
        except httpx.HTTPError:
            return
        if answer.status_code == 503:
            assert "retry-after" in answer.headers
            return
        assert answer.status_code == 201, answer.text
        report = {name: answer.json()[name] for name in ("uuid", "job")}
        assert run.report in (None, report), (run, report)
        run.report = report

    def set_clock(self, clock: Path, offset_s: int) -> None:
        """Step a process's wall clock while it runs."""
        clock.write_text(f"{offset_s:+d}s")

    def heal(self) -> None:
        """Whatever was done is undone: everything runs and every way is open."""
        self.engine.signal(signal.SIGCONT)
        if self.engine.process.poll() is not None:
            self.engine.start()
        if self.postgresql:
            signal_all(self.postgresql.pid, signal.SIGCONT)
        for disk in (self.disk, *(host.disk for host in self.hosts)):
            disk.make_room()
        self.set_clock(self.clock, 0)
        if self.server.process.poll() is not None:
            self.server.launch()
        self.server.ready()
        for host in self.hosts:
            host.cable.mend()
            self.set_clock(host.clock, 0)
            if host.agent.process.poll() is None:
                host.agent.process.send_signal(signal.SIGCONT)
            else:
                host.agent.launch()

    def settle(self) -> list[str]:
        """Be whole, wait until every run has ended and everybody is idle, and say what does not hold."""
        self.heal()
        for run in self.submitted:
            self.ask(run)  # Again: the answer must be the first report's.
        deadline = time.monotonic() + SETTLE_S_MAX
        while time.monotonic() < deadline:
            if not (broken := self.broken_invariants()):
                break
            self.revive()
            time.sleep(0.3)
        self.submitted.clear()
        self.killed_from_outside.clear()
        return broken

    def revive(self) -> None:
        """As the service manager does: an agent that was told to end is started again."""
        for host in self.hosts:
            if host.agent.process.poll() is not None:
                host.agent.launch()

    def broken_invariants(self) -> list[str]:
        """One line for each thing that does not hold (yet)."""
        broken = [line for run in self.submitted for line in self._wrong_with(run)]
        for host in self.hosts:
            name = host.agent.runner
            if host.agent.process.poll() is not None:
                broken.append(f"{name} has ended with {host.agent.process.returncode}")
            left = host.agent.left_on_engine() + host.agent.left_on_disk()
            broken += [f"{name} leaves {what}" for what in left]
        data = str(self.engine.directory / "data")
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return broken + [f"{mount} is mounted" for mount in mounts if mount.startswith(f"{data}/overlay2")]

    def _wrong_with(self, run: Submitted) -> list[str]:
        if run.report is None:
            return [f"run {run.number} was never accepted"]
        job = self.server.job(run.report)
        if job["status"] not in TERMINAL:
            return [f"run {run.number} is {job['status']} at attempt {job.get('attempt')}"]
        if job["status"] == "failed" and run.report["job"] in self.killed_from_outside:
            return []
        found = (job["status"], self.server.values(run.report))
        expected = ("processed", [float(run.number)] * run.iterations)
        return [] if found == expected else [f"run {run.number} is {found} and not {expected}: {json.dumps(job)}"]


def stepped(clock: Path) -> dict[str, str]:
    """The environment of a process whose wall clock obeys this file; its monotonic clock is the machine's."""
    clock.write_text("+0s")
    return {
        "LD_PRELOAD": str(FAKETIME[-1]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


@contextmanager
def world(folder: Path, database: str, agents: int = 2) -> Iterator[World]:
    """All of it, whole, for the length of the block."""
    with ExitStack() as stack:
        for name in ("engine", "registry", "server"):
            (folder / name).mkdir(parents=True)
        engine = stack.enter_context(private_engine(folder / "engine"))
        registry = stack.enter_context(registries.serving(folder / "registry"))
        image = registry.push("tests/chaos", images.image())
        postgresql = stack.enter_context(PostgresServer.started(durable=True)) if database == "postgresql" else None
        disk = stack.enter_context(small_disk(folder / "server-disk", 64))
        sqlite = f"sqlite:///{disk.folder / 'bench.db'}"
        url = stack.enter_context(postgresql.fresh_database()) if postgresql else sqlite
        clock = folder / "server-clock"
        server = stack.enter_context(serving(folder / "server", url, SERVER | stepped(clock)))
        made = World(server, [], engine, disk, clock, postgresql, image)
        for number in range(agents):
            made.hosts.append(stack.enter_context(_host(made, folder / f"agent-{number}")))
        yield made
        made.heal()


@contextmanager
def _host(world: World, folder: Path) -> Iterator[Host]:
    folder.mkdir()
    clock = folder / "clock"
    with cabled(world.server.port) as cable, small_disk(folder / "state", 16) as disk:
        settings = AGENT | stepped(clock) | {"RUNNER_AGENT_SERVER": f"http://127.0.0.1:{cable.port}"}
        with joined(world.server, folder, settings=settings, engine=world.engine.url) as agent:
            agent.start()
            yield Host(agent, cable, disk, clock)


def signal_all(parent: int, number: signal.Signals) -> None:
    """Send a signal to a process and its children."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    for pid in (parent, *map(int, listing.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
