"""The story of one iteration: a fresh container, from its creation to its removal.

    prepare the bench → create → listen (output, exit) → begin → start → wait → end → collect → remove

From the start to the end nothing of ours runs but two sleeping threads and a glance at the disk now and then.
The job's own failures come back in the record; the engine's are raised as `HostFault`.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from runner_agent.bench import Bench, Observation, Placement
from runner_agent.containers import collect, create, disk, faults, files, oom, outcome
from runner_agent.containers.box import Box, await_death, fresh, hung_up, network
from runner_agent.containers.door import Door, Stream, tasks
from runner_agent.containers.faults import EngineCallError, EngineSilentError
from runner_agent.containers.outcome import Cut
from runner_agent.containers.streams import Capture
from runner_agent.containers.terms import EngineSettings
from runner_agent.engine import EngineFacts, IterationOrder, OutputTail
from runner_agent.errors import HostFault, JobFault
from runner_protocol.results import INFRASTRUCTURE, FaultClass, IterationRecord, Stage

log = structlog.get_logger(__name__)

# How often a waiting submitter sees new last lines. One look costs microseconds, on a housekeeping CPU.
TAIL_S = 2.0
# What a dead container has written must still arrive through the engine; a flood of many MiB takes a moment.
DRAIN_S_MAX = 10.0
# The bench puts cgroups back at its end; a kernel that takes longer is stuck.
BENCH_END_S_MAX = 30.0
# Over the iteration's own budget, for the streams that stay open through it.
LISTEN_MARGIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of the engine's host."""

    facts: EngineFacts
    cpus: int
    memory_bytes: int
    quota: bool
    """Whether to ask the engine to hold a container's layer to a size. It may still refuse."""


class Watch:
    """The bench for one iteration, ended exactly once."""

    def __init__(self, bench: Bench, placement: Placement) -> None:
        self._bench = bench
        self.placement = placement
        self.observation: Observation | None = None
        self._ended = False

    async def end(self) -> None:
        """Read the counters and free what `prepare` made."""
        if not self._ended:
            self._ended = True
            self.observation = await self._bench.end()


@asynccontextmanager
async def prepared(bench: Bench, number: int) -> AsyncIterator[Watch]:
    """Room for one iteration, given back on every way out."""
    watch = Watch(bench, await bench.prepare(number))
    try:
        yield watch
    finally:
        with anyio.move_on_after(BENCH_END_S_MAX, shield=True):
            await watch.end()


