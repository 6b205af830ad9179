"""Hands and story of the quiet host: plan the CPUs, take them, tune, watch each iteration, put everything back.

`BenchHost.hold` reads top to bottom. Whatever a host cannot give makes the level weaker, never the job fail: the record
says what is in force. Only a spec that asks for more CPUs than there are is refused.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import structlog

from runner_agent.calibration import Calibration, drifted, load, load_drift, save_drift
from runner_agent.canary import Canaries
from runner_agent.cores import plan_cpus
from runner_agent.cpu_list import cpu_list, parse_cpu_list
from runner_agent.engine import EngineFacts
from runner_agent.errors import JobFault
from runner_agent.facts import CpuPlan, Refusal
from runner_agent.groups import Groups, GroupsUnavailable
from runner_agent.held import Held, HeldBench
from runner_agent.host import HostFiles, host_record, read_topology
from runner_agent.journal import Journal
from runner_agent.trust import LIMITS, Limits
from runner_agent.tuner import Tuner
from runner_agent.tuning import digest, selected
from runner_agent.undo import JOURNAL, boot_id, restore
from runner_protocol.jobs import Spec
from runner_protocol.results import Fault, FaultClass, HostRecord, IsolationLevel, IsolationRecord, Stage

log = structlog.get_logger()

LEVELS: Final = {"isolated": IsolationLevel.PARTITION_ISOLATED, "root": IsolationLevel.PARTITION_ROOT}


@dataclass(frozen=True, slots=True)
class IsolationSettings:
    """The owner's choices, as plain values."""

    benchmark_cpus: str = ""
    """CPUs for benchmarks, as a kernel list; empty: chosen from the topology."""
    group: str = "bench"
    """Name of the cgroup, or of the slice, that jobs run in."""
    partition: bool = True
    """Take the CPUs away from everything else, where the host can."""
    tune: bool = True
    """Turn the settings of the tuning table, for the length of each job."""
    switches: Mapping[str, bool] = field(default_factory=dict)
    """Single settings of the table, by name."""
    canaries: bool = True
    limits: Limits = LIMITS


