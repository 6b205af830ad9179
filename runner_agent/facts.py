"""What is known of a machine, as frozen records: CPUs and how they hang together. Reads nothing itself."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The two kinds of cores of a hybrid processor. A processor with one kind has `PERFORMANCE` cores only."""

    PERFORMANCE = "performance"
    EFFICIENCY = "efficiency"


@dataclass(frozen=True, slots=True, order=True)
class Cpu:
    """One logical CPU that is online."""

    number: int
    core: int
    """Lowest number among the CPUs (SMT siblings) of its core."""
    package: int = 0
    node: int = 0
    """NUMA node."""
    cache: int = 0
    """Lowest number among the CPUs that share its last-level cache."""
    kind: Kind = Kind.PERFORMANCE


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPUs of a host."""

    cpus: tuple[Cpu, ...]
    allowed: frozenset[int] | None = None
    """What the root of the cpuset hierarchy grants; none: everything that is online."""
    isolated_at_boot: frozenset[int] = frozenset()
    """From `isolcpus=`: nothing balances threads over these."""

    @property
    def usable(self) -> tuple[Cpu, ...]:
        """Online and granted, by number."""
        return tuple(cpu for cpu in sorted(self.cpus) if self.allowed is None or cpu.number in self.allowed)


@dataclass(frozen=True, slots=True)
class CpuPlan:
    """Who gets which CPUs for the length of a job. The three sets do not overlap, unless `note` says so."""

    benchmark: frozenset[int]
    idle: frozenset[int]
    """SMT siblings of benchmark CPUs: held free, since a thread there takes half of the core."""
    housekeeping: frozenset[int]
    nodes: frozenset[int]
    """NUMA nodes of the benchmark CPUs, where its memory should come from."""
    note: str | None = None
    """What is less than ideal about the choice."""

    @property
    def held(self) -> frozenset[int]:
        """Everything that nobody else may run on."""
        return self.benchmark | self.idle

    @property
    def exclusive(self) -> bool:
        """Whether somebody else has a CPU of their own to go to."""
        return bool(self.housekeeping) and not self.housekeeping & self.held


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan."""

    reason: str
