"""The seam between running a job and keeping the host quiet: where a container goes, and who watches it.

Holds only records and protocols. `isolation.py` keeps the promise on a real host; `OpenBench` makes none.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from runner_protocol.jobs import Spec
from runner_protocol.results import HostRecord, IsolationRecord, Verdict, Word


@dataclass(frozen=True, slots=True)
class Placement:
    """What a container's creation must carry to land on the benchmark's CPUs."""

    cgroup_parent: str | None = None
    """A slice (systemd driver) or a path (cgroupfs driver)."""
    cpuset_cpus: str | None = None
    """Only where no partition is held: the engine refuses CPUs of a partition by name."""
    cpuset_mems: str | None = None
    security_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one iteration from outside."""

    verdict: Verdict
    cpu_ns: int | None = None
    memory_peak_bytes: int | None = None


class Bench(Protocol):
    """The benchmark's CPUs, held for the length of one job. Calls come in the order in which they stand here."""

    @property
    def record(self) -> IsolationRecord:
        """What is in force, read back; complete once the block has begun."""
        ...

    async def prepare(self, number: int) -> Placement:
        """Make room for iteration `number`, before its container is created."""
        ...

    async def begin(self) -> None:
        """Read every counter and run the canaries: the very last thing before the container starts."""
        ...

    async def started(self, pid: int) -> None:
        """Verify from outside that process `pid` (on the host) and its threads landed where they should."""
        ...

    async def end(self) -> Observation:
        """Read every counter again, right after the container's exit, and judge. Frees what `prepare` made."""
        ...


class Host(Protocol):
    """This machine, as the story of a job needs it."""

    def record(self) -> HostRecord:
        """The machine as far as it bears on numbers."""
        ...

    def hold(self, spec: Spec) -> AbstractAsyncContextManager[Bench]:
        """Keep the host quiet for one job. Raises `JobFault` where the spec asks for more than the host has."""
        ...


class OpenBench:
    """No isolation and nobody watching: every verdict is unknown."""

    def __init__(self, note: str) -> None:
        self._record = IsolationRecord(note=note)

    @property
    def record(self) -> IsolationRecord:
        """Level `none`, with the reason."""
        return self._record

    async def prepare(self, number: int) -> Placement:
        """Anywhere."""
        return Placement()

    async def begin(self) -> None:
        """Nothing is read."""

    async def started(self, pid: int) -> None:
        """Nothing is verified."""

    async def end(self) -> Observation:
        """Nothing is known."""
        return Observation(Verdict(word=Word.UNKNOWN))
