"""Turns the kernel's counter files into numbers and two readings into what happened between them. Pure.

A file that was not there gives `None`, and what is computed from it is `None`: unknown, never zero.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

TICK_NS = 10_000_000
"""One step of /proc/stat: USER_HZ is 100 everywhere."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters at one moment. Totals since some moment in the past, unless it says otherwise."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    raw_ns: int
    """CLOCK_MONOTONIC_RAW, which no time service slews."""
    ran_ns: int | None = None
    """Run time of everything on the held CPUs."""
    ran_step_ns: int = 0
    """How coarse `ran_ns` is."""
    own_ns: int | None = None
    """CPU time of the iteration's own cgroup."""
    steal_ns: int | None = None
    throttled_ns: int | None = None
    cpu_wait_ns: int | None = None
    """Some thread of the iteration was runnable and waited."""
    io_wait_ns: int | None = None
    memory_wait_ns: int | None = None
    interrupts: Mapping[str, int] | None = None
    """Device interrupts on the held CPUs, by name."""
    swapped_pages: int | None = None
    oom_kills: int | None = None
    """Of the whole host."""
    thermal_throttles: int | None = None
    frequency_mhz: float | None = None
    """Of the moment, mean of the benchmark CPUs."""
    temperature_c: float | None = None
    """Of the moment, hottest sensor."""
    memory_peak_bytes: int | None = None
    partition: str | None = None
    """The word in force at the moment."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What happened between two readings: the input of a verdict. Differences, unless it says otherwise."""

    wall_ns: int
    cpus: int
    """How many are held."""
    foreign_ns: int | None = None
    """Somebody else's run time on the held CPUs, from when the command had been started."""
    foreign_step_ns: int = 0
    foreign_early_ns: int | None = None
    """The same, while the engine started the container."""
    own_ns: int | None = None
    idle_ns: int | None = None
    """For which nobody ran on the held CPUs: there was nothing to do, or the CPU was not there."""
    steal_ns: int | None = None
    throttled_ns: int | None = None
    cpu_wait_ns: int | None = None
    io_wait_ns: int | None = None
    memory_wait_ns: int | None = None
    interrupts: Mapping[str, int] | None = None
    swapped_pages: int | None = None
    oom_kills: int | None = None
    thermal_throttles: int | None = None
    frequency_mhz: float | None = None
    """Of the end."""
    temperature_c: float | None = None
    """Of the end."""
    clock_skew_ppm: float | None = None
    partition_lost: str | None = None
    """The word that was found instead of the one that was set."""
    misplaced: tuple[str, ...] = ()
    """Threads of the container that may run elsewhere, with their CPUs."""
    kernel_log: tuple[str, ...] = ()
    """What the kernel said meanwhile that bears on the host's health."""
    canaries: Mapping[str, float] = field(default_factory=dict)
    """By name: the slower of before and after, as a multiple of what is usual on this host."""
    culprits: tuple[str, ...] = ()
    """Names of processes that ran on the held CPUs meanwhile, the busiest first."""


def passage(before: Reading, started: Reading | None, after: Reading, *, cpus: int, word: str | None) -> Passage:
    """Subtract. `started`: read when the engine had said that the command runs; `word`: the partition that was set."""
    first = started or before
    words = (before.partition, first.partition, after.partition)
    return Passage(
        wall_ns=after.at_ns - first.at_ns,
        cpus=cpus,
        foreign_ns=foreign_ns(first, after),
        foreign_step_ns=after.ran_step_ns * cpus,
        foreign_early_ns=None if started is None else foreign_ns(before, started),
        interrupts=_counted(first.interrupts, after.interrupts),
        frequency_mhz=after.frequency_mhz,
        temperature_c=after.temperature_c,
        clock_skew_ppm=clock_skew_ppm(before, after),
        partition_lost=None if word is None else next((found or "nothing" for found in words if found != word), None),
        own_ns=difference(before.own_ns, after.own_ns),
        idle_ns=idle_ns(first, after, cpus),
        steal_ns=difference(first.steal_ns, after.steal_ns),
        throttled_ns=difference(before.throttled_ns, after.throttled_ns),
        cpu_wait_ns=difference(first.cpu_wait_ns, after.cpu_wait_ns),
        io_wait_ns=difference(first.io_wait_ns, after.io_wait_ns),
        memory_wait_ns=difference(first.memory_wait_ns, after.memory_wait_ns),
        swapped_pages=difference(first.swapped_pages, after.swapped_pages),
        oom_kills=difference(first.oom_kills, after.oom_kills),
        thermal_throttles=difference(before.thermal_throttles, after.thermal_throttles),
    )


def difference(before: int | None, after: int | None) -> int | None:
    """What was counted between; none where either is unknown."""
    return None if before is None or after is None else after - before


def foreign_ns(before: Reading, after: Reading) -> int | None:
    """Run time on the held CPUs that was not the benchmark's. A little below zero is the clocks' skew: zero."""
    ran, own = difference(before.ran_ns, after.ran_ns), difference(before.own_ns, after.own_ns)
    return None if ran is None or own is None else max(0, ran - own)


