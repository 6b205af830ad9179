"""Hands on one hold of the benchmark's CPUs: places each iteration, reads the counters around it, has it judged.

Keeps the promise of `bench.Bench`; `isolation.py` makes and ends it. From `begin` to `end` nothing of this runs on the
benchmark's CPUs.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import structlog

from runner_agent.bench import Observation, Placement
from runner_agent.canary import Canaries
from runner_agent.counters import Passage, Reading, passage
from runner_agent.cpu_list import cpu_list, parse_cpu_list
from runner_agent.culprits import FOREIGN, Ran, named, processes
from runner_agent.facts import CpuPlan
from runner_agent.groups import Groups, GroupsUnavailable, IterationGroup
from runner_agent.host import HostFiles
from runner_agent.trust import Limits, judge
from runner_agent.vigil import Vigil
from runner_agent.watch import KernelLog, Sentinel, Watch
from runner_protocol.results import IsolationRecord

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
    vigil: Vigil[Reading] | None = None
    """Reads the counters when the command ends, which is before the engine says so."""
    misplaced: tuple[str, ...] = ()
    songs: list[dict[str, int]] = field(default_factory=list)


class HeldBench:
    """The benchmark's CPUs for one job: keeps the promise of `bench.Bench`."""

    def __init__(self, held: Held, stack: ExitStack) -> None:
        self._held = held
        self.record = held.record
        partition = held.groups.partition_file if held.groups is not None and held.word is not None else None
        self._watch = Watch(held.files, held=held.plan.held, benchmark=held.plan.benchmark, partition=partition)
        stack.callback(self._watch.close)
        self._log = KernelLog(held.files)
        stack.callback(self._log.close)
        self._sentinel = Sentinel(str(held.files.at(partition))) if partition else None
        if self._sentinel is not None:
            stack.callback(self._sentinel.close)
        self._cpus = sorted(held.plan.benchmark)
        self._round = Round()
        self._processes: Mapping[int, Ran] = processes(held.files)
        """As they were when somebody was last looked for."""

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
        now.before = self._watch.reading()

    async def started(self, pid: int) -> None:
        """Read again: from here on whatever else runs on these CPUs is not the engine that starts the container."""
        now = self._round
        now.started = self._watch.reading()
        if self._held.files.live:
            now.vigil = Vigil(pid, self._watch.reading)
        now.misplaced = tuple(self._strays(pid))

    async def end(self) -> Observation:
        """The counters first, unless they were read when the command ended; the canaries after them."""
        now, held = self._round, self._held
        if now.before is None:
            return await self._free(Observation(judge(Passage(wall_ns=0, cpus=len(self._cpus)))))
        after = (now.vigil and now.vigil.close()) or self._watch.reading()
        now.songs.append(self._sing())
        seen = passage(now.before, now.started, after, cpus=len(held.plan.held), word=held.word)
        verdict = judge(self._completed(seen), held.limits)
        return await self._free(Observation(verdict, cpu_ns=seen.own_ns, memory_peak_bytes=after.memory_peak_bytes))

    def _completed(self, seen: Passage) -> Passage:
        """With what is no counter."""
        now, canaries = self._round, self._held.canaries
        lost = seen.partition_lost
        if lost is None and self._sentinel is not None and self._sentinel.heard():
            lost = "changed for a moment"
        if canaries is not None:
            for song in now.songs:
                canaries.learn(song)
        return replace(
            seen,
            partition_lost=lost,
            misplaced=now.misplaced,
            kernel_log=self._log.sick_lines(),
            canaries=canaries.ratios(now.songs) if canaries else {},
        )

    async def _free(self, observation: Observation) -> Observation:
        """Name who disturbed, if anybody did, and remove the iteration's cgroup."""
        return await anyio.to_thread.run_sync(self._freed, observation)

    def _freed(self, observation: Observation) -> Observation:
        self._watch.let_go()
        if self._round.group is not None and self._held.groups is not None:
            self._held.groups.remove(self._round.group)
        self._round = Round()
        if all(reason.code != FOREIGN for reason in observation.verdict.reasons):
            return observation
        files = self._held.files
        verdict = named(observation.verdict, self._processes, files, self._held.plan.held)
        self._processes = processes(files)
        return replace(observation, verdict=verdict)

    def _sing(self) -> dict[str, int]:
        canaries = self._held.canaries
        return {} if canaries is None else canaries.sing(self._round.cpu)

    def _strays(self, pid: int) -> Iterator[str]:
        """Threads of the container that the kernel would let run outside of the benchmark's CPUs."""
        files, groups, group = self._held.files, self._held.groups, self._round.group
        pids = [pid] if groups is None or group is None else groups.members(group)
        tasks = (path for each in pids or [pid] for path in files.list(f"/proc/{each}/task/[0-9]*/status"))
        for _, path in zip(range(THREADS_CHECKED_MAX), tasks, strict=False):
            fields = dict(line.split(":\t", 1) for line in (files.read(path) or "").splitlines() if ":\t" in line)
            allowed = fields.get("Cpus_allowed_list")
            if allowed is not None and not parse_cpu_list(allowed) <= self._held.plan.benchmark:
                yield f"{fields.get('Name')} ({allowed})"
