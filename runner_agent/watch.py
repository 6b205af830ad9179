"""Reads the host's counters before and after an iteration, through file descriptors that are kept open. Judges nothing.

Nothing is read in between: a watcher that looks while the benchmark runs is itself a neighbour.
"""

import ctypes
import os
import time
from collections.abc import Iterable
from functools import partial

from runner_agent import counters
from runner_agent.counters import Reading
from runner_agent.host import CPUS, HostFiles

CHUNK_BYTES = 1 << 16
READ_BYTES_MAX = 1 << 22
IN_MODIFY = 0x2
"""inotify(7): somebody wrote, or the kernel said that the content changed."""


class KeptFile:
    """One of the kernel's files, opened once and read again and again from its beginning."""

    def __init__(self, files: HostFiles, path: str) -> None:
        try:
            self._descriptor: int | None = os.open(files.at(path), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = None

    def text(self) -> str | None:
        """Its content now; none where there is no such file, or no more."""
        if self._descriptor is None:
            return None
        pieces: list[bytes] = []
        place = 0
        try:
            # Line by line files of /proc give a page at a time.
            while place < READ_BYTES_MAX and (piece := os.pread(self._descriptor, CHUNK_BYTES, place)):
                pieces.append(piece)
                place += len(piece)
        except OSError:
            return None
        return b"".join(pieces).decode(errors="replace")

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Watch:
    """The counters of one hold. `follow` names the cgroup of the next iteration."""

    def __init__(
        self, files: HostFiles, *, held: frozenset[int], benchmark: frozenset[int], partition: str | None
    ) -> None:
        self._files = files
        self._held, self._benchmark = sorted(held), sorted(benchmark)
        keep = partial(KeptFile, files)
        self._stat, self._schedstat = keep("/proc/stat"), keep("/proc/schedstat")
        self._percpu = keep("/sys/fs/cgroup/cpuacct/cpuacct.usage_percpu")
        self._vmstat = keep("/proc/vmstat")
        self._interrupts, self._softirqs = keep("/proc/interrupts"), keep("/proc/softirqs")
        self._frequencies = [keep(f"{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in self._benchmark]
        self._throttles = [
            keep(path)
            for cpu in self._benchmark
            for path in files.list(f"{CPUS}/cpu{cpu}/thermal_throttle/*_throttle_count")
        ]
        self._sensors = [keep(path) for path in files.list("/sys/class/hwmon/hwmon*/temp*_input")]
        self._partition = keep(partition) if partition else None
        self._group: dict[str, KeptFile] = {}

    def follow(self, directories: Iterable[str]) -> None:
        """Keep the counters of an iteration's cgroup: one directory on version 2, one for each controller on 1."""
        self.let_go()
        for directory in directories:
            for name in GROUP_FILES:
                if name not in self._group and self._files.at(f"{directory}/{name}").exists():
                    self._group[name] = KeptFile(self._files, f"{directory}/{name}")

    def let_go(self) -> None:
        """Of the iteration's cgroup, which can then be removed."""
        for kept in self._group.values():
            kept.close()
        self._group = {}

    def close(self) -> None:
        """Let go of everything."""
        self.let_go()
        singles = (self._stat, self._schedstat, self._percpu, self._vmstat, self._partition)
        for kept in (*singles, self._interrupts, self._softirqs, *self._frequencies, *self._throttles, *self._sensors):
            if kept is not None:
                kept.close()

    def reading(self, *, brief: bool = False) -> Reading:
        """All of it, now; `brief`: but what counts from the command's beginning only, and takes most of the time."""
        stat, vmstat = self._stat.text() or "", "" if brief else self._vmstat.text() or ""
        cpu_stat = self._of_group("cpu.stat")
        ran_ns, step_ns = self._ran(stat)
        own_ns = self._own(cpu_stat)
        return Reading(
            at_ns=time.clock_gettime_ns(time.CLOCK_MONOTONIC),
            raw_ns=time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
            ran_ns=ran_ns,
            ran_step_ns=step_ns,
            own_ns=own_ns,
            steal_ns=counters.stat_steal_ns(stat, self._held),
            throttled_ns=_throttled_ns(cpu_stat),
            cpu_wait_ns=counters.read(self._of_group("cpu.pressure"), counters.pressure_ns),
            io_wait_ns=counters.read(self._of_group("io.pressure"), counters.pressure_ns),
            memory_wait_ns=counters.read(self._of_group("memory.pressure"), counters.pressure_ns),
            interrupts=None if brief else self._interrupted(),
            swapped_pages=_sum(counters.keyed(vmstat, key) for key in ("pswpin", "pswpout")),
            oom_kills=counters.keyed(vmstat, "oom_kill"),
            thermal_throttles=_sum(_whole(kept) for kept in self._throttles),
            frequency_mhz=_mean([khz / 1e3 for kept in self._frequencies if (khz := _whole(kept)) is not None]),
            temperature_c=max((mc / 1e3 for kept in self._sensors if (mc := _whole(kept)) is not None), default=None),
            memory_peak_bytes=self._peak(),
            partition=None if self._partition is None else (self._partition.text() or "").strip(),
        )

    def _of_group(self, name: str) -> str | None:
        kept = self._group.get(name)
        return None if kept is None else kept.text()

    def _ran(self, stat: str) -> tuple[int | None, int]:
        """Run time on the held CPUs and its step: in ns by schedstat or version 1's cpuacct, else in ticks."""
        if (text := self._schedstat.text()) and (ns := counters.schedstat_ns(text, self._held)) is not None:
            return ns, 0
        if (text := self._percpu.text()) and (ns := counters.per_cpu_ns(text, self._held)) is not None:
            return ns, 0
        return counters.stat_busy_ns(stat, self._held), counters.TICK_NS

    def _interrupted(self) -> dict[str, int] | None:
        """By devices and, for them, by the kernel's own deferred work."""
        hard, soft = self._interrupts.text(), self._softirqs.text()
        if hard is None:
            return None
        counts = counters.device_interrupts(hard, self._held)
        return counts | (counters.soft_interrupts(soft, self._held) if soft else {})

    def _own(self, cpu_stat: str | None) -> int | None:
        if (text := self._of_group("cpuacct.usage_percpu")) is not None:
            return counters.per_cpu_ns(text, self._held)
        usec = None if cpu_stat is None else counters.keyed(cpu_stat, "usage_usec")
        return None if usec is None else usec * 1000

    def _peak(self) -> int | None:
        texts = (self._of_group("memory.peak"), self._of_group("memory.max_usage_in_bytes"))
        return next((int(text) for text in texts if text and text.strip().isdecimal()), None)


GROUP_FILES = (
    "cpu.stat",
    "cpu.pressure",
    "io.pressure",
    "memory.pressure",
    "memory.peak",
    "memory.max_usage_in_bytes",
    "cpuacct.usage_percpu",
)


def _throttled_ns(cpu_stat: str | None) -> int | None:
    """`throttled_usec` on version 2, `throttled_time` in ns on version 1."""
    if cpu_stat is None:
        return None
    usec = counters.keyed(cpu_stat, "throttled_usec")
    return counters.keyed(cpu_stat, "throttled_time") if usec is None else usec * 1000


def _whole(kept: KeptFile) -> int | None:
    text = (kept.text() or "").strip()
    return int(text) if text.lstrip("-").isdecimal() else None


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _mean(numbers: list[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


class Sentinel:
    """Hears every change of one file between two looks, also one that is undone before the second look. inotify(7)."""

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0 and libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_MODIFY) < 0:
            self.close()

    def heard(self) -> bool:
        """Whether the file changed since the last look."""
        try:
            return self._descriptor >= 0 and bool(os.read(self._descriptor, 4096))
        except OSError:
            return False

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
