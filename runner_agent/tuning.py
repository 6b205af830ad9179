"""The host's settings that disturb a measurement, as a table: what is wanted, why, and in which order. Pure.

Rows are applied from the top and undone from the bottom. Each can be switched by its name; rows with `on_request`
change what a benchmark measures, not only how quietly, and are off unless asked for. `tuner.py` carries them out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from hashlib import sha256

from runner_agent.cpu_list import cpu_list, cpu_mask
from runner_agent.facts import CpuPlan
from runner_protocol.results import IsolationRecord


class Means(StrEnum):
    """How a setting is changed, and undone."""

    FILE = "file"
    """Write `wanted` to every file that the pattern matches."""
    SERVICE = "service"
    """Stop the unit, if it is active."""
    LATENCY = "latency"
    """Hold the file open with a bound on wake-up latency. The kernel takes it back with the process."""
    THREADS = "affinity"
    """Move threads to the housekeeping CPUs."""


class Cpus(Enum):
    """Values that depend on the plan."""

    HOUSEKEEPING_LIST = "list"
    HOUSEKEEPING_MASK = "mask"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row."""

    name: str
    target: str
    """Pattern of paths, unit, or which threads: `kernel` or names of programs."""
    wanted: str | Cpus
    why: str
    means: Means = Means.FILE
    on_request: bool = False
    outside_partition: bool = False
    """Needed only where no partition keeps others away."""


CPU = "/sys/devices/system/cpu"
SYS = "/proc/sys"
MEMORY = "/sys/kernel/mm"

