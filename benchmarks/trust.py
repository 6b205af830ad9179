"""How far our verdicts and comparisons can be trusted, against neighbours whose every burst is on record.

    python benchmarks/trust.py recall     of iterations that a neighbour truly slowed, how many were called disturbed
    python benchmarks/trust.py pairs      A against A and against A + 3 %, in pairs and in blocks
    python benchmarks/trust.py cost       what watching an iteration takes

Natively, without containers: a worker does fixed work on the benchmark's CPU of this host, as a job of one CPU would
hold it; of the host's settings only threads are moved. What was measured, with the truth beside it, goes to
.cache/trust/NAME.json.
"""

import argparse
import json
import logging
import math
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import structlog
from noise.stage import Worker, facts, neighbour, worker
from noise.truth import SLOWED_MIN, Seen, overlap_ns, summed, usual, with_truth

from runner_agent import isolation, tuning
from runner_agent.bench import Bench, Observation
from runner_agent.cores import plan_cpus
from runner_agent.cpu_list import parse_cpu_list
from runner_agent.facts import CpuPlan
from runner_agent.held import HeldBench
from runner_agent.host import HostFiles, read_topology
from runner_agent.isolation import BenchHost, IsolationSettings
from runner_agent.pairs import compared, order
from runner_protocol.jobs import Spec
from runner_protocol.results import Variant

KEPT = Path(__file__).resolve().parents[1] / ".cache" / "trust"
SPEC = Spec(uuid=uuid.UUID(int=1), name="trust", slug="trust", cpu=1, memory=256 << 20, disk=64 << 20)
WORKS = ("alu", "memory")
COMPARED = ("alu", "copies")
"""Of which 3 % more shall be found: two whose own noise leaves room for that on a virtual machine."""
# Not the agent's own group: one that works on this host meanwhile would clear our cgroups with its leftovers. Threads
# that the agent moves away on every host are moved, and nothing else is: devices shall interrupt us.
MOVED = {"kernel_threads", "engine"}
HELD = IsolationSettings(group="trust", switches={name: name in MOVED for name in tuning.NAMES})


@dataclass(frozen=True, slots=True)
class Condition:
    """Which neighbour is put where, beside which work."""

    name: str
    kind: str | None = None
    same: bool = False
    """On the benchmark's own CPU; else on the one that keeps house."""
    works: tuple[str, ...] = WORKS
    times: int = 1
    """As often as the others: one that slows few iterations needs more of them."""


CONDITIONS = (
    Condition("quiet", works=("alu", "memory", "disk")),
    Condition("spinner", "spinner", same=True),
    Condition("bursts", "bursts", same=True, times=3),
    Condition("memory", "memory"),
    Condition("fsync", "fsync", same=True),
    Condition("fsync, disk", "fsync", works=("disk",)),
    Condition("interrupts", "interrupts"),
    Condition("packets", "packets", same=True),
    Condition("quiet again", works=("alu", "memory", "disk")),
)
# The marks that the programs are held against.
RECALL_MIN, FALSE_MAX, GAIN_MIN, FOUND_MIN = 0.90, 0.10, 5.0, 0.90
# A neighbour that slows work by less is no disturbance: five per cent, as for a single iteration.
FELT_MIN = 0.05
WATCH_MS_MAX, CANARIES_MS_MAX = 1.0, 5.0


async def observed(bench: Bench, cpu: int, number: int, condition: str, work: str) -> Seen:
    """One iteration, watched as the agent watches a container's: a process of its own, from its start to its end."""
    placement = await bench.prepare(number)
    with worker(cpu) as doer:
        doer.do("alu", 0.0)  # It is there.
        doer.enter(placement.cgroup_parent or "/")
        await bench.begin()
        begin_ns = time.monotonic_ns()
        doer.begin(work, last=True)
        await bench.started(doer.pid)
        wall_ns, cpu_ns = doer.end()
        end_ns = time.monotonic_ns()
    verdict = (await bench.end()).verdict
    reasons = [reason.code for reason in verdict.reasons]
    return Seen(condition, work, begin_ns, end_ns, wall_ns, cpu_ns, verdict.word.value, reasons, verdict.signals)


