"""How far our verdicts and comparisons can be trusted, against neighbours whose every burst is on record.

    python benchmarks/trust.py recall     of iterations that a neighbour truly slowed, how many were called disturbed
    python benchmarks/trust.py pairs      A against A and against A + 3 %, in pairs and in blocks
    python benchmarks/trust.py cost       what watching an iteration takes

Natively, without containers: a worker does fixed work on the benchmark's CPU of this host, as a job of one CPU would
hold it, with nothing tuned. What was measured, with the truth beside it, goes to .cache/trust/NAME.json.
"""

import argparse
import json
import math
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from noise.stage import Phase, Worker, facts, neighbour, worker

from runner_agent import groups, isolation
from runner_agent.bench import Bench
from runner_agent.cores import plan_cpus
from runner_agent.facts import CpuPlan
from runner_agent.host import HostFiles, read_topology
from runner_agent.isolation import BenchHost, IsolationSettings
from runner_agent.pairs import compared, order
from runner_protocol.jobs import Spec
from runner_protocol.results import Variant, Word

KEPT = Path(__file__).resolve().parents[1] / ".cache" / "trust"
SPEC = Spec(uuid=uuid.UUID(int=1), name="trust", slug="trust", cpu=1, memory=256 << 20, disk=64 << 20)
WORKS = ("alu", "memory")
# Not the agent's own: one that works on this host meanwhile would clear our cgroups with its leftovers.
GROUP = "trust"
# Which CPU each neighbour sits on: the benchmark's own, or the one that keeps house.
NEIGHBOURS = {
    "spinner": "same",
    "bursts": "same",
    "memory": "other",
    "fsync": "same",
    "interrupts": "other",
    "packets": "same",
}
# The marks that the programs are held against.
RECALL_MIN, FALSE_MAX, GAIN_MIN, FOUND_MIN = 0.90, 0.10, 5.0, 0.90
WATCH_MS_MAX, CANARIES_MS_MAX = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One iteration: what it took, what was said of it, and what was true."""

    condition: str
    work: str
    begin_ns: int
    end_ns: int
    wall_ns: int
    word: str
    reasons: list[str]
    signals: dict[str, float | None]
    overlap_ns: int = 0
    """Of the neighbour's bursts with the work, from its own record."""


@dataclass(frozen=True, slots=True)
class Row:
    """One condition, summed up."""

    iterations: int
    slowed: int
    caught: int
    quiet: int
    """Iterations that no burst touched."""
    false: int
    """Of these, called disturbed."""


def usual(times_ns: Sequence[int]) -> tuple[float, float]:
    """The median of quiet times, and from where on a time cannot be quiet: five per cent, or what noise explains."""
    middle = statistics.median(times_ns)
    spread = 1.4826 * statistics.median(abs(each - middle) for each in times_ns)
    return middle, middle + max(0.05 * middle, 3 * spread)


def summed(seen: Sequence[Seen], limits_ns: dict[str, float]) -> Row:
    """Slowed is what a burst touched and what took longer than quiet work can."""
    slowed = [each for each in seen if each.overlap_ns and each.wall_ns > limits_ns[each.work]]
    untouched = [each for each in seen if not each.overlap_ns]
    return Row(
        iterations=len(seen),
        slowed=len(slowed),
        caught=sum(each.word == Word.DISTURBED for each in slowed),
        quiet=len(untouched),
        false=sum(each.word == Word.DISTURBED for each in untouched),
    )


def with_truth(seen: Sequence[Seen], phases: Sequence[Phase]) -> list[Seen]:
    """Each iteration with how much of a burst fell into it."""
    return [
        Seen(**{**asdict(each), "overlap_ns": sum(phase.overlap_ns(each.begin_ns, each.end_ns) for phase in phases)})
        for each in seen
    ]


