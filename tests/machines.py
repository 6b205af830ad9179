"""Machines as data: the topologies that `cores.plan_cpus` is tried on. A new case is a new row."""

from collections.abc import Iterator
from dataclasses import dataclass

from runner_agent.cpu_list import parse_cpu_list
from runner_agent.facts import Cpu, Kind, Topology


@dataclass(frozen=True)
class Shape:
    """A regular machine. Threads of one core are numbered as most firmware does: all first threads, then all second."""

    packages: int = 1
    nodes: int = 1
    """In each package."""
    caches: int = 1
    """Last-level caches in each node."""
    cores: int = 1
    """In each cache."""
    threads: int = 1
    adjacent: bool = False
    """Siblings are numbered side by side (0 and 1), as some servers do."""


def machine(shape: Shape, **changes: object) -> Topology:
    """The topology of a regular machine."""
    return Topology(tuple(_cpus(shape)), **changes)  # type: ignore[arg-type]


def _cpus(shape: Shape) -> Iterator[Cpu]:
    per_cache = shape.cores
    total = shape.packages * shape.nodes * shape.caches * shape.cores
    for core in range(total):
        first = core * shape.threads if shape.adjacent else core
        cache = core // per_cache
        node = cache // shape.caches
        first_of_cache = cache * per_cache * (shape.threads if shape.adjacent else 1)
        for thread in range(shape.threads):
            number = first + thread if shape.adjacent else core + thread * total
            yield Cpu(number, first, node // shape.nodes, node, first_of_cache)


def hybrid(performance: int, efficiency: int, *, threads: int = 2) -> Topology:
    """P cores with SMT, siblings side by side, then E cores, all under one cache."""
    fast = [Cpu(core * threads + thread, core * threads) for core in range(performance) for thread in range(threads)]
    start = performance * threads
    slow = [Cpu(start + core, start + core, kind=Kind.EFFICIENCY) for core in range(efficiency)]
    return Topology((*fast, *slow))


def without(topology: Topology, offline: str) -> Topology:
    """The same machine with CPUs switched off: holes in the numbering."""
    gone = parse_cpu_list(offline)
    return Topology(tuple(cpu for cpu in topology.cpus if cpu.number not in gone), topology.allowed)


def granted(topology: Topology, allowed: str) -> Topology:
    """The same machine as a container or a virtual machine's agent may see it."""
    return Topology(topology.cpus, parse_cpu_list(allowed))


def booted_with(topology: Topology, isolcpus: str) -> Topology:
    """The same machine with `isolcpus=` on its command line."""
    return Topology(topology.cpus, topology.allowed, parse_cpu_list(isolcpus))


ONE = machine(Shape())
TWO = machine(Shape(cores=2))
ONE_CORE_SMT = machine(Shape(threads=2))
FOUR = machine(Shape(cores=4))
LAPTOP = machine(Shape(cores=4, threads=2))
DESKTOP = machine(Shape(cores=8, threads=2))
ADJACENT = machine(Shape(cores=4, threads=2, adjacent=True))
RYZEN_TWO_CACHES = machine(Shape(caches=2, cores=8, threads=2))
EPYC_ROME = machine(Shape(packages=1, nodes=4, caches=4, cores=4, threads=2))
DUAL_16 = machine(Shape(packages=2, cores=16, threads=2))
DUAL_64 = machine(Shape(packages=2, nodes=4, caches=2, cores=8, threads=2))
DUAL_NO_SMT = machine(Shape(packages=2, cores=8))
ARM_80 = machine(Shape(packages=1, nodes=1, caches=1, cores=80))
POWER_SMT4 = machine(Shape(cores=4, threads=4, adjacent=True))
ALDER_LAKE = hybrid(8, 8)
METEOR_SMALL = hybrid(2, 8)
ARROW_LAKE = hybrid(8, 16, threads=1)

# machine · CPUs asked for · benchmark · idle siblings · housekeeping · the note
PLANS: list[tuple[str, Topology, int, str, str, str, str | None]] = [
    ("one CPU", ONE, 1, "0", "", "0", "no CPU is left for anything else"),
    ("two CPUs", TWO, 1, "1", "", "0", None),
    ("two CPUs, both", TWO, 2, "0-1", "", "0-1", "no CPU is left for anything else"),
    ("one core with SMT", ONE_CORE_SMT, 2, "0-1", "", "0-1", "no CPU is left for anything else"),
    ("four CPUs, one", FOUR, 1, "3", "", "0-2", None),
    ("four CPUs, three", FOUR, 3, "1-3", "", "0", None),
    ("laptop, one core", LAPTOP, 1, "3", "7", "0-2,4-6", None),
    ("laptop, three cores", LAPTOP, 3, "1-3", "5-7", "0,4", None),
    (
        "laptop, siblings needed",
        LAPTOP,
        4,
        "2-3,6-7",
        "",
        "0-1,4-5",
        "the benchmark's CPUs share cores with each other",
    ),
    ("laptop, odd siblings", LAPTOP, 5, "1-3,6-7", "5", "0,4", "the benchmark's CPUs share cores with each other"),
    ("desktop", DESKTOP, 4, "4-7", "12-15", "0-3,8-11", None),
    ("siblings side by side", ADJACENT, 2, "4,6", "5,7", "0-3", None),
    ("two caches: the free one", RYZEN_TWO_CACHES, 8, "8-15", "24-31", "0-7,16-23", None),
    ("two caches: small job", RYZEN_TWO_CACHES, 2, "6-7", "22-23", "0-5,8-21,24-31", None),
    ("two caches: must span", RYZEN_TWO_CACHES, 12, "4-15", "20-31", "0-3,16-19", None),
    ("many caches", EPYC_ROME, 4, "60-63", "124-127", "0-59,64-123", None),
    ("many caches: a node", EPYC_ROME, 16, "48-63", "112-127", "0-47,64-111", None),
    ("two packages", DUAL_16, 16, "16-31", "48-63", "0-15,32-47", None),
    ("two packages: must span", DUAL_16, 20, "12-31", "44-63", "0-11,32-43", None),
    ("2 x 64: a cache", DUAL_64, 8, "120-127", "248-255", "0-119,128-247", None),
    ("2 x 64: a package", DUAL_64, 64, "64-127", "192-255", "0-63,128-191", None),
    ("2 x 64: all but one core", DUAL_64, 127, "1-127", "129-255", "0,128", None),
    ("two packages without SMT", DUAL_NO_SMT, 2, "6-7", "", "0-5,8-15", None),
    ("80 cores", ARM_80, 79, "1-79", "", "0", None),
    ("four threads a core", POWER_SMT4, 2, "8,12", "9-11,13-15", "0-7", None),
    ("hybrid: P cores first", ALDER_LAKE, 4, "8,10,12,14", "9,11,13,15", "0-7,16-23", None),
    ("hybrid: all P cores", ALDER_LAKE, 8, "0,2,4,6,8,10,12,14", "1,3,5,7,9,11,13,15", "16-23", None),
    ("hybrid without SMT", ARROW_LAKE, 8, "0-7", "", "8-23", None),
    ("hybrid: only E cores are enough", METEOR_SMALL, 6, "6-11", "", "0-5", None),
    ("a hole in the numbering", without(FOUR, "1-2"), 1, "3", "", "0", None),
    ("siblings off one by one", without(LAPTOP, "5,7"), 2, "2-3", "6", "0-1,4", None),
    ("CPU 0 is not ours", granted(DESKTOP, "2-7,10-15"), 2, "6-7", "14-15", "2-5,10-13", None),
    ("one sibling is not ours", granted(LAPTOP, "0-3"), 2, "2-3", "", "0-1", None),
    ("isolcpus, one thread", booted_with(DESKTOP, "6-7,14-15"), 1, "7", "15", "0-6,8-14", None),
    ("isolcpus, several threads", booted_with(DESKTOP, "6-7,14-15"), 2, "4-5", "12-13", "0-3,6-11,14-15", None),
]

LEFT_OVER = "CPUs of one kind with a core left over; this host has"
REFUSALS: list[tuple[str, Topology, int, str]] = [
    ("too many", TWO, 3, "the spec asks for 3 CPUs; this host has 2 (0-1)"),
    (
        "hybrid: no mixture",
        ALDER_LAKE,
        20,
        f"the spec asks for 20 {LEFT_OVER} 24 on 16 cores (16 performance, 8 efficiency)",
    ),
    (
        "one core left over",
        LAPTOP,
        7,
        f"the spec asks for 7 {LEFT_OVER} 8 on 4 cores (8 performance, 0 efficiency)",
    ),
    ("granted less", granted(DESKTOP, "3,5"), 3, "the spec asks for 3 CPUs; this host has 2 (3,5)"),
]

# machine · CPUs asked for · `benchmark_cpus` · benchmark, idle, housekeeping, note; or the reason
CHOSEN: list[tuple[str, Topology, int, str, tuple[str, str, str, str] | str]] = [
    ("as set", DESKTOP, 2, "2-3", ("2-3", "10-11", "0-1,4-9,12-15", "the CPUs are the owner's choice")),
    ("fewer than set", DESKTOP, 1, "2-3", ("2", "10", "0-1,3-9,11-15", "the CPUs are the owner's choice")),
    ("cores before siblings", LAPTOP, 2, "1,5,2,6", ("1-2", "5-6", "0,3-4,7", "the CPUs are the owner's choice")),
    ("all cores given away", TWO, 2, "0-1", ("0-1", "", "0-1", "no core is left for anything else")),
    ("offline", without(FOUR, "2"), 1, "2-3", "benchmark_cpus names CPU 2, which is offline or not granted"),
    ("too few", FOUR, 3, "2-3", "the spec asks for 3 CPUs; benchmark_cpus has 2 (2-3)"),
]

MACHINES = {name: topology for name, topology, *_ in PLANS}
