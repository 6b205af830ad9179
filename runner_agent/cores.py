"""Decides which CPUs a benchmark gets and which are left to everything else. Pure: topology in, plan or refusal out.

A benchmark gets whole cores: one thread each, the siblings idle. It stays within one last-level cache, else one NUMA
node, else one package, if any of them is large enough; it never mixes core kinds. The core of the lowest CPU is given
last, since it serves the boot-time interrupts. Every CPU that is not held keeps house.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby

from runner_agent.cpu_list import cpu_list
from runner_agent.facts import Cpu, CpuPlan, Kind, Refusal, Topology

Core = tuple[Cpu, ...]

# From narrow to wide: the first whose group is large enough keeps caches and memory close together.
NEIGHBOURHOODS: tuple[Callable[[Core], Hashable], ...] = (
    lambda core: core[0].cache,
    lambda core: core[0].node,
    lambda core: core[0].package,
    lambda _: None,
)


def plan_cpus(topology: Topology, wanted: int, chosen: frozenset[int] = frozenset()) -> CpuPlan | Refusal:
    """Plan for a benchmark of `wanted` CPUs. `chosen`: the owner's own benchmark CPUs; empty: choose."""
    usable = topology.usable
    numbers = {cpu.number for cpu in usable}
    if wanted > len(usable):
        return Refusal(f"the spec asks for {wanted} CPUs; this host has {len(usable)} ({cpu_list(numbers)})")
    if chosen:
        return _as_chosen(usable, wanted, chosen)
    picked = _pick(topology, wanted)
    if picked is None and wanted == len(usable):
        everything = frozenset(numbers)
        return CpuPlan(everything, frozenset(), everything, _nodes(usable), "no CPU is left for anything else")
    return _plan(usable, *picked) if picked else Refusal(_too_few(usable, wanted))


def _as_chosen(usable: Sequence[Cpu], wanted: int, chosen: frozenset[int]) -> CpuPlan | Refusal:
    """What the owner set, if it can be."""
    if missing := chosen - {cpu.number for cpu in usable}:
        return Refusal(f"benchmark_cpus names CPU {cpu_list(missing)}, which is offline or not granted")
    if wanted > len(chosen):
        return Refusal(f"the spec asks for {wanted} CPUs; benchmark_cpus has {len(chosen)} ({cpu_list(chosen)})")
    cores = _cores(cpu for cpu in usable if cpu.number in chosen)
    firsts = [core[0] for core in cores]
    seconds = [cpu for core in cores for cpu in core[1:]]
    picked = [*firsts, *seconds][:wanted]
    return _plan(usable, picked, "the CPUs are the owner's choice")


def _pick(topology: Topology, wanted: int) -> tuple[list[Cpu], str | None] | None:
    """The best CPUs that leave a core to the rest of the host, and what is less than ideal about them."""
    usable = topology.usable
    if wanted == 1 and (fit := _within(_cores(_isolated(topology)), 1)):
        return [fit[0][0]], None
    candidates = [cpu for cpu in usable if cpu.number not in topology.isolated_at_boot]
    for kind in Kind:
        cores = _spare_cores(usable, [cpu for cpu in candidates if cpu.kind is kind])
        if fit := _within(cores, wanted):
            return [core[0] for core in fit], None
        if picked := _siblings_too(cores, wanted):
            return picked, "the benchmark's CPUs share cores with each other"
    return None


def _isolated(topology: Topology) -> Iterable[Cpu]:
    """Good for one thread only: with several, all would stay on one CPU (`isolcpus=` has no balancing)."""
    return (cpu for cpu in topology.usable if cpu.number in topology.isolated_at_boot)


def _spare_cores(usable: Sequence[Cpu], candidates: Sequence[Cpu]) -> list[Core]:
    """The candidates' cores, the first of the machine left out if nothing else would remain for the host."""
    cores = _cores(candidates)
    others = len(_cores(usable)) > len(cores)
    return cores if others else cores[1:]


def _within(cores: Sequence[Core], wanted: int) -> list[Core] | None:
    """As many cores, as close together as can be, the highest-numbered first choice."""
    for neighbourhood in NEIGHBOURHOODS:
        fitting = [group for group in _grouped(cores, neighbourhood) if len(group) >= wanted]
        if fitting:
            # The smallest that fits leaves larger groups whole; among equals the one farthest from CPU 0.
            best = min(fitting, key=lambda group: (len(group), -group[-1][0].number))
            return best[-wanted:]
    return None


def _siblings_too(cores: Sequence[Core], wanted: int) -> list[Cpu] | None:
    """Where whole cores are too few, both threads of each."""
    threads = [cpu for core in reversed(cores) for cpu in core]
    return sorted(threads[:wanted]) if wanted <= len(threads) else None


def _cores(cpus: Iterable[Cpu]) -> list[Core]:
    return sorted(tuple(group) for _, group in groupby(sorted(cpus, key=_of_core), key=lambda cpu: cpu.core))


def _of_core(cpu: Cpu) -> tuple[int, int]:
    return cpu.core, cpu.number


def _grouped(cores: Sequence[Core], key: Callable[[Core], Hashable]) -> list[list[Core]]:
    groups: dict[Hashable, list[Core]] = {}
    for core in cores:
        groups.setdefault(key(core), []).append(core)
    return list(groups.values())


def _plan(usable: Sequence[Cpu], picked: Sequence[Cpu], note: str | None) -> CpuPlan:
    benchmark = frozenset(cpu.number for cpu in picked)
    cores = {cpu.core for cpu in picked}
    idle = frozenset(cpu.number for cpu in usable if cpu.core in cores) - benchmark
    housekeeping = frozenset(cpu.number for cpu in usable) - benchmark - idle
    if not housekeeping:  # The owner may give all cores away; then the siblings have to keep house.
        housekeeping, idle, note = idle or benchmark, frozenset(), "no core is left for anything else"
    return CpuPlan(benchmark, idle, housekeeping, _nodes(picked), note)


def _nodes(cpus: Iterable[Cpu]) -> frozenset[int]:
    return frozenset(cpu.node for cpu in cpus)


def _too_few(usable: Sequence[Cpu], wanted: int) -> str:
    kinds = ", ".join(f"{sum(cpu.kind is kind for cpu in usable)} {kind}" for kind in Kind)
    cores = len(_cores(usable))
    return (
        f"the spec asks for {wanted} CPUs of one kind with a core left over; "
        f"this host has {len(usable)} on {cores} cores ({kinds})"
    )
