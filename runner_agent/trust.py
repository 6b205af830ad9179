"""Decides how far an iteration and a whole job can be trusted. Pure: counters in, verdicts out.

Nothing here looks at how long the benchmark took: a verdict rests on what was seen from outside, so that a value is
never dropped for being slow. `RULES` is the whole of the policy; `docs/measurement.md` explains it line by line.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, median, stdev

from runner_agent.counters import TICK_NS, Passage
from runner_agent.pairs import compare
from runner_protocol.results import IterationRecord, Reason, Summary, Trust, Variant, Verdict, Word


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a signal disturbs. Shares are of the iteration's wall time on all its CPUs."""

    foreign_share: float = 0.01
    steal_share: float = 0.01
    cpu_wait_share: float | None = None
    """Off: threads of one benchmark that wait for each other's CPU look the same."""
    io_wait_share: float | None = None
    """Off: a benchmark that reads a disk waits for it."""
    memory_wait_share: float = 0.01
    interrupts_per_s: float = 1000.0
    """On one CPU. At some 5 µs each this is half a per cent."""
    canary_ratio: float = 1.5
    canary_memory_ratio: float = 1.3
    """The fastest of eight copies varies less than work within caches does."""
    canary_disk_ratio: float = 3.0
    """A disk that nobody else uses varies by itself, too."""
    clock_skew_ppm: float = 600.0
    """The kernel slews by 500 at most; what is beyond was a step."""
    disturbed_share: float = 0.10
    """Of a job's iterations. Beyond it the job's own word is `disturbed`."""
    medians_apart: float = 0.02
    """Between all iterations and the quiet ones."""


LIMITS = Limits()

# Below this much foreign time a share says nothing: one wake-up of a kernel thread in a 1 ms iteration is 2 %.
FOREIGN_NS_MIN = 200_000

CAUSES_TOLD_MAX = 3
"""In a job's one line; each iteration's verdict has all of them."""

Rule = Callable[[Passage, Limits], Iterator[Reason]]


def judge(seen: Passage, limits: Limits = LIMITS) -> Verdict:
    """The certificate of one iteration."""
    reasons = list(chain.from_iterable(rule(seen, limits) for rule in RULES))
    if reasons:
        word = Word.DISTURBED
    elif seen.foreign_ns is None and not seen.canaries:
        word = Word.UNKNOWN
        reasons = [Reason(code="unwatched", message="neither run time of others nor canaries could be had")]
    else:
        word = Word.QUIET
    return Verdict(word=word, reasons=reasons, signals=signals(seen))


def signals(seen: Passage) -> dict[str, float | None]:
    """Every signal by name, unit last; what could not be had is null."""
    interrupts = None if seen.interrupts is None else sum(seen.interrupts.values())
    return {
        "wall_s": seen.wall_ns / 1e9,
        "foreign_cpu_s": _seconds(seen.foreign_ns),
        "foreign_cpu_before_start_s": _seconds(seen.foreign_early_ns),
        "cpu_s": _seconds(seen.own_ns),
        "steal_s": _seconds(seen.steal_ns),
        "throttled_s": _seconds(seen.throttled_ns),
        "cpu_wait_s": _seconds(seen.cpu_wait_ns),
        "io_wait_s": _seconds(seen.io_wait_ns),
        "memory_wait_s": _seconds(seen.memory_wait_ns),
        "interrupts_per_s": None if interrupts is None else interrupts / max(seen.wall_ns, 1) * 1e9,
        "swapped_pages": seen.swapped_pages,
        "oom_kills": seen.oom_kills,
        "thermal_throttles": seen.thermal_throttles,
        "frequency_mhz": seen.frequency_mhz,
        "temperature_c": seen.temperature_c,
        "clock_skew_ppm": seen.clock_skew_ppm,
        **{f"canary_{name}_ratio": ratio for name, ratio in seen.canaries.items()},
    }


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


# --- The rules, from those that void a number to those that doubt it ---


def _partition(seen: Passage, _: Limits) -> Iterator[Reason]:
    if seen.partition_lost is not None:
        yield Reason(code="partition_lost", message=f"the CPUs were open to others: {seen.partition_lost}")


def _placement(seen: Passage, _: Limits) -> Iterator[Reason]:
    if seen.misplaced:
        yield Reason(code="misplaced", message="a thread may run elsewhere", culprit=seen.misplaced[0])


