"""What the programs about noise share: a worker that does fixed work, neighbours that disturb it, and the truth."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner_agent.engine import EngineFacts

HERE = Path(__file__).parent
CGROUP = Path("/sys/fs/cgroup")
CONTROLLERS_V1 = ("cpuset", "cpuacct", "cpu", "memory")
STOP_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One burst of a neighbour, in nanoseconds of CLOCK_MONOTONIC."""

    begin_ns: int
    end_ns: int

    def overlap_ns(self, begin_ns: int, end_ns: int) -> int:
        """How much of a span it fills."""
        return max(0, min(self.end_ns, end_ns) - max(self.begin_ns, begin_ns))


class Worker:
    """A process that does fixed work on one CPU when it is told to."""

    def __init__(self, cpu: int) -> None:
        command = [sys.executable, "-I", "-S", str(HERE / "work.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._home = _own_groups()
        os.sched_setaffinity(self._process.pid, {cpu})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def do(self, kind: str, share: float = 1.0) -> int:
        """Nanoseconds that it took."""
        self.begin(kind, share)
        return self.end()[0]

    def begin(self, kind: str, share: float = 1.0, *, last: bool = False) -> None:
        """Let it begin; after its `last` work it ends by itself, as a container's command does."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {share}\n".encode())
        if last:
            self._process.stdin.close()

    def end(self) -> tuple[int, int]:
        """Wait until it is done. Nanoseconds on the wall, and those in which it had a CPU."""
        assert self._process.stdout is not None
        wall_ns, cpu_ns = map(int, self._process.stdout.readline().split())
        return wall_ns, cpu_ns

    def enter(self, parent: str) -> None:
        """Go into the cgroup of an iteration, as a container would."""
        for directory in _directories(parent):
            (directory / "cgroup.procs").write_text(str(self.pid))

    def leave(self) -> None:
        """Go back to where it was born, before the iteration's cgroup is cleared."""
        for directory in self._home:
            (directory / "cgroup.procs").write_text(str(self.pid))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(STOP_S_MAX)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def worker(cpu: int) -> Iterator[Worker]:
    """A worker for the length of the block."""
    made = Worker(cpu)
    try:
        yield made
    finally:
        made.close()


def _unified() -> bool:
    return (CGROUP / "cgroup.controllers").exists()


def _directories(path: str) -> list[Path]:
    roots = [CGROUP] if _unified() else [CGROUP / name for name in CONTROLLERS_V1]
    return [directory for root in roots if (directory := root / path.lstrip("/")).is_dir()]


def _own_groups() -> list[Path]:
    """Where this process lives, in each hierarchy that an iteration's cgroup is made in."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    if _unified():
        return [CGROUP / path.lstrip("/") for _, names, path in lines if not names]
    wanted = set(CONTROLLERS_V1)
    return [CGROUP / names / path.lstrip("/") for _, names, path in lines if wanted & set(names.split(","))]


def facts() -> EngineFacts:
    """As an engine on this host would tell, with the cgroupfs driver."""
    return EngineFacts(
        name="none",
        version="0",
        api_version="0",
        cgroup_driver="cgroupfs",
        cgroup_version=2 if _unified() else 1,
        storage_driver="none",
        root_dir="/",
        runtimes=frozenset(),
        default_runtime="",
        security=frozenset(),
        architecture="x86_64",
    )


@contextmanager
def neighbour(kind: str | None, cpu: int) -> Iterator[list[Phase]]:
    """A neighbour for the length of the block. Its bursts are in the list once the block has ended."""
    phases: list[Phase] = []
    if kind is None:
        yield phases
        return
    with tempfile.NamedTemporaryFile(prefix="truth-") as truth:
        command = [sys.executable, str(HERE / "neighbours.py"), kind, str(cpu), truth.name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield phases
        finally:
            process.kill()
            process.communicate()
            phases += read_truth(Path(truth.name).read_text().splitlines(), time.monotonic_ns())


def read_truth(lines: Sequence[str], now_ns: int) -> list[Phase]:
    """The bursts. The last one may have no end: the neighbour was killed, just now."""
    bursts = [[int(word) for word in line.split()] for line in lines]
    return [Phase(begin_ns, *(ends_ns or [now_ns])) for begin_ns, *ends_ns in bursts]