class Run:
    """One iteration."""

    def __init__(
        self,
        door: Door,
        settings: EngineSettings,
        ground: Ground,
        order: IterationOrder,
        bench: Bench,
        tail: OutputTail,
    ) -> None:
        self._door, self._settings, self._ground = door, settings, ground
        self._order, self._bench, self._tail = order, bench, tail
        self._capture = Capture(order.limits.stream_bytes_max)
        self._drained = anyio.Event()
        self._ended = anyio.Event()
        self._lost: EngineCallError | None = None
        self._disk = disk.Found.WITHIN
        self._free_before: disk.Free | None = None
        self._gauge: disk.DiskGauge | None = None

    async def record(self) -> IterationRecord:
        """Run it to its end, whatever the end is."""
        try:
            return await self._recorded()
        finally:
            # Tracebacks of cancelled tasks hold us in cycles: no output must wait until these are looked for.
            self._capture.forget()

    async def _recorded(self) -> IterationRecord:
        try:
            return await self._run()
        except EngineCallError as error:
            fault = faults.fault_of(error, Stage.ITERATE, what="the container could not be run")
        except JobFault as error:
            fault = error.fault
        if fault.kind in INFRASTRUCTURE:
            raise HostFault(fault.kind, fault.stage, fault.message)
        return outcome.record_of(self._order, self._capture, fault=fault)

    async def _run(self) -> IterationRecord:
        order, settings = self._order, self._settings
        self._free_before = disk.free_if_here(self._ground.facts.root_dir)
        if self._free_before is not None and self._free_before.scarce(settings.disk_free_bytes_min):
            raise self._host_full()
        name, labels = create.name(settings.identity, order), create.labels(settings.identity, order)
        async with (
            prepared(self._bench, order.number) as watch,
            network(self._door, name, labels, wanted=order.spec.network) as joined,
            fresh(self._door, name, self._body(watch.placement, joined)) as box,
        ):
            cut = await self._play(box, watch)
            inspected = await (oom.final(box) if cut is None else box.inspect())
            return await self._conclude(box, watch, cut, inspected)

    def _body(self, placement: Placement, joined: str) -> dict[str, Any]:
        ground = self._ground
        return create.body(self._order, placement, self._settings, network=joined, cpus=ground.cpus, quota=ground.quota)

    async def _play(self, box: Box, watch: Watch) -> Cut | None:
        """Start it and see it end. The order of these lines is the design; see the module's head."""
        silent_s_max = self._order.within_s + LISTEN_MARGIN_S
        async with tasks() as group:
            output = await box.output(silent_s_max=silent_s_max)
            with hung_up(output), hung_up(await box.exit(silent_s_max=silent_s_max)) as ending:
                group.start_soon(self._listen, output)
                group.start_soon(self._await_exit, ending)
                await self._bench.begin()
                await box.start()
                limit = anyio.CancelScope(deadline=anyio.current_time() + self._order.within_s)
                group.start_soon(self._tell_tail)
                cut = await self._await_end(box, group, limit)
                await watch.end()
                await self._drain()
                group.cancel_scope.cancel()
        return cut or await self._last_look()

    async def _await_end(self, box: Box, group: TaskGroup, limit: anyio.CancelScope) -> Cut | None:
        """The container's end, or ours of it."""
        with limit:
            inspected = await box.inspect()
            self._gauge = self._gauge_of(box, inspected)
            group.start_soon(self._watch_disk, limit)
            # A container that is gone already has no process to verify.
            if pid := int(inspected["State"]["Pid"]):
                await self._bench.started(pid)
            await self._ended.wait()
        if self._lost is not None:
            raise self._lost
        if not limit.cancelled_caught:
            return None
        await box.kill()
        await await_death(self._ended)
        if self._disk is disk.Found.HOST:
            raise self._host_full()
        return Cut.DISK if self._disk is disk.Found.OVER else Cut.TIMEOUT

    async def _listen(self, output: Stream) -> None:
        def read() -> None:
            for piece in output.pieces():
                self._capture.feed(piece)

        try:
            await self._door.call(read, within_s=math.inf)
        except EngineSilentError as error:
            # After the end it is we who hung up. Before it, the rest of the output is lost, and with it the results.
            self._lost = self._lost or error
            self._ended.set()
        self._drained.set()

    async def _drain(self) -> None:
        with anyio.move_on_after(DRAIN_S_MAX) as limit:
            await self._drained.wait()
        if limit.cancelled_caught:
            log.warning("output_not_drained", job=self._order.job, waited_s=DRAIN_S_MAX)

    async def _await_exit(self, ending: Stream) -> None:
        try:
            answer = await self._door.call(lambda: b"".join(ending.pieces()), within_s=math.inf)
            told = b"StatusCode" in answer
            lost = None if told else EngineSilentError("the engine stopped waiting for the container")
        except EngineSilentError as error:
            lost = error
        self._lost = self._lost or lost
        self._ended.set()

    async def _tell_tail(self) -> None:
        told = ""
        while True:
            await anyio.sleep(TAIL_S)
            recent = self._capture.recent
            if recent != told:
                told = recent
                self._tail(recent)

    def _gauge_of(self, box: Box, inspected: dict[str, Any]) -> disk.DiskGauge | None:
        """What watches the disk; none where the engine's quota holds everything that can be written."""
        if inspected["HostConfig"].get("StorageOpt") and not inspected.get("Mounts"):
            return None
        limit_bytes = self._order.spec.disk
        paths = disk.writable_paths(inspected)
        if paths is None or self._free_before is None:
            return disk.FarGauge(lambda: self._sized(box), limit_bytes=limit_bytes)
        return disk.NearGauge(
            paths,
            pid=int(inspected["State"]["Pid"]),
            limit_bytes=limit_bytes,
            before=self._free_before,
            free_bytes_min=self._settings.disk_free_bytes_min,
        )

    def _host_full(self) -> HostFault:
        message = (
            f"{self._ground.facts.root_dir} has less than {self._settings.disk_free_bytes_min} bytes, or no files, free"
        )
        return HostFault(FaultClass.HOST_DISK_FULL, Stage.ITERATE, message)

    def _sized(self, box: Box) -> dict[str, Any]:
        found: dict[str, Any] = self._door.ask("GET", f"/containers/{box.id}/json", params={"size": 1})
        return found

    async def _watch_disk(self, limit: anyio.CancelScope) -> None:
        while self._gauge is not None:
            look = await self._door.call(self._gauge.look)
            if look.found is not disk.Found.WITHIN:
                self._disk = look.found
                limit.cancel()
                return
            await anyio.sleep(look.again_in_s)

    async def _last_look(self) -> Cut | None:
        """A command that wrote too much and left between two looks has still written too much."""
        if self._gauge is None:
            return None
        look = await self._door.call(self._gauge.look)
        return Cut.DISK if look.found is disk.Found.OVER else None

    async def _conclude(self, box: Box, watch: Watch, cut: Cut | None, inspected: dict[str, Any]) -> IterationRecord:
        ending = outcome.ending_of(inspected["State"])
        fault = outcome.fault_of(
            ending,
            cut=cut,
            within_s=self._order.within_s,
            disk_bytes=self._order.spec.disk,
            program=self._order.program,
            stderr_end=self._capture.stderr_end,
        )
        haul = await self._collect(box, inspected["Config"]["WorkingDir"])
        return outcome.record_of(
            self._order,
            self._capture,
            fault=fault or haul.fault,
            ending=ending,
            seen=watch.observation,
            timed_out=cut is Cut.TIMEOUT,
            files=haul.files,
        )

    async def _collect(self, box: Box, workdir: str) -> collect.Haul:
        if not self._order.file_paths:
            return collect.Haul()
        limits = self._order.limits
        bounds = collect.Bounds(
            total_bytes_max=limits.files_bytes_max,
            file_bytes_max=self._settings.file_bytes_max,
            files_max=self._settings.files_max,
            scan_bytes_max=self._settings.scan_bytes_max,
            scan_entries_max=self._settings.scan_entries_max,
            contents=self._order.file_contents,
        )
        collector = collect.Collector(self._door, box.id, bounds)
        wants = [files.want(asked, workdir) for asked in self._order.file_paths]
        return await self._door.call(lambda: collector.collect(wants), within_s=collect.SCAN_S_MAX * len(wants))
