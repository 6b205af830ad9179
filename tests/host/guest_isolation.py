"""Runs inside the machine: holds it as a job does, and answers in JSON what was seen. Driven by test_isolation.py.

Reads one question a line, a JSON list, and answers each by a child of its own: half of an emulated minute would go by
with importing what the first has imported already.

run CPUS [DISTURB]     a container on the held host; before it one that is disturbed, if a command is given for it
astray CPUS            a container that is not put where it belongs
snapshot               every value that a hold may change
sweep CPUS DRIVER      die at each write in turn, and `restore` each time
die CPUS               die by SIGKILL with everything held
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn, Self
from unittest import mock

import anyio

from runner_agent import undo
from runner_agent.bench import Bench, Observation, Placement
from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.cpu_list import parse_cpu_list
from runner_agent.engine import EngineFacts, IterationOrder
from runner_agent.host import HostFiles
from runner_agent.isolation import BenchHost, IsolationSettings
from runner_agent.logs import configure
from runner_agent.tuning import SETTINGS, Means
from runner_agent.undo import restore
from runner_protocol.jobs import Limits, Spec
from runner_protocol.results import IsolationRecord

STATE = Path("/var/lib/runner-agent")
IMAGE = "bench-test:1"
KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, include/linux/sched.h."""
SERVICES = [row.target for row in SETTINGS if row.means is Means.SERVICE]
NO_SERVICES = {row.name: False for row in SETTINGS if row.means is Means.SERVICE}
"""Each question to systemd takes an emulated machine half a second. `die` and one of the sweeps ask them."""


def spec(cpus: int) -> Spec:
    return Spec(uuid=uuid.UUID(int=1), name="s", slug="s", cpu=cpus, memory=128 << 20, disk=64 << 20)


def engine() -> DockerEngine:
    return DockerEngine(EngineSettings(identity="vm", state_dir=STATE, local_images=True))


class Onlooker:
    """A bench that also looks at the host while the container runs: who else might be on its CPUs, and where we are."""

    def __init__(self, bench: Bench, *, astray: bool) -> None:
        self._bench = bench
        self._astray = astray
        self.record: IsolationRecord = bench.record
        self._cpus = parse_cpu_list(bench.record.benchmark_cpus)
        self.disturb = ""
        """A command that is run while the next container runs."""
        self.intruders: list[str] = []
        self.ours: list[str] = []
        self.allowed: list[list[int]] = []
        """Where each container might run, at the last look."""
        self.pid_1: list[list[int]] = []
        """Where everybody else might."""
        self._canary_ns = 0
        self.canary_ran_ns = 0

    async def prepare(self, number: int) -> Placement:
        placement = await self._bench.prepare(number)
        return Placement(cpuset_cpus="0") if self._astray else placement

    async def begin(self) -> None:
        await self._bench.begin()
        self._canary_ns = self._canary()

    async def started(self, pid: int) -> None:
        await self._bench.started(pid)
        self._look()
        subprocess.run(["bash", "-c", self.disturb], check=True)
        self.allowed.append(sorted(os.sched_getaffinity(pid)))
        # It has been seen enough of.
        os.kill(pid, signal.SIGTERM)

    async def end(self) -> Observation:
        self._look()
        self.pid_1.append(sorted(os.sched_getaffinity(1)))
        self.canary_ran_ns += self._canary() - self._canary_ns
        return await self._bench.end()

    def _look(self) -> None:
        canary = self._bench._held.canaries.pid  # type: ignore[attr-defined]
        for stat in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
            pid, thread = int(stat.parts[2]), int(stat.parts[4])
            try:
                flags = int(stat.read_text().rpartition(")")[2].split()[6])
                group = (stat.parent / "cgroup").read_text()
                allowed = os.sched_getaffinity(thread)
            except OSError:
                continue
            if pid == os.getpid() and allowed & self._cpus:
                self.ours.append(f"{thread}: {sorted(allowed)}")
            if not flags & KERNEL_THREAD and allowed & self._cpus and "bench" not in group and pid != canary:
                self.intruders.append(f"{(stat.parent / 'comm').read_text().strip()} {sorted(allowed)}")

    def _canary(self) -> int:
        """Nanoseconds that the canaries' process has run. Source: Documentation/scheduler/sched-stats."""
        pid = self._bench._held.canaries.pid  # type: ignore[attr-defined]
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


async def run(cpus: int, disturb: str = "", *, astray: bool = False) -> dict[str, object]:
    docker = engine()
    image = await docker.pull(IMAGE, auth=None, spec=spec(cpus), within_s=60, progress=lambda *_: None)
    records = []
    settings = IsolationSettings(switches=NO_SERVICES)
    async with BenchHost(Path("/"), settings, STATE, await docker.facts()).hold(spec(cpus)) as bench:
        onlooker = Onlooker(bench, astray=astray)
        for number, each in enumerate([disturb, ""] if disturb else [""]):
            onlooker.disturb = each
            records.append(await docker.run(_order(image, cpus, number), onlooker, lambda _: None))
    return {
        "iterations": [json.loads(record.model_dump_json()) for record in records],
        "isolation": json.loads(bench.record.model_dump_json()),
        "allowed": onlooker.allowed,
        "pid_1": onlooker.pid_1,
        "intruders": onlooker.intruders,
        "ours": onlooker.ours,
        "canary_ran_ns": onlooker.canary_ran_ns,
    }


