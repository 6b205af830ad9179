"""`doctor`: what this host lacks for quiet measurements, what each lack costs, and the command that mends it.

Only reads. Pure once the probes are taken: `examine` takes them, `findings` judges them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from runner_agent.calibration import Calibration, load
from runner_agent.engine import PODMAN, EngineFacts
from runner_agent.facts import Topology
from runner_agent.host import CPUS, HostFiles, is_virtual, read_topology
from runner_agent.undo import JOURNAL, service_state

INITS = ("/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/bin/catatonit", "/bin/catatonit")
"""Where Podman's packages put what it starts first in a container. Its `init_path` may name another place."""

CALLS = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
"""Podman's lists of the system calls that a container may make; the first that is there counts."""

OWN_LIST = f"sed '/\"keyctl\",/d' {CALLS[1]} > {CALLS[0]}"


class Severity(IntEnum):
    """How bad. The worst finding is the exit code of `doctor`."""

    FINE = 0
    NOISY = 1
    """Jobs run, with more noise or more rights than need be."""
    UNFIT = 2
    """Jobs fail, or their numbers mean little."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know."""

    severity: Severity
    what: str
    cost: str = ""
    """What it does to measurements."""
    mend: str = ""
    """A command, or what to change where."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found on the host."""

    topology: Topology
    root: bool
    """Whether we may change the host."""
    engine: EngineFacts | None
    init: bool
    """Whether Podman finds what it starts first in a container; Docker brings its own."""
    keyrings: bool
    """Whether Podman lets containers at the kernel's keyrings (keyctl(2)), as packaged; Docker never does."""
    controllers: frozenset[str] | None
    """Of cgroup version 2; none: the host has version 1."""
    schedstat: bool
    pressure: bool
    virtual: bool | None
    governors: frozenset[str]
    irqbalance: str | None
    clocksource: str | None
    swap_used: bool
    journal: bool
    """Whether a killed agent left changes behind."""
    calibration: Calibration | None
    command_line: str


def doctor(state_dir: Path, engine: EngineFacts | None, *, root: bool, tree: Path = Path("/")) -> list[Finding]:
    """Examine the host; the worst first. `engine`: none, if it did not answer. `root`: whether we may change things."""
    found = findings(examine(HostFiles(tree), state_dir, engine, root=root))
    return sorted(found, key=lambda finding: -finding.severity)


def exit_code(found: Sequence[Finding]) -> int:
    """0 fine · 1 jobs run, with more noise or rights than need be · 2 unfit."""
    return max((finding.severity for finding in found), default=Severity.FINE)


def examine(files: HostFiles, state_dir: Path, engine: EngineFacts | None, *, root: bool) -> Examined:
    """Take the probes."""
    controllers = files.read("/sys/fs/cgroup/cgroup.controllers")
    swaps = (files.read("/proc/swaps") or "").splitlines()[1:]
    return Examined(
        topology=read_topology(files),
        root=root,
        engine=engine,
        init=any(map(files.list, INITS)),
        keyrings='"keyctl"' in next(filter(None, map(files.read, CALLS)), ""),
        controllers=None if controllers is None else frozenset(controllers.split()),
        schedstat=files.read("/proc/schedstat") is not None,
        pressure=files.read("/proc/pressure/cpu") is not None,
        virtual=is_virtual(files),
        governors=frozenset(filter(None, map(files.read, files.list(f"{CPUS}/cpufreq/policy*/scaling_governor")))),
        irqbalance=service_state(files, "irqbalance.service"),
        clocksource=files.read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        swap_used=any(line.split()[3:4] not in ([], ["0"]) for line in swaps),
        journal=(state_dir / JOURNAL).exists(),
        calibration=load(state_dir),
        command_line=files.read("/proc/cmdline") or "",
    )


def findings(seen: Examined) -> list[Finding]:
    """What to know about the host. Pure."""
    return [*_access(seen), *_cpus(seen), *_groups(seen), *_counters(seen), *_noise(seen), *_knowledge(seen)]


def _access(seen: Examined) -> Iterator[Finding]:
    if seen.engine is None:
        cost, mend = "no job can run", "systemctl start docker; is the agent's user in the group docker?"
        yield Finding(Severity.UNFIT, "the container engine does not answer", cost, mend)
    elif seen.engine.name == PODMAN:
        yield from _podman(seen)
    if not seen.root:
        cost = "no isolation beyond the engine's own pinning, no tuning, no cgroup of an iteration's own"
        yield Finding(
            Severity.NOISY, "the agent is not root", cost, "run it as root: systemd/runner-agent.service does"
        )


