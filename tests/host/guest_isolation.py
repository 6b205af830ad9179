"""Runs inside the machine: holds it as a job does, and prints as JSON what was seen. Driven by test_isolation.py.

guest_isolation.py run CPUS SCRIPT [DISTURB] [ITERATIONS]   containers on the held host; DISTURB runs beside the first
guest_isolation.py astray CPUS SCRIPT                       one container that is not put where it belongs
guest_isolation.py snapshot                                 every value that a hold may change
guest_isolation.py sweep CPUS                               die at each write in turn, and `restore` each time
guest_isolation.py die CPUS                                 die by SIGKILL with everything held
guest_isolation.py restore                                  put back what a killed one left
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import anyio

from runner_agent.bench import Bench, Observation, Placement
from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.cpu_list import parse_cpu_list
from runner_agent.engine import EngineFacts, IterationOrder
from runner_agent.host import HostFiles
from runner_agent.isolation import BenchHost, IsolationSettings
from runner_agent.tuning import SETTINGS, Means
from runner_agent.undo import restore
from runner_protocol.jobs import Limits, Spec
from runner_protocol.results import IsolationRecord

STATE = Path("/var/lib/bench-test")
IMAGE = "bench-test:1"
KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, include/linux/sched.h."""


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
        self.intruders: list[str] = []
        self.ours: list[str] = []
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

    async def end(self) -> Observation:
        self._look()
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


async def run(
    cpus: int, script: str, disturb: str = "", iterations: int = 1, *, astray: bool = False
) -> dict[str, object]:
    docker = engine()
    image = await docker.pull(IMAGE, auth=None, spec=spec(cpus), within_s=60, progress=lambda *_: None)
    records, outside = [], []
    async with BenchHost(Path("/"), IsolationSettings(), STATE, await docker.facts()).hold(spec(cpus)) as bench:
        onlooker = Onlooker(bench, astray=astray)
        for number in range(iterations):
            beside = subprocess.Popen(["bash", "-c", disturb]) if disturb and number == 0 else None
            records.append(await docker.run(_order(image, cpus, number, script), onlooker, lambda _: None))
            if beside is not None:
                beside.wait()
            outside.append(Path("/proc/1/status").read_text().split("Cpus_allowed_list:\t")[1].split("\n")[0])
        isolation = bench.record
    return {
        "iterations": [json.loads(record.model_dump_json()) for record in records],
        "isolation": json.loads(isolation.model_dump_json()),
        "pid_1": outside,
        "intruders": onlooker.intruders,
        "ours": onlooker.ours,
        "canary_ran_ns": onlooker.canary_ran_ns,
    }


def _order(image: object, cpus: int, number: int, script: str) -> IterationOrder:
    return IterationOrder(
        job="j",
        attempt=1,
        number=number,
        image=image,  # type: ignore[arg-type]
        spec=spec(cpus),
        limits=Limits(),
        within_s=120,
        entrypoint=("/bin/sh", "-c"),
        cmd=(script,),
    )


def snapshot(*, services: bool = True) -> dict[str, str | None]:
    """Every value that a hold may change: files, services, groups, and where threads may run."""
    files = HostFiles()
    found = {path: files.read(path) for row in SETTINGS if row.means is Means.FILE for path in files.list(row.target)}
    for row in SETTINGS:
        if services and row.means is Means.SERVICE:
            found[row.target] = subprocess.run(
                ["systemctl", "is-active", row.target], capture_output=True, text=True, check=False
            ).stdout.strip()
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
    """Counts the writes to the host: to its files, and of where a thread may run."""

    def __init__(self, die_at: int | None) -> None:
        self.writes = 0
        self._die_at = die_at
        self._write, self._move = HostFiles.write, os.sched_setaffinity

    def __enter__(self) -> Self:
        def write(files: HostFiles, path: str, text: str) -> str | None:
            answer = self._write(files, path, text)
            self._count()
            return answer

        def move(pid: int, cpus: Iterable[int]) -> None:
            self._move(pid, cpus)
            self._count()

        HostFiles.write = write  # type: ignore[method-assign,assignment]
        os.sched_setaffinity = move
        return self

    def __exit__(self, *_: object) -> None:
        HostFiles.write, os.sched_setaffinity = self._write, self._move  # type: ignore[method-assign]

    def _count(self) -> None:
        self.writes += 1
        if self.writes == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def held(cpus: int, facts: EngineFacts, die_at: int | None) -> int:
    """Hold the host and let go of it, or die at that write; how many writes there were until all was held."""

    async def hold() -> int:
        with Deaths(die_at) as deaths:
            async with BenchHost(Path("/"), IsolationSettings(switches=NO_SERVICES), STATE, facts).hold(spec(cpus)):
                return deaths.writes

    return anyio.run(hold)


# The sweep holds the host a hundred times; each question to systemd takes an emulated machine half a second.
NO_SERVICES = {row.name: False for row in SETTINGS if row.means is Means.SERVICE}


def sweep(cpus: int) -> dict[str, object]:
    """Die at every write in turn; each time let `restore` put the host back and look at every value."""
    # With plain cgroups: systemd's own are made by its unit files, which `die` covers.
    facts = replace(anyio.run(engine().facts), cgroup_driver="cgroupfs")
    before = snapshot(services=False)
    writes = _in_child(partial(held, cpus, facts, None))
    wrong = {}
    for die_at in range(1, writes + 1):
        killed = _in_child(partial(held, cpus, facts, die_at))
        said = restore(STATE)
        after = snapshot(services=False)
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


def die(cpus: int) -> None:
    """SIGKILL with everything held, as systemd's own units."""

    async def hold() -> None:
        async with BenchHost(Path("/"), IsolationSettings(), STATE, await engine().facts()).hold(spec(cpus)):
            os.kill(os.getpid(), signal.SIGKILL)

    anyio.run(hold)


def main(verb: str, *words: str) -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    match verb:
        case "run":
            disturb, iterations = words[2] if len(words) > 2 else "", int(words[3]) if len(words) > 3 else 1
            found: object = anyio.run(run, int(words[0]), words[1], disturb, iterations)
        case "astray":
            found = anyio.run(partial(run, int(words[0]), words[1], astray=True))
        case "sweep":
            found = sweep(int(words[0]))
        case "die":
            die(int(words[0]))
            return
        case "snapshot":
            found = snapshot()
        case _:
            found = restore(STATE)
    sys.stderr.flush()
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