async def observed(bench: Bench, doer: Worker, number: int, condition: str, work: str) -> Seen:
    """One iteration, watched as the agent watches a container's."""
    placement = await bench.prepare(number)
    doer.enter(placement.cgroup_parent or "/")
    await bench.begin()
    begin_ns = time.monotonic_ns()
    doer.begin(work)
    await bench.started(doer.pid)
    wall_ns = doer.end()
    end_ns = time.monotonic_ns()
    doer.leave()
    verdict = (await bench.end()).verdict
    reasons = [reason.code for reason in verdict.reasons]
    return Seen(condition, work, begin_ns, end_ns, wall_ns, verdict.word.value, reasons, verdict.signals)


async def recall(rounds: int) -> bool:
    """Every neighbour beside both kinds of work."""
    plan, everything = planned(), list[Seen]()
    with tempfile.TemporaryDirectory() as state, worker(min(plan.benchmark)) as doer:
        host = BenchHost(Path("/"), IsolationSettings(tune=False, group=GROUP), Path(state), facts())
        async with host.hold(SPEC) as bench:
            print(f"isolation {bench.record.level.value}: {bench.record.note}")
            for condition in ("quiet", *NEIGHBOURS, "quiet again"):
                cpu = min(plan.benchmark if NEIGHBOURS.get(condition) == "same" else plan.housekeeping)
                with neighbour(condition if condition in NEIGHBOURS else None, cpu) as phases:
                    turns = [work for _ in range(rounds) for work in WORKS]
                    seen = [await observed(bench, doer, place, condition, work) for place, work in enumerate(turns)]
                everything += with_truth(seen, phases)
    return told_recall(everything)


def told_recall(everything: Sequence[Seen]) -> bool:
    """Print the table and keep the truth; whether every mark was met."""
    keep("recall", [asdict(each) for each in everything])
    calm = [each for each in everything if each.condition.startswith("quiet")]
    limits_ns = {work: usual([each.wall_ns for each in calm if each.work == work])[1] for work in WORKS}
    for work in WORKS:
        middle, limit = usual([each.wall_ns for each in calm if each.work == work])
        print(f"{work:8} quiet median {middle / 1e6:.1f} ms; slowed from {limit / middle - 1:+.1%} on")
    print(f"{'neighbour':12} {'iterations':>10} {'slowed':>7} {'caught':>7} {'recall':>7}  false flags")
    rows = {
        name: summed([each for each in everything if each.condition == name], limits_ns)
        for name in dict.fromkeys(each.condition for each in everything)
    }
    for name, row in rows.items():
        share = f"{row.caught / row.slowed:.1%}" if row.slowed else "-"
        false = f"{row.false} of {row.quiet} untouched ({row.false / max(row.quiet, 1):.1%})"
        print(f"{name:12} {row.iterations:10} {row.slowed:7} {row.caught:7} {share:>7}  {false}")
    quiet = summed(calm, limits_ns)
    met = all(row.caught >= RECALL_MIN * row.slowed for row in rows.values())
    fine = quiet.false <= FALSE_MAX * quiet.quiet
    print(f"recall ≥ {RECALL_MIN:.0%} under each neighbour: {met}; false flags when quiet ≤ {FALSE_MAX:.0%}: {fine}")
    return met and fine


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


def pairs(trials: int) -> bool:
    """A against A beside a bursty memory neighbour; then A against A with three per cent more."""
    plan = planned()
    with worker(min(plan.benchmark)) as doer:
        with neighbour("memory", min(plan.housekeeping)):
            blocks, together = errors(trials, 20, lambda: doer.do("memory"))
        in_blocks, in_pairs = spread(blocks), spread(together)
        print(f"A/A beside bursts on the memory, 20 + 20 runs, {trials} trials: standard deviation of the ratio")
        print(f"  in blocks {in_blocks:.1%}, in pairs {in_pairs:.1%}: {in_blocks / in_pairs:.1f} times smaller")
        tests = [more(doer, work, trial) for work in WORKS for trial in range(trials)]
    found = sum(bool(each["found"]) for each in tests)
    alarms = sum(bool(each["alarm"]) for each in tests)
    print(f"A + 3 %, 30 pairs: found in {found} of {len(tests)} trials ({found / len(tests):.0%})")
    print(f"A, 30 pairs: {alarms} of {len(tests)} called a difference ({alarms / len(tests):.0%})")
    keep("pairs", {"blocks": blocks, "pairs": together, "tests": tests})
    return in_blocks >= GAIN_MIN * in_pairs and found >= FOUND_MIN * len(tests)