def _podman(seen: Examined) -> Iterator[Finding]:
    if not seen.init:
        cost, mend = "no container starts, unless containers.conf names another init_path", "apt-get install catatonit"
        yield Finding(Severity.UNFIT, "Podman lacks catatonit", cost, mend)
    if seen.keyrings:
        cost = "a benchmark may read and change keys of the host's root"
        yield Finding(Severity.NOISY, "Podman lets benchmarks at the kernel's keyrings", cost, OWN_LIST)


def _cpus(seen: Examined) -> Iterator[Finding]:
    cores = {cpu.core for cpu in seen.topology.usable}
    if len(cores) < 2:
        cost = "the benchmark shares its core with everything else"
        yield Finding(Severity.UNFIT, "there is one core", cost, "use a host with two cores or more")
    if seen.topology.isolated_at_boot:
        cost = "threads of one job stay on one CPU there, so only jobs with one CPU use these"
        mend = "remove isolcpus= from the kernel's command line: partitions do it for the length of a job"
        yield Finding(Severity.NOISY, "isolcpus= is set", cost, mend)
    if seen.virtual:
        cost = "the hypervisor and its other guests take time, caches and bandwidth unseen"
        yield Finding(
            Severity.NOISY, "this is a virtual machine", cost, "use bare metal, or pairs: submit --baseline IMAGE"
        )


def _groups(seen: Examined) -> Iterator[Finding]:
    if seen.controllers is None:
        cost = "no partitions: nothing keeps others off the benchmark's CPUs"
        mend = "boot with systemd.unified_cgroup_hierarchy=1, or set isolation.switches.neighbours = true"
        yield Finding(Severity.NOISY, "the host has cgroup version 1", cost, mend)
    elif "cpuset" not in seen.controllers:
        cost = "no partitions: nothing keeps others off the benchmark's CPUs"
        yield Finding(
            Severity.NOISY, "cgroup version 2 lacks cpuset", cost, "unmount the cpuset hierarchy of version 1"
        )
    if seen.engine is not None and seen.controllers is not None and seen.engine.cgroup_version != 2:
        cost = "containers land outside of the partition"
        yield Finding(Severity.UNFIT, "the engine uses cgroup version 1", cost, "restart the engine")


def _counters(seen: Examined) -> Iterator[Finding]:
    if not seen.schedstat and seen.controllers is not None:
        cost = "others' run time on the benchmark's CPUs is known to 10 ms only"
        yield Finding(Severity.NOISY, "there is no /proc/schedstat", cost, "use a kernel with CONFIG_SCHEDSTATS=y")
    if not seen.pressure:
        cost = "waiting for CPU, memory and disk is not seen"
        yield Finding(Severity.NOISY, "there is no pressure information", cost, "boot with psi=1")
    if seen.clocksource not in {None, "tsc", "arch_sys_counter", "kvm-clock"}:
        cost = "reading the clock is slow, and so is all that does it often"
        yield Finding(
            Severity.NOISY, f"the clock is {seen.clocksource}", cost, "find out in dmesg why tsc was given up"
        )


def _noise(seen: Examined) -> Iterator[Finding]:
    if seen.governors - {"performance"} and not seen.root:
        cost = "the clock follows the load"
        yield Finding(Severity.NOISY, "the governor is not performance", cost, "cpupower frequency-set -g performance")
    if seen.irqbalance == "active" and not seen.root:
        cost = "interrupts move onto the benchmark's CPUs"
        yield Finding(Severity.NOISY, "irqbalance runs", cost, "systemctl disable --now irqbalance")
    if seen.swap_used:
        yield Finding(Severity.NOISY, "the host has swapped", "pages come back slowly", "swapoff -a && swapon -a")
    if "nohz_full" not in seen.command_line:
        cost = "a timer tick of 1 to 3 µs, 100 to 1000 times a second"
        yield Finding(Severity.FINE, "nohz_full= is not set", cost, "for the last 0.1 %: nohz_full=LIST at boot")


def _knowledge(seen: Examined) -> Iterator[Finding]:
    if seen.journal:
        cost = "settings of a killed agent are in force"
        yield Finding(Severity.NOISY, "the host was not put back", cost, "runner-agent restore")
    if seen.calibration is None:
        cost = "nobody knows what this host can tell apart"
        yield Finding(Severity.NOISY, "the host was never calibrated", cost, "runner-agent calibrate")
