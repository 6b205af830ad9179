"""Hands on cgroups: one group that holds the benchmark's CPUs for a job, and one beneath it for each iteration.

An iteration's own group outlives its container, and with it the counters. Four kinds of host are served: cgroup version
2 or 1, under an engine with the systemd or the cgroupfs driver. Only version 2 can keep others away (`partition`).
Source: Documentation/admin-guide/cgroup-v2.rst, "Cpuset Interface Files".
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner_agent.cpu_list import cpu_list
from runner_agent.engine import EngineFacts
from runner_agent.facts import CpuPlan
from runner_agent.host import HostFiles
from runner_agent.journal import Change
from runner_agent.tuner import Tuner
from runner_agent.undo import CGROUP, clear_group, systemctl

UNITS = "/run/systemd/system"
CONTROLLERS_V1 = ("cpuset", "cpuacct", "cpu", "memory")
CONTROLLERS_V2 = ("cpuset", "cpu", "memory", "pids", "io")


class GroupsUnavailable(Exception):
    """No cgroup could be made. Says why; the job runs with less."""


@dataclass(frozen=True, slots=True)
class IterationGroup:
    """Where one iteration's container goes."""

    parent: str
    """As the engine wants it: a slice or a path."""
    directories: tuple[str, ...]
    """One on version 2, one for each controller on 1."""


class Groups:
    """The cgroups of one hold."""

    def __init__(self, files: HostFiles, facts: EngineFacts, plan: CpuPlan, name: str) -> None:
        self._files = files
        self._plan = plan
        self._systemd = facts.cgroup_driver == "systemd"
        self.version = facts.cgroup_version
        self._stem = name
        self._name = f"{name}.slice" if self._systemd else name
        self._roots = (CGROUP,) if self.version == 2 else self._hierarchies()

    def _hierarchies(self) -> tuple[str, ...]:
        """Of version 1. Controllers mounted together (`cpu,cpuacct`) lie behind links: each directory once."""
        real = {self._files.at(f"{CGROUP}/{name}").resolve(): f"{CGROUP}/{name}" for name in CONTROLLERS_V1}
        return tuple(path for where, path in real.items() if where.is_dir())

    @property
    def tops(self) -> tuple[str, ...]:
        """The job's group, in every hierarchy."""
        return tuple(f"{root}/{self._name}" for root in self._roots)

    @property
    def partition_file(self) -> str:
        """Where a partition's word is written and read (version 2)."""
        return f"{CGROUP}/{self._name}/cpuset.cpus.partition"

    def open(self, tuner: Tuner) -> None:
        """Make the job's group. Raises `GroupsUnavailable`."""
        if self._systemd:
            self._open_slice(tuner)
        else:
            self._open_directories(tuner)
        if self.version == 2:
            self._delegate(self.tops[0])
            self._restrict(f"{self._name}", self._plan.held)
        else:
            self._restrict_v1(self._name, self._plan.benchmark)

    def _open_slice(self, tuner: Tuner) -> None:
        """By unit files, so that systemd itself wants these CPUs here and a reload changes nothing."""
        held, benchmark = cpu_list(self._plan.held), cpu_list(self._plan.benchmark)
        accounting = "CPUAccounting=yes\nMemoryAccounting=yes\nIOAccounting=yes\n"
        units = {
            f"{UNITS}/{self._stem}-.slice.d/cpus.conf": f"[Slice]\nAllowedCPUs={benchmark}\n{accounting}",
            f"{UNITS}/{self._name}": f"[Unit]\nDescription=Benchmarks\n[Slice]\nAllowedCPUs={held}\n{accounting}",
        }
        tuner.remember([Change("unit", path, "", "ours") for path in units])
        try:
            for path, text in units.items():
                self._files.at(path).parent.mkdir(parents=True, exist_ok=True)
                self._files.at(path).write_text(text)
        except OSError as error:
            raise GroupsUnavailable(f"{UNITS}: {error.strerror}") from None
        if why := systemctl("daemon-reload") or systemctl("start", self._name):
            raise GroupsUnavailable(f"systemd would not make {self._name}: {why}")

    def _open_directories(self, tuner: Tuner) -> None:
        tuner.remember([Change("group", self._name, "", "ours")])
        if self.version == 2:
            self._delegate(CGROUP)
        try:
            for top in self.tops:
                self._files.at(top).mkdir(exist_ok=True)
        except OSError as error:
            raise GroupsUnavailable(f"{CGROUP}: {error.strerror}") from None

    def _delegate(self, group: str) -> None:
        """Let the groups beneath have these controllers; one that the host has not is left out."""
        for controller in CONTROLLERS_V2:
            self._files.write(f"{group}/cgroup.subtree_control", f"+{controller}")

    def _restrict(self, name: str, cpus: frozenset[int]) -> None:
        wish = cpu_list(cpus)
        if self._files.read(f"{CGROUP}/{name}/cpuset.cpus") != wish:
            self._files.write(f"{CGROUP}/{name}/cpuset.cpus", wish)

    def _restrict_v1(self, name: str, cpus: frozenset[int]) -> None:
        """A cpuset of version 1 is born empty, and nothing can enter it before both files are written."""
        nodes = self._files.read(f"{CGROUP}/cpuset/cpuset.mems") or "0"
        for group in (f"{CGROUP}/cpuset/{name}",):
            self._files.write(f"{group}/cpuset.mems", nodes)
            self._files.write(f"{group}/cpuset.cpus", cpu_list(cpus))

    def take(self, word: str) -> str:
        """Ask for a partition; gives what the kernel says then. The write itself succeeds even where it says invalid.

        `member` first: before Linux 6.12 writing the same word again does not bring back a lost partition.
        """
        self._files.write(self.partition_file, "member")
        if why := self._files.write(self.partition_file, word):
            return why
        return self._files.read(self.partition_file) or "nothing"

    def enter(self, pid: int) -> None:
        """Put a helper of ours where the held CPUs can be reached."""
        for top in self.tops:
            group = self._files.at(f"{top}/canary")
            with suppress(OSError):
                group.mkdir(exist_ok=True)
                self._fill_cpuset_v1(f"{self._name}/canary")
                (group / "cgroup.procs").write_text(str(pid))

    def _fill_cpuset_v1(self, name: str) -> None:
        if self.version == 1:
            self._restrict_v1(name, self._plan.benchmark)

    def make(self, number: int) -> IterationGroup:
        """The group of one iteration. Raises `GroupsUnavailable`."""
        if self._systemd:
            return self._make_slice(f"{self._stem}-i{number}.slice")
        name = f"{self._name}/i{number}"
        directories = tuple(f"{root}/{name}" for root in self._roots)
        try:
            for directory in directories:
                self._files.at(directory).mkdir(exist_ok=True)
        except OSError as error:
            raise GroupsUnavailable(f"{directories[0]}: {error.strerror}") from None
        self._fill_cpuset_v1(name)
        if self.version == 2:
            self._restrict(name, self._plan.benchmark)
        return IterationGroup(f"/{name}", directories)

    def _make_slice(self, name: str) -> IterationGroup:
        if why := systemctl("start", name):
            raise GroupsUnavailable(f"systemd would not make {name}: {why}")
        directories = tuple(f"{top}/{name}" for top in self.tops)
        return IterationGroup(name, directories)

    def remove(self, group: IterationGroup) -> None:
        """After the container and its counters are done with."""
        if self._systemd:
            systemctl("stop", group.parent)
        for directory in group.directories:
            path: Path = self._files.at(directory)
            if path.is_dir():
                clear_group(path)