async def recall(rounds: int, cpu: str) -> bool:
    """Every neighbour beside each kind of work."""
    plan, everything = planned(cpu), list[Seen]()
    bursts: dict[str, list[tuple[int, int]]] = {}
    for work in ("alu", "memory", "disk"):
        # A hold for each work: a job has one benchmark.
        with tempfile.TemporaryDirectory(dir="/var/tmp") as state:
            host = BenchHost(Path("/"), replace(HELD, benchmark_cpus=cpu), Path(state), facts())
            async with host.hold(SPEC) as bench:
                for condition in (each for each in CONDITIONS if work in each.works):
                    where = min(plan.benchmark if condition.same else plan.housekeeping)
                    with neighbour(condition.kind, where) as phases:
                        turns = range(rounds * condition.times)
                        seen = [await observed(bench, min(plan.benchmark), it, condition.name, work) for it in turns]
                    everything += with_truth(seen, phases)
                    bursts.setdefault(condition.name, []).extend((each.begin_ns, each.end_ns) for each in phases)
    print(f"isolation {bench.record.level.value}: {bench.record.note}")
    keep("recall", {"seen": [asdict(each) for each in everything], "bursts": bursts})
    return told_recall(everything)


def told_recall(everything: Sequence[Seen]) -> bool:
    """Print the table; whether every mark was met."""
    calm = [each for each in everything if each.condition.startswith("quiet")]
    works = dict.fromkeys(each.work for each in calm)
    of_work = {work: usual([each.wall_ns for each in calm if each.work == work]) for work in works}
    for work, found in of_work.items():
        print(f"{work:8} quiet median {found.median_ns / 1e6:.1f} ms; slowed beyond {found.limit_ns / 1e6:.1f} ms")
    heads = ("slowed", "caught", "recall", "untouched", "flagged", "alone", "false")
    print(f"\n{'neighbour':12}" + "".join(f"{head:>10}" for head in heads) + "  for")
    rows = {
        name: summed([each for each in everything if each.condition == name], of_work)
        for name in dict.fromkeys(each.condition for each in everything)
    }
    for name, row in rows.items():
        share = "-" if row.recall is None else f"{row.recall:.1%}"
        figures = (row.slowed, row.caught, share, row.untouched, row.flagged, row.alone, row.false)
        why = ", ".join(f"{code} {count}" for code, count in row.reasons.items())
        print(f"{name:12}" + "".join(f"{figure:>10}" for figure in figures) + f"  {why}")
    quiet = summed(calm, of_work)
    shares = [row.recall for row in rows.values() if row.recall is not None]
    worst = min(shares, default=0.0)
    print(f"('-': fewer than {SLOWED_MIN} were slowed)\n")
    met = mark(
        f"least recall of {len(shares)} neighbours", f"{worst:.1%}", f"≥ {RECALL_MIN:.0%}", met=worst >= RECALL_MIN
    )
    false = quiet.false / max(quiet.alone, 1)
    return (
        mark(f"false flags of {quiet.alone} when quiet", f"{false:.1%}", f"≤ {FALSE_MAX:.0%}", met=false <= FALSE_MAX)
        and met
    )


def mark(what: str, found: str, wanted: str, *, met: bool) -> bool:
    """One line of the judgement."""
    print(f"{'met   ' if met else 'MISSED'}  {what}: {found} (mark: {wanted})")
    return met


def errors(trials: int, count: int, sample: Callable[[], int]) -> tuple[list[float], list[float]]:
    """The log ratio of A to A, `trials` times over: in blocks, and in pairs."""
    blocks, pairs = [], []
    for trial in range(trials):
        one, two = [sample() for _ in range(count)], [sample() for _ in range(count)]
        blocks.append(math.log(statistics.median(one) / statistics.median(two)))
        pairs.append(math.log(compared(paired(count, trial, lambda _: sample())).ratio))
    return blocks, pairs


