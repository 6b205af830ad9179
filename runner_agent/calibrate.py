"""The story of `calibrate`: hold the host as a job does, and find out what it can tell apart.

gaps on each CPU → canaries → the same work again and again, compared with itself
"""

from collections.abc import Callable
from datetime import UTC, datetime

from anyio import to_thread

from runner_agent.calibration import PAIRS, Calibration, GapRecord, epoch_of, self_test
from runner_agent.canary import Canaries, Gaps
from runner_agent.errors import HostFault
from runner_agent.held import HeldBench
from runner_agent.isolation import BenchHost
from runner_protocol.jobs import Spec
from runner_protocol.results import FaultClass, HostRecord, Stage

GAPS_S = 4.0
SONGS = 60
SELF_TESTS = 20

Told = Callable[[str, float], None]
"""Hears what is being done and how far all of it is, from 0 to 1."""


async def calibrate(host: BenchHost, spec: Spec, told: Told) -> Calibration:
    """Some half a minute in which nothing else should run here. Raises `HostFault` where the helper cannot work."""
    async with host.hold(spec) as bench:
        # In a thread: the loop stays free to hear of an interrupt.
        return await to_thread.run_sync(_measured, bench, host.record(), told)


def _measured(bench: HeldBench, host: HostRecord, told: Told) -> Calibration:
    canaries = bench.canaries
    if canaries is None:
        raise _unable("the canaries are switched off")
    gaps = [_gaps(canaries, cpu, told, place / len(bench.cpus)) for place, cpu in enumerate(bench.cpus)]
    told("canaries", 0.3)
    for number in range(SONGS):
        canaries.learn(canaries.sing(bench.cpus[number % len(bench.cpus)]))
    samples_ns = [_sample(canaries, bench.cpus[0], told, number) for number in range(2 * PAIRS * SELF_TESTS)]
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(
        epoch=epoch_of(host.machine_id, host.kernel, host.microcode, taken),
        taken=taken,
        boot_id=host.boot_id,
        kernel=host.kernel,
        microcode=host.microcode,
        canary_ns=canaries.heard_ns,
        gaps=gaps,
        samples_ns=samples_ns,
        isolation=bench.record.level.value,
        **self_test(samples_ns).model_dump(),
    )


def _gaps(canaries: Canaries, cpu: int, told: Told, share: float) -> GapRecord:
    told(f"gaps on CPU {cpu}", 0.3 * share)
    found = canaries.gaps(cpu, GAPS_S)
    if found is None:
        raise _unable(f"CPU {cpu} cannot be reached")
    return gap_record(cpu, found)


def gap_record(cpu: int, found: Gaps) -> GapRecord:
    """As shares and rates."""
    return GapRecord(
        cpu=cpu,
        stolen_ppm=found.stolen_ns / found.looked_ns * 1e6,
        longest_us=found.longest_ns / 1e3,
        gaps_per_s=found.count / found.looked_ns * 1e9,
    )


def _sample(canaries: Canaries, cpu: int, told: Told, number: int) -> int:
    total = 2 * PAIRS * SELF_TESTS
    if number % PAIRS == 0:
        told("A against A", 0.35 + 0.65 * number / total)
    took_ns = canaries.work(cpu)
    if took_ns is None:
        raise _unable(f"CPU {cpu} cannot be reached")
    return took_ns


def _unable(why: str) -> HostFault:
    return HostFault(FaultClass.HOST_FAULT, Stage.ISOLATE, f"this host cannot be calibrated: {why}")
