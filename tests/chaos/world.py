"""Everything real that chaos is done to: a server on one of the databases, agents, an engine of our own, cables.

Knows how to be whole again (`heal`) and what must hold then (`broken_invariants`); what is done to it is in `faults`.
"""

import json
import os
import re
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

from runner_agent.tuning import SETTINGS

# libfaketime takes the deadline of a sleep for a wrong argument.
SLEEP = """
import select, time

def sleep(seconds):
    select.select([], [], [], seconds)

time.sleep = sleep
"""
# What neither side may ever say, whatever is done to it: it would be a mistake of ours. That a socket was left to the
# collector is none: Docker's client leaves the one there with which it found no engine.
MISTAKES = "job_broke_the_agent|defect|sweep_failed|parsing_failed|results_not_stored"
DEFECTS = re.compile(rf'"event": ?"({MISTAKES})"|(?<!proto=0>\n)^Traceback', re.MULTILINE)
# A run is of a kind that follows from its number: one prints so much that its report is sent in pieces, one lasts.
KINDS, LARGE, LONG = 4, 0, 2
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
SETTLE_S_MAX = 300.0
# A machine that has ten times as much to do as it can keeps it.
LEASE_S = 6
# Faults fall thick: what an operator sees as a job that no host can run would end most jobs here.
SERVER = QUICK | {
    "SERVER_STUB_HEARTBEAT_S": "1",
    "SERVER_STUB_LEASE_S": f"{LEASE_S}",
    "SERVER_STUB_CONFIRM_S": f"{LEASE_S}",
    "SERVER_STUB_ATTEMPTS_MAX": "100",
    "SERVER_STUB_REQUEUE_S_MAX": "0.5",
    "SERVER_STUB_PIECE_BYTES_MAX": str(16 << 10),
}
# The settings of a host that are turned for each job, with their values before. Each agent sees files of its own there.
TUNED = {"swappiness": "60", "stat_interval": "1"}
ROWS = {row.name: row for row in SETTINGS}
AGENT = {
    "RUNNER_AGENT_POLL_TIMEOUT_S": "2",
    "RUNNER_AGENT_PAUSE_S_MAX": "1",
    "RUNNER_AGENT_ISOLATION__TUNE": "true",
    "RUNNER_AGENT_ISOLATION__SWITCHES": json.dumps({name: name in TUNED for name in ROWS}),
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
    def stdout(self) -> str:
        """A value that no other job prints."""
        return f'{{"sort": {{"latency": {{"value": {self.number}}}}}}}\n'

    @property
    def stderr(self) -> str:
        """Much of it, for the large ones."""
        return f"{self.number}\n" * (8000 if self.number % KINDS == LARGE else 0)

    @property
    def script(self) -> str:
        """Prints both, after a moment."""
        much = f"yes {self.number} | head -c {len(self.stderr)} >&2"
        wait = "2" if self.number % KINDS == LONG else f"0.{self.number % 7}"
        return f"sleep {wait}; printf '%s' '{self.stdout}'; {much}"


@dataclass
class Host:
    """One agent, the cable to its server, its disk and its clock."""

    agent: Agent
    cable: Cable
    disk: SmallDisk
    clock: Path
    settings: Path
    """The folder with the files that it turns."""

    def left(self) -> list[str]:
        """What a job leaves behind that should be gone after it."""
        turned = [f"{name} is {now}" for name in TUNED if (now := self.turned(name)) != TUNED[name]]
        return self.agent.left_on_engine() + self.agent.left_on_disk() + self.agent.left_on_host() + turned

    def turned(self, name: str) -> str:
        """The value of one setting now."""
        return (self.settings / name).read_text().strip()


@dataclass
class World:
    """All of it."""

    server: Server
    front: Cable
    """Between submitters and the server."""
    hosts: list[Host]
    engine: PrivateEngine
    disk: SmallDisk
    """The server's."""
    clock: Path
    postgresql: PostgresServer | None
    image: str
    submitted: list[Submitted] = field(default_factory=list)
    ever: int = 0
    """Runs that were asked for since the beginning."""
    killed_from_outside: set[str] = field(default_factory=set)
    """Jobs whose container somebody else killed: their own fault, as far as anybody can tell."""

    def submit(self, number: int, iterations: int) -> None:
        """Ask for one more run. Where nobody answers it is asked for again later, under the same key."""
        self.ever += 1
        self.submitted.append(Submitted(number, iterations))
        self.ask(self.submitted[-1])

    def ask(self, run: Submitted) -> None:
        """Send a run, the first time or again: the first report must be what comes back."""
        try:
            how = {"iter": run.iterations, "allow_failure": False}
            answer = self.server.post_run(self.image, run.script, run.key, through=self.front.port, **how)
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
        self.front.mend()
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
            if not self.broken_invariants(in_full=False):
                break
            self.revive()
            for run in self.submitted:
                if run.report is None:
                    self.ask(run)
            time.sleep(0.3)
        broken = self.broken_invariants() + self.defects()
        self.submitted.clear()
        self.killed_from_outside.clear()
        return broken

    def revive(self) -> None:
        """As the service manager does: an agent that was told to end is started again."""
        for host in self.hosts:
            if host.agent.process.poll() is not None:
                host.agent.launch()

    def broken_invariants(self, *, in_full: bool = True) -> list[str]:
        """One line for each thing that does not hold (yet); or the first one will do."""
        wrong = (line for run in self.submitted for line in self._wrong_with(run))
        if (first := next(wrong, None)) is not None:
            return [first, *wrong] if in_full else [first]
        broken = [] if (jobs := self.server.jobs_total()) == self.ever else [f"{self.ever} runs have made {jobs} jobs"]
        for host in self.hosts:
            name = host.agent.runner
            if host.agent.process.poll() is not None:
                broken.append(f"{name} has ended with {host.agent.process.returncode}")
            broken += [f"{name} leaves {what}" for what in host.left()]
        data = str(self.engine.directory / "data")
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return broken + [f"{mount} is mounted" for mount in mounts if mount.startswith(f"{data}/overlay2")]

    def defects(self) -> list[str]:
        """One line for each program that admits a mistake."""
        logs = {host.agent.runner: host.agent.log() for host in self.hosts}
        logs["the server"] = (self.server.folder / "server.log").read_text()
        return [f"{name} logs {what[0]}" for name, log in logs.items() if (what := DEFECTS.search(log))]

    def _wrong_with(self, run: Submitted) -> list[str]:
        if run.report is None:
            return [f"run {run.number} was never accepted"]
        job = self.server.job(run.report)
        if job["status"] not in TERMINAL:
            return [f"run {run.number} is {job['status']} at attempt {job.get('attempt')}"]
        if job["status"] == "failed" and run.report["job"] in self.killed_from_outside:
            return []
        printed = [(each.get("stdout"), each.get("stderr", "")) for each in job["output"]["results"]]
        rows = {row["name"]: row["achieved"] for row in job["isolation"]["settings"]}
        found = (job["status"], self.server.values(run.report), printed, [rows.get(name) for name in TUNED])
        values, prints = [float(run.number)] * run.iterations, [(run.stdout, run.stderr)] * run.iterations
        expected = ("processed", values, prints, [ROWS[name].wanted for name in TUNED])
        return [] if found == expected else [f"run {run.number} is {found} and not {expected}: {json.dumps(job)}"]


def stepped(clock: Path) -> dict[str, str]:
    """The environment of a process whose wall clock obeys this file; its monotonic clock is the machine's."""
    clock.write_text("+0s")
    patches = clock.with_suffix(".python")
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(SLEEP)
    return {
        "PYTHONPATH": str(patches),
        "LD_PRELOAD": str(FAKETIME[-1]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Else it ends each wait for Python's lock at once, and who waits turns in circles at a whole CPU's cost.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
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
        front = stack.enter_context(cabled(server.port))
        made = World(server, front, [], engine, disk, clock, postgresql, image)
        for number in range(agents):
            made.hosts.append(stack.enter_context(_host(made, folder / f"agent-{number}")))
        yield made
        made.heal()


@contextmanager
def _host(world: World, folder: Path) -> Iterator[Host]:
    folder.mkdir()
    clock, files = folder / "clock", folder / "settings"
    files.mkdir()
    for name, before in TUNED.items():
        (files / name).write_text(f"{before}\n")
    with cabled(world.server.port) as cable, small_disk(folder / "state", 16) as disk:
        settings = AGENT | stepped(clock) | {"RUNNER_AGENT_SERVER": f"http://127.0.0.1:{cable.port}"}
        with joined(world.server, folder, settings=settings, engine=world.engine.url, within=beside(files)) as agent:
            agent.start()
            yield Host(agent, cable, disk, clock, files)


def beside(files: Path) -> list[str]:
    """A command that sees these files where the host has its settings, and everything else as it is.

    The kernel's are written in one step. A kill may leave one of these cut and not written: that one is as it was.
    """
    cut = [f"{{ test -s {files / name} || echo {before} >{files / name}; }}" for name, before in TUNED.items()]
    mounts = [f"mount --bind {files / name} {ROWS[name].target}" for name in TUNED]
    script = " && ".join([*cut, *mounts, 'exec "$@"'])
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh"]


def signal_all(parent: int, number: signal.Signals) -> None:
    """Send a signal to a process and its children."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    for pid in (parent, *map(int, listing.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