def paired(count: int, seed: int, sample: Callable[[Variant], int]) -> list[float]:
    """Ratios of candidate to baseline, run in the agent's own order."""
    turns = order(count, random.Random(seed))
    times = [(variant, sample(variant)) for variant in turns]
    return [_ratio(*pair) for pair in zip(times[::2], times[1::2], strict=True)]


def _ratio(one: tuple[Variant, int], two: tuple[Variant, int]) -> float:
    both = dict((one, two))
    return both[Variant.CANDIDATE] / both[Variant.BASELINE]


@dataclass(frozen=True, slots=True)
class Beside:
    """A against A beside bursts on the memory."""

    cpu: int
    """The neighbour's."""
    slowed: float
    """How much longer a run takes that lies within a burst: 0.5 is half as long again."""
    blocks: list[float]
    pairs: list[float]
    """The log ratio of each trial: its distance from zero is the error."""

    @property
    def gain(self) -> float:
        """How many times smaller the error is in pairs."""
        return spread(self.blocks) / spread(self.pairs)


def beside(doer: Worker, cpu: int, trials: int) -> Beside:
    """Twenty and twenty runs, `trials` times, with the neighbour on `cpu`."""
    runs: list[tuple[int, int]] = []

    def sample() -> int:
        begin_ns = time.monotonic_ns()
        runs.append((begin_ns, doer.do("memory")))
        return runs[-1][1]

    with neighbour("memory", cpu) as phases:
        blocks, together = errors(trials, 20, sample)
    overlaps = [overlap_ns(phases, begin, begin + took) for begin, took in runs]
    within = [took for (_, took), overlap in zip(runs, overlaps, strict=True) if overlap == took]
    without = [took for (_, took), overlap in zip(runs, overlaps, strict=True) if not overlap]
    return Beside(cpu, statistics.median(within) / statistics.median(without) - 1, blocks, together)


def pairs(trials: int, cpu: str) -> bool:
    """A against A beside a bursty memory neighbour; then A against A with three per cent more, and nobody beside.

    The neighbour runs on the other CPU. Where the shared cache is so large that it does not slow the work from there,
    pairs have nothing to make good: then it runs on the work's own CPU as well, and that is judged.
    """
    plan = planned(cpu)
    own, other = min(plan.benchmark), min(plan.housekeeping)
    with worker(own) as doer:
        tried = [beside(doer, other, trials)]
        if tried[0].slowed < FELT_MIN:
            tried.append(beside(doer, own, trials))
        tests = [more(doer, work, trial) for trial in range(trials) for work in COMPARED]
    judged = tried[-1]
    keep("pairs", {"blocks": judged.blocks, "pairs": judged.pairs, "tests": tests})
    found = sum(bool(each["found"]) for each in tests) / len(tests)
    print(f"A/A beside bursts on the memory, 20 + 20 runs, {trials} trials: how far the ratio is off, root mean square")
    for each in tried:
        where = "the work's own CPU" if each.cpu == own else "the other CPU"
        print(f"  from {where}, a burst slows a run by {each.slowed:.0%}: ", end="")
        print(f"blocks {spread(each.blocks):.1%} · pairs {spread(each.pairs):.1%}, {each.gain:.1f} times")
    for work in COMPARED:
        those = [each for each in tests if each["work"] == work]
        hits, median = sum(bool(each["found"]) for each in those), statistics.median(each["ratio"] for each in those)
        effect = statistics.median(each["detectable"] for each in those)
        print(f"A + 3 %, {work}: found in {hits} of {len(those)}, median {median - 1:+.2%}, detectable {effect:.2%}")
    print()
    met = mark("A/A error, blocks over pairs", f"{judged.gain:.1f}", f"≥ {GAIN_MIN:g}", met=judged.gain >= GAIN_MIN)
    return mark("+3 % found with 30 pairs", f"{found:.0%}", f"≥ {FOUND_MIN:.0%}", met=found >= FOUND_MIN) and met