def idle_ns(before: Reading, after: Reading, cpus: int) -> int | None:
    """Time of the held CPUs in which nobody ran; unknown where run time is counted in coarse steps."""
    ran = difference(before.ran_ns, after.ran_ns)
    return None if ran is None or after.ran_step_ns else max(0, cpus * (after.at_ns - before.at_ns) - ran)


def clock_skew_ppm(before: Reading, after: Reading) -> float | None:
    """How far the time service bent the clock. Below 10 ms it cannot be told from the reading's own length."""
    raw = after.raw_ns - before.raw_ns
    return None if raw < 10_000_000 else ((after.at_ns - before.at_ns) / raw - 1) * 1e6


def _counted(before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> dict[str, int] | None:
    if before is None or after is None:
        return None
    return {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}


# --- The files, one reader each ---


def per_cpu_ns(text: str, cpus: Iterable[int]) -> int | None:
    """`cpuacct.usage_percpu`: one number for each CPU. Source: kernel/sched/cpuacct.c."""
    parts = text.split()
    return sum(int(parts[cpu]) for cpu in cpus) if len(parts) > max(cpus, default=0) else None


def schedstat_ns(text: str, cpus: Iterable[int]) -> int | None:
    """/proc/schedstat, field 7 of a CPU's line: run time of all tasks. Source: Documentation/scheduler/sched-stats."""
    found = {int(cpu): int(ran) for cpu, ran in re.findall(r"^cpu(\d+)(?: \d+){6} (\d+)", text, re.MULTILINE)}
    wanted = list(cpus)
    return sum(found[cpu] for cpu in wanted) if found.keys() >= set(wanted) else None


def stat_busy_ns(text: str, cpus: Iterable[int]) -> int | None:
    """/proc/stat: user, nice, system, irq and softirq ticks. Source: proc(5)."""
    return _ticks_ns(text, cpus, (0, 1, 2, 5, 6))


def stat_steal_ns(text: str, cpus: Iterable[int]) -> int | None:
    """/proc/stat: steal ticks."""
    return _ticks_ns(text, cpus, (7,))


def _ticks_ns(text: str, cpus: Iterable[int], columns: Iterable[int]) -> int | None:
    lines = (line.split() for line in text.splitlines() if line.startswith("cpu"))
    found = {name: numbers for name, *numbers in lines}
    rows = [found.get(f"cpu{cpu}") for cpu in cpus]
    if not rows or any(row is None or len(row) < 8 for row in rows):
        return None
    return sum(int(row[column]) for row in rows if row for column in columns) * TICK_NS


def keyed(text: str, key: str) -> int | None:
    """A file of `name number` lines, such as cpu.stat, memory.events or /proc/vmstat."""
    # Not by a regular expression: /proc/vmstat is long, and is read several times an iteration.
    place = 0 if text.startswith(f"{key} ") else text.find(f"\n{key} ") + 1
    if not place and not text.startswith(f"{key} "):
        return None
    return int(text[place + len(key) + 1 :].partition("\n")[0])


def pressure_ns(text: str) -> int | None:
    """The `some` total of a pressure file, which is in µs. Source: Documentation/accounting/psi.rst."""
    found = re.search(r"^some .*total=(\d+)", text, re.MULTILINE)
    return int(found[1]) * 1000 if found else None


def device_interrupts(text: str, cpus: Iterable[int]) -> dict[str, int]:
    """/proc/interrupts: the numbered lines, which are devices; counts on `cpus`, by what stands at the line's end."""
    header, *lines = text.splitlines()
    column = {int(name[3:]): place for place, name in enumerate(header.split(), 1)}
    places = [column[cpu] for cpu in cpus if cpu in column]
    counts: dict[str, int] = {}
    for line in lines:
        number, *parts = line.split(None, len(column) + 1)
        if number[:-1].isdecimal() and len(parts) > len(column):
            name = f"{parts[-1].split()[-1]} (irq {number[:-1]})"
            counts[name] = sum(int(parts[place - 1]) for place in places)
    return counts


SOFT = ("HI", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET")
"""Of the software interrupts those that devices and the network cause; the others belong to the tick."""


def soft_interrupts(text: str, cpus: Iterable[int]) -> dict[str, int]:
    """/proc/softirqs: counts on `cpus`, by name. What one CPU sends may be worked through on another."""
    header, *lines = text.splitlines()
    places = [place for place, name in enumerate(header.split(), 1) if int(name[3:]) in set(cpus)]
    rows = [line.split() for line in lines]
    return {f"{row[0][:-1]} (softirq)": sum(int(row[place]) for place in places) for row in rows if row[0][:-1] in SOFT}


def read(text: str | None, reader: Callable[[str], int | None]) -> int | None:
    """Apply a reader to a file that may not be there."""
    return None if text is None else reader(text)