def more(doer: Worker, work: str, trial: int) -> dict[str, float | bool | str]:
    """Thirty pairs with a candidate that does three per cent more, and thirty with one that does not."""
    slower = compared(paired(30, trial, lambda it: doer.do(work, 1.03 if it is Variant.CANDIDATE else 1.0)))
    same = compared(paired(30, trial, lambda _: doer.do(work)))
    return {
        "work": work,
        "ratio": slower.ratio,
        "lower": slower.ratio_lower,
        "upper": slower.ratio_upper,
        "found": slower.p_value < 0.05 and slower.ratio > 1,
        "same": same.ratio,
        "alarm": same.p_value < 0.05,
    }


def spread(values: Sequence[float]) -> float:
    """Their standard deviation about zero, where the truth lies."""
    return math.sqrt(statistics.fmean(value * value for value in values))


async def cost(rounds: int) -> bool:
    """The time between the counters' and the canaries' beginning and end, for iterations that do nothing."""
    results = {}
    isolation.Groups = Removal  # type: ignore[attr-defined]
    for canaries in (False, True):
        with tempfile.TemporaryDirectory() as state, worker(min(planned().benchmark)) as doer:
            settings = IsolationSettings(tune=False, canaries=canaries, group=GROUP)
            async with BenchHost(Path("/"), settings, Path(state), facts()).hold(SPEC) as bench:
                results[canaries] = statistics.median([await watched_ms(bench, doer, each) for each in range(rounds)])
    watch_ms, canaries_ms = results[False], results[True] - results[False]
    print(f"all watching: {watch_ms:.2f} ms an iteration (mark: {WATCH_MS_MAX:.0f} ms)")
    print(f"canaries before and after: {canaries_ms:.2f} ms, {canaries_ms:.1f} % of 100 ms (mark: 5 %)")
    keep("cost", {"watch_ms": watch_ms, "canaries_ms": canaries_ms})
    return watch_ms <= WATCH_MS_MAX and canaries_ms <= CANARIES_MS_MAX


async def watched_ms(bench: Bench, doer: Worker, number: int) -> float:
    """What lies between the container that is ready and the command, and after its end, until it is judged.

    Without the removal of the iteration's cgroup, which belongs to isolation and takes what the kernel takes.
    """
    placement = await bench.prepare(number)
    doer.enter(placement.cgroup_parent or "/")
    began = time.perf_counter()
    await bench.begin()
    await bench.started(doer.pid)
    took = time.perf_counter() - began
    doer.leave()
    Removal.took_s = 0.0
    began = time.perf_counter()
    await bench.end()
    return (took + time.perf_counter() - began - Removal.took_s) * 1e3


class Removal(groups.Groups):
    """Groups that time how long their removal takes."""

    took_s = 0.0

    def remove(self, group: groups.IterationGroup) -> None:
        """As ever, by the clock."""
        began = time.perf_counter()
        super().remove(group)
        Removal.took_s += time.perf_counter() - began


def planned() -> CpuPlan:
    """As a job of one CPU would have it."""
    plan = plan_cpus(read_topology(HostFiles()), 1)
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
    given = parser.parse_args()
    with timed():
        match given.what:
            case "recall":
                met = anyio.run(recall, given.rounds or 100)
            case "pairs":
                met = pairs(given.rounds or 14)
            case _:
                met = anyio.run(cost, given.rounds or 100)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