def more(doer: Worker, work: str, trial: int) -> dict[str, Any]:
    """Thirty pairs with a candidate that does three per cent more."""
    found = compared(paired(30, trial, lambda it: doer.do(work, 1.03 if it is Variant.CANDIDATE else 1.0)))
    return {
        "work": work,
        "ratio": found.ratio,
        "lower": found.ratio_lower,
        "upper": found.ratio_upper,
        "detectable": found.minimum_detectable_effect,
        "found": found.p_value < 0.05 and found.ratio > 1,
    }


def spread(values: Sequence[float]) -> float:
    """Their standard deviation about zero, where the truth lies."""
    return math.sqrt(statistics.fmean(value * value for value in values))


async def cost(rounds: int, cpu: str) -> bool:
    """What lies between the container that is ready and the command, and after its end until it is judged."""
    results = {}
    isolation.HeldBench = Timed  # type: ignore[attr-defined]
    for canaries in (False, True):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as state, worker(min(planned(cpu).benchmark)) as doer:
            settings = replace(HELD, canaries=canaries, benchmark_cpus=cpu)
            async with BenchHost(Path("/"), settings, Path(state), facts()).hold(SPEC) as bench:
                results[canaries] = statistics.median([await watched_ms(bench, doer, each) for each in range(rounds)])
    watch_ms, canaries_ms = results[False], results[True] - results[False]
    keep("cost", {"watch_ms": watch_ms, "canaries_ms": canaries_ms})
    cheap = watch_ms <= WATCH_MS_MAX
    met = mark("watching an iteration", f"{watch_ms:.2f} ms", f"≤ {WATCH_MS_MAX:g} ms", met=cheap)
    cheap = canaries_ms <= CANARIES_MS_MAX
    return mark("canaries of an iteration", f"{canaries_ms:.2f} ms", f"≤ {CANARIES_MS_MAX:g} ms", met=cheap) and met


async def watched_ms(bench: Bench, doer: Worker, number: int) -> float:
    """Of one iteration that does nothing."""
    placement = await bench.prepare(number)
    doer.enter(placement.cgroup_parent or "/")
    began = time.perf_counter()
    await bench.begin()
    await bench.started(doer.pid)
    took_s = time.perf_counter() - began
    doer.leave()
    began = time.perf_counter()
    await bench.end()
    return (took_s + Timed.judged_at_s - began) * 1e3


class Timed(HeldBench):
    """A hold that notes when it had judged: to remove the iteration's cgroup belongs to isolation."""

    judged_at_s = 0.0

    async def _free(self, observation: Observation) -> Observation:
        Timed.judged_at_s = time.perf_counter()
        return await super()._free(observation)


def planned(cpu: str) -> CpuPlan:
    """As a job of one CPU would have it."""
    plan = plan_cpus(read_topology(HostFiles()), 1, parse_cpu_list(cpu))
    assert isinstance(plan, CpuPlan), plan
    assert plan.exclusive, "this needs two CPUs"
    return plan


def keep(name: str, found: object) -> None:
    """For the pictures, and for whoever doubts."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(found))


@contextmanager
def timed() -> Iterator[None]:
    """Say how long the block took."""
    began = time.monotonic()
    yield
    print(f"({time.monotonic() - began:.0f} s)")


def main() -> int:
    """One of the three, or all; the exit code is 1 when a mark was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("recall", "pairs", "cost"))
    parser.add_argument("--rounds", type=int, help="how often; the defaults take a few minutes")
    parser.add_argument("--cpu", default="", help="the benchmark's; chosen from the topology unless it is given")
    given = parser.parse_args()
    # Whoever ends this early gets the host back as it was: the hold is undone on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with timed():
        match given.what:
            case "recall":
                met = anyio.run(recall, given.rounds or 40, given.cpu)
            case "pairs":
                met = pairs(given.rounds or 10, given.cpu)
            case _:
                met = anyio.run(cost, given.rounds or 100, given.cpu)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