class BenchHost:
    """This machine, isolated as well as it can be."""

    def __init__(self, root: Path, settings: IsolationSettings, state_dir: Path, facts: EngineFacts) -> None:
        self._files = HostFiles(root)
        self._settings = settings
        self._state_dir = state_dir
        self._facts = facts

    def record(self) -> HostRecord:
        """The machine as far as it bears on numbers, with what its last calibration found."""
        record, calibration = host_record(self._files, self._facts), load(self._state_dir)
        return record if calibration is None else calibration.into(record, load_drift(self._state_dir))

    @asynccontextmanager
    async def hold(self, spec: Spec) -> AsyncIterator[HeldBench]:
        """Keep the host quiet for one job. Raises `JobFault` where the spec asks for more CPUs than there are."""
        # Before anything is planned: CPUs that a killed one still holds would not be counted.
        await anyio.to_thread.run_sync(self._put_back_leftovers)
        plan = self._plan(spec.cpu)
        with ExitStack() as stack:
            try:
                bench = await anyio.to_thread.run_sync(self._enter, stack, plan)
                log.info("host_held", level=bench.record.level, cpus=bench.record.benchmark_cpus)
                yield bench
            finally:
                # Shielded, and in a thread: whoever cancels the job must not leave the host as it is.
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(stack.close)

    def _put_back_leftovers(self) -> None:
        for line in restore(self._state_dir, self._files.root):
            log.warning("host_restored", what=line)

    def _plan(self, cpus: int) -> CpuPlan:
        plan = plan_cpus(read_topology(self._files), cpus, parse_cpu_list(self._settings.benchmark_cpus))
        if isinstance(plan, Refusal):
            raise JobFault(Fault(kind=FaultClass.SPEC_REFUSED, stage=Stage.ISOLATE, message=plan.reason))
        return plan

    def _enter(self, stack: ExitStack, plan: CpuPlan) -> HeldBench:
        """The order matters: what is taken last is given back first."""
        tuner = Tuner(self._files, Journal(self._state_dir / JOURNAL, boot_id(self._files)))
        stack.callback(_put_back, tuner)
        groups, word, note = self._take(tuner, plan)
        settings = self._settings
        rows = selected(settings.switches, partitioned=word is not None) if settings.tune and plan.exclusive else ()
        records = [tuner.apply(row, plan) for row in rows]
        record = IsolationRecord(
            level=_level(plan, word),
            benchmark_cpus=cpu_list(plan.benchmark),
            housekeeping_cpus=cpu_list(plan.housekeeping),
            settings=records,
            note=note or plan.note,
        )
        record = record.model_copy(update={"digest": digest(record)})
        stack.enter_context(away_from(plan))
        canaries = self._canaries(stack, groups, plan)
        return HeldBench(Held(self._files, plan, record, groups, word, canaries, settings.limits), stack)

    def _take(self, tuner: Tuner, plan: CpuPlan) -> tuple[Groups | None, str | None, str | None]:
        """The job's cgroup, the partition's word if one holds, and why not if none does."""
        groups = Groups(self._files, self._facts, plan, self._settings.group)
        try:
            groups.open(tuner)
        except GroupsUnavailable as error:
            return None, None, str(error)
        if groups.version != 2:
            return groups, None, "cgroup version 1 has no partitions"
        if not self._settings.partition or not plan.exclusive:
            return groups, None, "switched off" if plan.exclusive else plan.note
        # Nothing balances threads within an isolated partition: with several CPUs all would stay on one of them.
        said = ""
        for word in ("isolated", "root") if len(plan.benchmark) == 1 else ("root",):
            if (said := groups.take(word)) == word:
                return groups, word, None
        return groups, None, f"the kernel refused a partition: {said}"

    def _canaries(self, stack: ExitStack, groups: Groups | None, plan: CpuPlan) -> Canaries | None:
        if not self._settings.canaries:
            return None
        calibration = load(self._state_dir)
        canaries = stack.enter_context(Canaries(self._state_dir))
        if groups is not None:
            groups.enter(canaries.pid)
        canaries.tune_up(plan.benchmark)
        if calibration is not None:
            self._compare(calibration, canaries)
        return canaries

    def _compare(self, calibration: Calibration, canaries: Canaries) -> None:
        """A host that has become another one since it was calibrated is told of, here and in `record`."""
        drift = drifted(calibration, canaries.heard_ns)
        save_drift(self._state_dir, drift)
        for line in drift:
            log.warning("host_drifted", how=line)


def _put_back(tuner: Tuner) -> None:
    for line in tuner.undo():
        log.debug("host_put_back", what=line)


def _level(plan: CpuPlan, word: str | None) -> IsolationLevel:
    if word is not None:
        return LEVELS[word]
    return IsolationLevel.CPUSET if plan.exclusive else IsolationLevel.NONE


@contextmanager
def away_from(plan: CpuPlan) -> Iterator[None]:
    """This process leaves the held CPUs, each of its threads; later ones inherit it. Ends with the process at worst."""
    before = {thread: cpus for thread in _own_threads() if (cpus := _affinity(thread))}
    for thread, cpus in before.items():
        with suppress(OSError):
            os.sched_setaffinity(thread, cpus & plan.housekeeping or plan.housekeeping)
    usual = before.get(os.getpid())
    try:
        yield
    finally:
        for thread in _own_threads():
            with suppress(OSError):
                os.sched_setaffinity(thread, before.get(thread) or usual or plan.housekeeping)


def _own_threads() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/task")]  # noqa: PTH208  Numbers, not paths.


def _affinity(thread: int) -> set[int]:
    try:
        return os.sched_getaffinity(thread)
    except OSError:
        return set()