def _foreign(seen: Passage, limits: Limits) -> Iterator[Reason]:
    if seen.foreign_ns is None:
        return
    # A coarse clock may be off by one step at each end of each CPU.
    limit_ns = max(limits.foreign_share * seen.wall_ns, FOREIGN_NS_MIN, 2 * seen.foreign_step_ns)
    if seen.foreign_ns > limit_ns:
        culprit = seen.culprits[0] if seen.culprits else None
        message = f"others ran for {seen.foreign_ns / 1e6:.1f} ms on the benchmark's CPUs"
        yield _measured("foreign_cpu", message, seen.foreign_ns / 1e9, limit_ns / 1e9, culprit)


def _steal(seen: Passage, limits: Limits) -> Iterator[Reason]:
    # One tick alone may have been gathered over a long time before. It counts where about as much is missing here.
    missing = seen.idle_ns is not None and TICK_NS / 2 <= seen.idle_ns <= 2 * TICK_NS
    if seen.steal_ns is not None and (seen.steal_ns > TICK_NS or missing):
        yield from _share(seen, seen.steal_ns, limits.steal_share, "steal", "the hypervisor took the CPU")


def _cpu_wait(seen: Passage, limits: Limits) -> Iterator[Reason]:
    yield from _share(seen, seen.cpu_wait_ns, limits.cpu_wait_share, "cpu_wait", "runnable threads had to wait")


def _io_wait(seen: Passage, limits: Limits) -> Iterator[Reason]:
    yield from _share(seen, seen.io_wait_ns, limits.io_wait_share, "io_wait", "threads waited for a disk")


def _memory_wait(seen: Passage, limits: Limits) -> Iterator[Reason]:
    yield from _share(seen, seen.memory_wait_ns, limits.memory_wait_share, "memory_wait", "threads waited for memory")


def _share(seen: Passage, ns: int | None, share: float | None, code: str, message: str) -> Iterator[Reason]:
    if ns is not None and share is not None and ns > share * seen.wall_ns:
        yield _measured(code, f"{message} for {ns / 1e6:.1f} ms", ns / 1e9, share * seen.wall_ns / 1e9)


def _throttled(seen: Passage, _: Limits) -> Iterator[Reason]:
    yield from _any(seen.throttled_ns, "throttled", "a CPU quota held the benchmark back")


def _swapped(seen: Passage, _: Limits) -> Iterator[Reason]:
    yield from _any(seen.swapped_pages, "swap", "the host swapped")


def _oom(seen: Passage, _: Limits) -> Iterator[Reason]:
    yield from _any(seen.oom_kills, "oom", "the kernel killed for want of memory")


def _thermal(seen: Passage, _: Limits) -> Iterator[Reason]:
    yield from _any(seen.thermal_throttles, "thermal", "a CPU was slowed down for its heat")


def _any(count: int | None, code: str, message: str) -> Iterator[Reason]:
    if count:
        yield _measured(code, message, count, 0)


def _interrupts(seen: Passage, limits: Limits) -> Iterator[Reason]:
    counts = seen.interrupts or {}
    rate = sum(counts.values()) / max(seen.wall_ns, 1) * 1e9
    limit = limits.interrupts_per_s * seen.cpus
    if rate > limit:
        busiest = max(counts, key=lambda name: counts[name])
        yield _measured("interrupts", f"{rate:.0f} device interrupts a second", rate, limit, busiest)


def _canaries(seen: Passage, limits: Limits) -> Iterator[Reason]:
    for name, ratio in seen.canaries.items():
        limit = {"memory": limits.canary_memory_ratio, "disk": limits.canary_disk_ratio}.get(name, limits.canary_ratio)
        if ratio > limit:
            message = f"the {name} canary took {ratio:.2f} times its usual time"
            yield _measured(f"canary_{name}", message, ratio, limit)


def _clock(seen: Passage, limits: Limits) -> Iterator[Reason]:
    if seen.clock_skew_ppm is not None and abs(seen.clock_skew_ppm) > limits.clock_skew_ppm:
        yield _measured("clock", "the clock was set", seen.clock_skew_ppm, limits.clock_skew_ppm)


def _kernel_log(seen: Passage, _: Limits) -> Iterator[Reason]:
    if seen.kernel_log:
        yield Reason(code="kernel_log", message=seen.kernel_log[0])