SETTINGS: tuple[Setting, ...] = (
    # SMT first: switching it is CPU hot-plug, which voids partitions and renumbers everything below.
    Setting("smt", f"{CPU}/smt/control", "off", "siblings share a core; idle ones cost nothing", on_request=True),
    # The governor before the boost: setting one can reset the other on intel_pstate.
    Setting("governor", f"{CPU}/cpufreq/policy*/scaling_governor", "performance", "the clock follows the load"),
    # After the governor, which on intel_pstate and amd_pstate decides what may be written here.
    Setting(
        "energy_preference",
        f"{CPU}/cpufreq/policy*/energy_performance_preference",
        "performance",
        "the processor lowers its own clock to save energy",
    ),
    Setting("boost_intel", f"{CPU}/intel_pstate/no_turbo", "1", "turbo depends on heat and on the neighbours' load"),
    Setting("boost", f"{CPU}/cpufreq/boost", "0", "the same, on acpi-cpufreq and amd-pstate"),
    Setting("boost_policy", f"{CPU}/cpufreq/policy*/boost", "0", "the same, where each policy has its own switch"),
    Setting("wakeup", "/dev/cpu_dma_latency", "", "deep idle states wake up slowly", Means.LATENCY),
    # irqbalance before the interrupts, which it would move back.
    Setting("irqbalance", "irqbalance.service", "inactive", "it moves interrupts onto idle CPUs", Means.SERVICE),
    Setting("irq_default", "/proc/irq/default_smp_affinity", Cpus.HOUSEKEEPING_MASK, "where new interrupts go"),
    Setting("irqs", "/proc/irq/[0-9]*/smp_affinity_list", Cpus.HOUSEKEEPING_LIST, "devices interrupt any CPU"),
    Setting(
        "workqueues",
        "/sys/devices/virtual/workqueue/cpumask",
        Cpus.HOUSEKEEPING_MASK,
        "the kernel defers work to any CPU",
    ),
    Setting(
        "writeback",
        "/sys/bus/workqueue/devices/writeback/cpumask",
        Cpus.HOUSEKEEPING_MASK,
        "dirty pages are written from any CPU",
    ),
    Setting("kernel_threads", "kernel", Cpus.HOUSEKEEPING_LIST, "kernel threads run anywhere", Means.THREADS),
    Setting(
        "engine",
        "dockerd,containerd,containerd-shim,docker-proxy,podman,conmon",
        Cpus.HOUSEKEEPING_LIST,
        "the engine works when a container starts and ends",
        Means.THREADS,
        outside_partition=True,
    ),
    Setting(
        "neighbours",
        "*",
        Cpus.HOUSEKEEPING_LIST,
        "on hosts without partitions: everything else leaves the benchmark's CPUs",
        Means.THREADS,
        on_request=True,
        outside_partition=True,
    ),
    Setting("ksm", f"{MEMORY}/ksm/run", "0", "it scans and merges pages, which later writes pay for"),
    Setting("khugepaged", f"{MEMORY}/transparent_hugepage/khugepaged/defrag", "0", "it moves pages at any time"),
    Setting(
        "huge_pages",
        f"{MEMORY}/transparent_hugepage/enabled",
        "never",
        "which memory gets huge pages is chance",
        on_request=True,
    ),
    Setting("compaction", f"{SYS}/vm/compaction_proactiveness", "0", "memory is compacted in the background"),
    Setting("numa_balancing", f"{SYS}/kernel/numa_balancing", "0", "pages are unmapped to learn who uses them"),
    Setting("swappiness", f"{SYS}/vm/swappiness", "10", "the host swaps early"),
    Setting("stat_interval", f"{SYS}/vm/stat_interval", "120", "every CPU sums up its page counters each second"),
    Setting("timer_migration", f"{SYS}/kernel/timer_migration", "0", "timers of idle CPUs move to busy ones"),
    Setting("nmi_watchdog", f"{SYS}/kernel/nmi_watchdog", "0", "it interrupts every CPU and takes a counter"),
    Setting("soft_watchdog", f"{SYS}/kernel/soft_watchdog", "0", "it wakes a thread on every CPU"),
    # The share before the rate: the kernel derives the rate from it.
    Setting("perf_share", f"{SYS}/kernel/perf_cpu_time_max_percent", "1", "bounds what sampling may cost"),
    Setting("perf_rate", f"{SYS}/kernel/perf_event_max_sample_rate", "1", "the same"),
    Setting("aslr", f"{SYS}/kernel/randomize_va_space", "0", "layout differs from run to run", on_request=True),
    *(
        Setting(f"timer_{name.replace('-', '_')}", f"{name}.timer", "inactive", why, Means.SERVICE)
        for name, why in (
            ("apt-daily", "it fetches package lists"),
            ("apt-daily-upgrade", "it installs packages"),
            ("dnf-makecache", "it fetches package lists"),
            ("fstrim", "it keeps the disk busy"),
            ("logrotate", "it compresses logs"),
            ("man-db", "it indexes manual pages"),
            ("e2scrub_all", "it reads whole file systems"),
            ("systemd-tmpfiles-clean", "it walks directories"),
        )
    ),
)

NAMES = frozenset(setting.name for setting in SETTINGS)


def selected(switches: Mapping[str, bool], *, partitioned: bool) -> tuple[Setting, ...]:
    """The rows in force. `switches`: the owner's own choice by name. Raises `ValueError` for a name that is no row."""
    if unknown := switches.keys() - NAMES:
        raise ValueError(f"{', '.join(sorted(unknown))}: there is no such setting of the host")
    return tuple(
        setting
        for setting in SETTINGS
        if switches.get(setting.name, not setting.on_request) and not (partitioned and setting.outside_partition)
    )


def wanted(setting: Setting, plan: CpuPlan) -> str:
    """What is to be written."""
    match setting.wanted:
        case Cpus.HOUSEKEEPING_LIST:
            return cpu_list(plan.housekeeping)
        case Cpus.HOUSEKEEPING_MASK:
            return cpu_mask(plan.housekeeping)
        case str(value):
            return value


def digest(record: IsolationRecord) -> str:
    """Over what is in force and what could not be, without what was there before: only equal digests compare."""
    lines = [record.level, record.benchmark_cpus, record.housekeeping_cpus]
    lines += [f"{each.name}={each.wanted}:{each.achieved}:{each.applied}" for each in record.settings]
    return sha256("\n".join(lines).encode()).hexdigest()
