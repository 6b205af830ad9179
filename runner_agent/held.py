"""Hands on one hold of the benchmark's CPUs: places each iteration, reads the counters around it, has it judged.

Keeps the promise of `bench.Bench`; `isolation.py` makes and ends it. From `begin` to `end` nothing of this runs on the
benchmark's CPUs.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import structlog

from runner_agent.bench import Observation, Placement
from runner_agent.canary import Canaries
from runner_agent.counters import Passage, Reading, passage
from runner_agent.cpu_list import cpu_list
from runner_agent.culprits import FOREIGN, Ran, named, processes
from runner_agent.facts import CpuPlan
from runner_agent.groups import Groups, GroupsUnavailable, IterationGroup
from runner_agent.host import HostFiles
from runner_agent.kernel_log import KernelLog
from runner_agent.trust import Limits, judge
from runner_agent.vigil import Vigil
from runner_agent.watch import Sentinel, Watch
from runner_protocol.results import IsolationRecord, Verdict

log = structlog.get_logger()

THREADS_CHECKED_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Held:
    """What one hold consists of."""

    files: HostFiles
    plan: CpuPlan
    record: IsolationRecord
    groups: Groups | None
    word: str | None
    """Of the partition that was taken."""
    canaries: Canaries | None
    limits: Limits


@dataclass(slots=True)
class Round:
    """What is known of the iteration that is under way."""

    cpu: int = 0
    """Where the canaries sing: each iteration on the next benchmark CPU."""
    group: IterationGroup | None = None
    before: Reading | None = None
    started: Reading | None = None
    processes: Mapping[int, Ran] | None = None
    """As they were when the command began; none where nobody looks for a culprit."""
    misplaced: tuple[str, ...] = ()
    songs: list[dict[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Look:
    """What was read at the end of an iteration."""

    reading: Reading
    processes: Mapping[int, Ran] | None


class HeldBench:
    """The benchmark's CPUs for one job: keeps the promise of `bench.Bench`."""

    def __init__(self, held: Held, stack: ExitStack) -> None:
        self._held = held
        self.record = held.record
        partition = held.groups.partition_file if held.groups is not None and held.word is not None else None
        self._watch = Watch(held.files, held=held.plan.held, benchmark=held.plan.benchmark, partition=partition)
        stack.callback(self._watch.close)
        self._log = KernelLog(held.files.at("/dev/kmsg"))
        stack.callback(self._log.close)
        self._sentinel = Sentinel(str(held.files.at(partition))) if partition else None
        if self._sentinel is not None:
            stack.callback(self._sentinel.close)
        self._vigil = stack.enter_context(Vigil(self._look))
        self._cpus = sorted(held.plan.benchmark)
        self._round = Round()
        self._wary = True
        """Whether somebody ran on our CPUs in the last iteration: only then is the next one's culprit looked for."""

    @property
    def cpus(self) -> tuple[int, ...]:
        """The benchmark's."""
        return tuple(self._cpus)

    @property
    def canaries(self) -> Canaries | None:
        """The helper that can run on them; none where it is switched off."""
        return self._held.canaries

    async def prepare(self, number: int) -> Placement:
        """Make the iteration's cgroup, and the partition again if it was lost."""
        return await anyio.to_thread.run_sync(self._prepare, number)

    def _prepare(self, number: int) -> Placement:
        held = self._held
        self._round = Round(cpu=self._cpus[number % len(self._cpus)])
        nodes = cpu_list(held.plan.nodes)
        if held.groups is None:
            return Placement(cpuset_cpus=cpu_list(held.plan.benchmark), cpuset_mems=nodes)
        self._retake()
        try:
            self._round.group = group = held.groups.make(number)
        except GroupsUnavailable as error:
            log.warning("iteration_without_group", why=str(error))
            return Placement(cpuset_cpus=None if held.word else cpu_list(held.plan.benchmark))
        self._watch.follow(group.directories)
        # The engine refuses CPUs of a partition by name: it looks at what the root of the hierarchy has left.
        pinned = None if held.word else cpu_list(held.plan.benchmark)
        return Placement(cgroup_parent=group.parent, cpuset_cpus=pinned, cpuset_mems=None if held.word else nodes)

    def _retake(self) -> None:
        """A partition that was lost is taken again; the iteration in which it went is marked already."""
        held = self._held
        if held.groups is None or held.word is None:
            return
        if held.files.read(held.groups.partition_file) != held.word:
            said = held.groups.take(held.word)
            log.warning("partition_lost", taken_again=said == held.word, said=said)

    async def begin(self) -> None:
        """The canaries first, the counters last: nothing of ours runs on these CPUs once they are read."""
        now = self._round
        now.songs.append(self._sing())
        self._log.skip()
        if self._sentinel is not None:
            self._sentinel.heard()
        now.before = self._watch.reading(brief=True)

    async def started(self, pid: int) -> None:
        """Read again: from here on whatever else runs on these CPUs is not the engine that starts the container."""
        now = self._round
        now.started = self._watch.reading()
        self._vigil.begin(pid)
        now.misplaced = tuple(self._strays(pid))
        if self._wary:
            now.processes = processes(self._held.files)

    def _look(self) -> Look:
        return Look(self._watch.reading(), processes(self._held.files) if self._wary else None)

    async def end(self) -> Observation:
        """The counters first, unless they were read when the command ended; the canaries after them."""
        now, held = self._round, self._held
        if now.before is None:
            return await self._free(Observation(judge(Passage(wall_ns=0, cpus=len(self._cpus)))))
        last = self._vigil.end() or self._look()
        now.songs.append(self._sing())
        seen = passage(now.before, now.started, last.reading, cpus=len(held.plan.held), word=held.word)
        verdict = self._named(judge(self._completed(seen), held.limits), last)
        peak_bytes = last.reading.memory_peak_bytes
        return await self._free(Observation(verdict, cpu_ns=seen.own_ns, memory_peak_bytes=peak_bytes))

    def _named(self, verdict: Verdict, last: Look) -> Verdict:
        """With whoever ran on our CPUs, if anybody did and was looked for."""
        before, files = self._round.processes, self._held.files
        self._wary = any(reason.code == FOREIGN for reason in verdict.reasons)
        if not self._wary or before is None or last.processes is None:
            return verdict
        return named(verdict, before, last.processes, files, self._held.plan.held)

    def _completed(self, seen: Passage) -> Passage:
        """With what is no counter."""
        now, canaries = self._round, self._held.canaries
        lost = seen.partition_lost
        if lost is None and self._sentinel is not None and self._sentinel.heard():
            lost = "changed for a moment"
        return replace(
            seen,
            partition_lost=lost,
            misplaced=now.misplaced,
            kernel_log=self._log.sick_lines(),
            canaries=canaries.ratios(*now.songs) if canaries else {},
        )

    async def _free(self, observation: Observation) -> Observation:
        """Remove the iteration's cgroup."""
        await anyio.to_thread.run_sync(self._freed)
        return observation

    def _freed(self) -> None:
        self._watch.let_go()
        if self._round.group is not None and self._held.groups is not None:
            self._held.groups.remove(self._round.group)
        self._round = Round()

    def _sing(self) -> dict[str, int]:
        canaries = self._held.canaries
        return {} if canaries is None else canaries.sing(self._round.cpu)

    def _strays(self, pid: int) -> Iterator[str]:
        """Threads of the container that the kernel would let run outside of the benchmark's CPUs."""
        # Asked of the kernel: to read /proc/PID/status takes a hundred times as long, and the command runs already.
        for thread in _threads(pid)[:THREADS_CHECKED_MAX]:
            with suppress(OSError):  # It has ended meanwhile.
                allowed = frozenset(os.sched_getaffinity(thread))
                if not allowed <= self._held.plan.benchmark:
                    yield f"{self._held.files.read(f'/proc/{thread}/comm')} ({cpu_list(allowed)})"


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208  Numbers, not paths.
    except OSError:
        return []