def _order(image: object, cpus: int, number: int) -> IterationOrder:
    return IterationOrder(
        job="j",
        attempt=1,
        number=number,
        image=image,  # type: ignore[arg-type]
        spec=spec(cpus),
        limits=Limits(),
        within_s=120,
        entrypoint=("/bin/busybox",),
        cmd=("sleep", "100"),
    )


def snapshot(*, services: bool = True) -> dict[str, str | None]:
    """Every value that a hold may change: files, services, groups, and where threads may run."""
    files = HostFiles()
    found = {path: files.read(path) for row in SETTINGS if row.means is Means.FILE for path in files.list(row.target)}
    if services:
        ask = subprocess.run(["systemctl", "is-active", *SERVICES], capture_output=True, text=True, check=False)
        found |= dict(zip(SERVICES, ask.stdout.split(), strict=True))
    for path in ("/sys/fs/cgroup/cpuset.cpus.effective", "/sys/fs/cgroup/cgroup.subtree_control"):
        found[path] = files.read(path)
    for path in ("/sys/fs/cgroup/bench*", "/sys/fs/cgroup/*/bench*", "/run/systemd/system/bench*"):
        found[path] = " ".join(files.list(path))
    return found | _affinities()


def _affinities() -> dict[str, str]:
    """Of threads that live as long as the machine; the kernel makes and ends workers as it likes."""
    found = {}
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            name, allowed = comm.read_text().strip(), os.sched_getaffinity(int(comm.parts[2]))
        except OSError:
            continue
        if not name.startswith(("kworker", "python", "systemctl", "sshd", "bash", "timeout")):
            found[f"affinity of {comm.parts[2]} {name}"] = str(sorted(allowed))
    return found


class Deaths:
    """Counts what changes the host: writes to its files, orders to systemd, and of where a thread may run."""

    def __init__(self, die_at: int | None) -> None:
        self.writes = 0
        self._die_at = die_at
        self._undone = ExitStack()

    def __enter__(self) -> Self:
        patch = self._undone.enter_context
        patch(mock.patch.object(HostFiles, "write", self._counted(HostFiles.write)))
        patch(mock.patch.object(Path, "write_text", self._counted(Path.write_text)))
        patch(mock.patch.object(os, "sched_setaffinity", self._counted(os.sched_setaffinity)))
        patch(mock.patch.object(undo, "_run", self._counted(undo._run)))
        return self

    def __exit__(self, *_: object) -> None:
        self._undone.close()

    def _counted(self, change: Callable[..., object]) -> Callable[..., object]:
        def counted(*words: object, **more: object) -> object:
            answer = change(*words, **more)
            if "is-active" not in words:  # A question.
                self.writes += 1
            if self.writes == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counted


def held(cpus: int, facts: EngineFacts, switches: dict[str, bool], die_at: int | None) -> int:
    """Hold the host and let go of it, or die at that write; how many writes there were until all was held."""

    async def hold() -> int:
        with Deaths(die_at) as deaths:
            async with BenchHost(Path("/"), IsolationSettings(switches=switches), STATE, facts).hold(spec(cpus)):
                return deaths.writes

    return anyio.run(hold)


def sweep(cpus: int, driver: str) -> dict[str, object]:
    """Die at every write in turn; each time let `restore` put the host back and look at every value.

    Services go with the systemd driver, everything else with plain cgroups.
    """
    services = driver == "systemd"
    switches = {row.name: (row.means is Means.SERVICE) == services for row in SETTINGS if not row.on_request}
    facts = replace(anyio.run(engine().facts), cgroup_driver=driver)
    before = snapshot(services=services)
    writes = _in_child(partial(held, cpus, facts, switches, None))
    wrong = {}
    for die_at in range(1, writes + 1):
        killed = _in_child(partial(held, cpus, facts, switches, die_at))
        said = restore(STATE)
        after = snapshot(services=services)
        changed = {name: [was, after.get(name)] for name, was in before.items() if after.get(name, was) != was}
        if changed or killed != -signal.SIGKILL:
            wrong[die_at] = [killed, changed, said]
    return {"writes": writes, "values": len(before), "wrong": wrong}


def _in_child(work: Callable[[], int]) -> int:
    """What it gives, or minus the signal that ended it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(work()).encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(answer.read())


def die(cpus: int) -> NoReturn:
    """SIGKILL with everything held, as systemd's own units."""

    async def hold() -> None:
        async with BenchHost(Path("/"), IsolationSettings(), STATE, await engine().facts()).hold(spec(cpus)):
            os.kill(os.getpid(), signal.SIGKILL)

    anyio.run(hold)
    raise AssertionError("still alive")


def answer(verb: str, *words: str) -> object:
    match verb:
        case "run":
            return anyio.run(partial(run, int(words[0]), *words[1:]))
        case "astray":
            return anyio.run(partial(run, int(words[0]), astray=True))
        case "sweep":
            return sweep(int(words[0]), words[1])
        case "die":
            return die(int(words[0]))
        case _:
            return snapshot()


def main() -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    configure("warning", "json")
    for question in sys.stdin:
        child = os.fork()
        if child == 0:
            print("\n" + json.dumps(answer(*json.loads(question))), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
