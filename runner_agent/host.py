"""Hands on the host's own files: /proc, /sys and a few others, all beneath one given root. Decides nothing.

A file that is not there or cannot be read is `None`: what a host does not tell is unknown, never zero. Values come back
without surrounding white space. Nothing here raises for a missing file; a refused write says why.
"""

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from runner_agent.cpu_list import parse_cpu_list
from runner_agent.engine import EngineFacts
from runner_agent.facts import Cpu, Kind, Topology
from runner_protocol.results import HostRecord

READ_BYTES_MAX = 1 << 20
CPUS = "/sys/devices/system/cpu"


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The host's files beneath a root: `/`, or a tree that a test has made."""

    root: Path = Path("/")

    @property
    def live(self) -> bool:
        """Whether this is the running host, whose processes and services can be reached too."""
        return self.root == Path("/")

    def at(self, path: str) -> Path:
        """Where `path` (absolute on the host) lies."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """A small file's text; none where it cannot be had."""
        try:
            with self.at(path).open("rb") as file:
                return file.read(READ_BYTES_MAX).decode(errors="replace").strip()
        except OSError:
            return None

    def write(self, path: str, text: str) -> str | None:
        """Write in one call, as the kernel's files want it; tells why it was refused. Never creates a file."""
        try:
            descriptor = os.open(self.at(path), os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
        except OSError as error:
            return error.strerror
        try:
            os.write(descriptor, text.encode())
        except OSError as error:
            return error.strerror
        finally:
            os.close(descriptor)
        return None

    def list(self, pattern: str) -> list[str]:
        """The paths that match a pattern, numbers in the order of numbers."""
        found = self.root.glob(pattern.lstrip("/"))
        return sorted((f"/{path.relative_to(self.root)}" for path in found), key=_by_number)

    def number(self, path: str) -> int | None:
        """A file that holds one whole number."""
        text = self.read(path)
        return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None

    def cpus(self, path: str) -> frozenset[int] | None:
        """A file that holds a CPU list."""
        text = self.read(path)
        try:
            return None if text is None else parse_cpu_list(text)
        except ValueError:
            return None


def _by_number(path: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", path)]


def read_topology(files: HostFiles) -> Topology:
    """The CPUs as the kernel tells them. Source: Documentation/admin-guide/cputopology.rst."""
    online = files.cpus(f"{CPUS}/online") or frozenset(range(os.cpu_count() or 1))
    nodes = dict(_nodes(files))
    slow = files.cpus("/sys/devices/cpu_atom/cpus") or frozenset()
    cpus = tuple(_cpu(files, number, nodes.get(number, 0)) for number in sorted(online))
    return Topology(
        tuple(replace(cpu, kind=Kind.EFFICIENCY) if cpu.number in slow else cpu for cpu in cpus),
        allowed=_granted(files),
        isolated_at_boot=_isolated_at_boot(files),
    )


def _isolated_at_boot(files: HostFiles) -> frozenset[int]:
    """Of the command line, not of `cpu/isolated`: that one also shows partitions of the moment."""
    found = re.search(r"(?:^|\s)isolcpus=(\S+)", files.read("/proc/cmdline") or "")
    parts = found[1].split(",") if found else []
    try:  # Flags such as `domain` or `managed_irq` stand before the list.
        return parse_cpu_list(",".join(part for part in parts if part[:1].isdecimal()))
    except ValueError:
        return frozenset()


def _granted(files: HostFiles) -> frozenset[int] | None:
    """What the root of the cpuset hierarchy has: of version 2, else of version 1."""
    places = ("/sys/fs/cgroup/cpuset.cpus.effective", "/sys/fs/cgroup/cpuset/cpuset.effective_cpus")
    return next((cpus for place in places if (cpus := files.cpus(place))), None)


def _nodes(files: HostFiles) -> Iterator[tuple[int, int]]:
    for path in files.list("/sys/devices/system/node/node*/cpulist"):
        number = re.search(r"node(\d+)/cpulist", path)
        for cpu in files.cpus(path) or ():
            yield cpu, int(number[1]) if number else 0


def _cpu(files: HostFiles, number: int, node: int) -> Cpu:
    directory = f"{CPUS}/cpu{number}"
    package = files.number(f"{directory}/topology/physical_package_id")
    return Cpu(
        number=number,
        core=min(files.cpus(f"{directory}/topology/thread_siblings_list") or {number}),
        package=max(package or 0, 0),  # Some firmware says -1.
        node=node,
        cache=_last_level_cache(files, directory),
    )


def _last_level_cache(files: HostFiles, directory: str) -> int:
    shared = files.cpus(f"{directory}/cache/index3/shared_cpu_list")
    return min(shared or files.cpus(f"{directory}/topology/package_cpus_list") or {0})


def host_record(files: HostFiles, engine: EngineFacts | None) -> HostRecord:
    """The machine, as far as it bears on numbers."""
    cpuinfo = files.read("/proc/cpuinfo") or ""
    memory = re.search(r"^MemTotal:\s+(\d+) kB", files.read("/proc/meminfo") or "", re.MULTILINE)
    return HostRecord(
        hostname=files.read("/proc/sys/kernel/hostname") or socket.gethostname(),
        machine_id=files.read("/etc/machine-id") or None,
        boot_id=files.read("/proc/sys/kernel/random/boot_id"),
        kernel=files.read("/proc/sys/kernel/osrelease"),
        cpu_model=_field(cpuinfo, "model name") or files.read("/sys/firmware/devicetree/base/model"),
        cpus=len(files.cpus(f"{CPUS}/online") or ()) or None,
        memory_bytes=int(memory[1]) << 10 if memory else None,
        engine=None if engine is None else f"{engine.name} {engine.version}",
        microcode=_field(cpuinfo, "microcode"),
        virtual=is_virtual(files, cpuinfo),
    )


def is_virtual(files: HostFiles, cpuinfo: str | None = None) -> bool | None:
    """Whether a hypervisor lies beneath; none where /proc/cpuinfo does not tell (it does on x86 only)."""
    flags = _field(files.read("/proc/cpuinfo") or "" if cpuinfo is None else cpuinfo, "flags")
    return None if flags is None else "hypervisor" in flags.split()


def _field(cpuinfo: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else None