RULES: tuple[Rule, ...] = (
    _partition,
    _placement,
    _foreign,
    _steal,
    _throttled,
    _cpu_wait,
    _io_wait,
    _memory_wait,
    _swapped,
    _oom,
    _thermal,
    _interrupts,
    _canaries,
    _clock,
    _kernel_log,
)


def _measured(code: str, message: str, value: float, limit: float, culprit: str | None = None) -> Reason:
    return Reason(code=code, message=message, value=value, limit=limit, culprit=culprit)


# --- The whole job ---


def summarise(records: Sequence[IterationRecord], limits: Limits = LIMITS) -> Trust:
    """The report's one word over all iterations that count: succeeded, and no warm-ups.

    An iteration that was run again stands in `median_all` with both runs, in `median_kept` with the quiet one.
    """
    counted = [record for record in records if record.succeeded and not record.warm_up]
    final = _final(counted)
    summary = _summary(counted, final)
    reasons = list(_doubts(summary, final, limits))
    word = _word(summary, final, reasons)
    return Trust(word=word, summary=summary, reasons=reasons, comparison=compare(records))


def _word(summary: Summary, final: Mapping[int, IterationRecord], reasons: Sequence[Reason]) -> Word:
    if reasons:
        return Word.DISTURBED
    return Word.UNKNOWN if not final or 2 * summary.unknown > len(final) else Word.QUIET


def _final(counted: Sequence[IterationRecord]) -> dict[int, IterationRecord]:
    """Of each iteration and its repeats the best word, by the number of the first."""
    order = (Word.QUIET, Word.UNKNOWN, Word.DISTURBED)
    best: dict[int, IterationRecord] = {}
    for record in counted:
        origin = record.number if record.repeats is None else record.repeats
        if origin not in best or order.index(_word_of(record)) < order.index(_word_of(best[origin])):
            best[origin] = record
    return best


def _word_of(record: IterationRecord) -> Word:
    return Word.UNKNOWN if record.verdict is None else record.verdict.word


def _summary(counted: Sequence[IterationRecord], final: Mapping[int, IterationRecord]) -> Summary:
    candidates = [record for record in counted if record.variant is Variant.CANDIDATE]
    everything = _walls_ns(candidates)
    kept = _walls_ns([record for record in candidates if _word_of(record) is not Word.DISTURBED])
    words = [_word_of(record) for record in final.values()]
    return Summary(
        counted=len(final),
        disturbed=words.count(Word.DISTURBED),
        unknown=words.count(Word.UNKNOWN),
        median_all_ns=_median(everything),
        median_kept_ns=_median(kept),
        variation_all=variation(everything),
        variation_kept=variation(kept),
    )


def _walls_ns(records: Sequence[IterationRecord]) -> list[int]:
    return [record.wall_ns for record in records if record.wall_ns is not None]


def _median(values: Sequence[int]) -> float | None:
    return float(median(values)) if values else None


def variation(values: Sequence[float]) -> float | None:
    """The coefficient of variation; none for fewer than two values."""
    return stdev(values) / fmean(values) if len(values) > 1 and fmean(values) else None


def _doubts(summary: Summary, final: Mapping[int, IterationRecord], limits: Limits) -> Iterator[Reason]:
    share = summary.disturbed / len(final) if final else 0.0
    if share > limits.disturbed_share:
        why = ", ".join(_commonest(final.values()))
        message = f"{summary.disturbed} of {len(final)} iterations stayed disturbed: {why}"
        yield _measured("disturbed", message, share, limits.disturbed_share)
    apart = _apart(summary.median_all_ns, summary.median_kept_ns)
    if apart is not None and apart > limits.medians_apart:
        message = f"the median moves by {apart:.1%} when disturbed iterations are left out"
        yield _measured("medians_apart", message, apart, limits.medians_apart)


def _commonest(records: Iterable[IterationRecord]) -> Iterator[str]:
    """What disturbed them, in how many of them, and who is named most often."""
    verdicts = [record.verdict for record in records if record.verdict and record.verdict.word is Word.DISTURBED]
    reasons = [reason for verdict in verdicts for reason in verdict.reasons]
    for code, count in Counter(reason.code for reason in reasons).most_common(CAUSES_TOLD_MAX):
        culprits = Counter(reason.culprit for reason in reasons if reason.code == code and reason.culprit)
        yield f"{code} in {count}" + "".join(f" ({name})" for name, _ in culprits.most_common(1))


def _apart(everything: float | None, kept: float | None) -> float | None:
    return None if everything is None or not kept else abs(everything / kept - 1)
