"""Paired comparison: in which order candidate and baseline run, and what their iterations say together. Pure.

Pairs run back to back, so that both halves of a pair meet the same neighbours. A coin decides who goes first, and the
next pair takes the other order (A B B A), so that a linear drift cancels out. Everything is computed on the logarithms
of the pairs' ratios.

Sources: the test is F. Wilcoxon's, "Individual Comparisons by Ranking Methods" (1945); the interval B. Efron's
percentile bootstrap, "Bootstrap Methods" (1979); the effect that 80 % of experiments would detect, z(0.975) + z(0.8)
standard errors, J. Cohen's, "Statistical Power Analysis" (1988), §2.
"""

import math
import random
from collections.abc import Sequence
from statistics import median
from typing import Final

from runner_protocol.results import Comparison, IterationRecord, Variant, Word

RESAMPLES: Final = 2000
# Fixed, so that the same numbers always give the same report.
SEED: Final = 61016
# z(0.975) + z(0.8): a true effect of so many standard errors is found four times out of five.
DETECTABLE_ERRORS: Final = 1.959964 + 0.841621
# Below it an interval is a guess; the median of the ratios is still told.
PAIRS_MIN: Final = 5


def order(pairs: int, chance: random.Random) -> tuple[Variant, ...]:
    """Who runs when: twice as many turns as pairs. Every second pair mirrors the one before."""
    turns: list[Variant] = []
    for pair in range(pairs):
        if pair % 2 == 0:
            first = chance.choice((Variant.CANDIDATE, Variant.BASELINE))
            turns += (first, _other(first))
        else:
            turns += (turns[-1], turns[-2])
    return tuple(turns)


def _other(variant: Variant) -> Variant:
    return Variant.BASELINE if variant is Variant.CANDIDATE else Variant.CANDIDATE


def compare(records: Sequence[IterationRecord]) -> Comparison | None:
    """Candidate against baseline; none where no pair is complete."""
    ratios = pair_ratios(records)
    return compared(ratios) if ratios else None


def pair_ratios(records: Sequence[IterationRecord]) -> list[float]:
    """Candidate's wall time over baseline's, for each pair, in order. A half that was run again counts with its last
    run that was not disturbed; a pair with a half that failed is left out."""
    turns = [_best(records, first) for first in records if first.repeats is None and not first.warm_up]
    pairs = zip(turns[::2], turns[1::2], strict=False)
    return [ratio for one, two in pairs if (ratio := _ratio(one, two)) is not None]


def _best(records: Sequence[IterationRecord], first: IterationRecord) -> IterationRecord:
    again = [record for record in records if record.repeats == first.number and record.succeeded]
    return next((record for record in reversed(again) if _quiet(record)), first)


def _quiet(record: IterationRecord) -> bool:
    return record.verdict is not None and record.verdict.word is Word.QUIET


def _ratio(one: IterationRecord, two: IterationRecord) -> float | None:
    wall = {half.variant: half.wall_ns for half in (one, two) if half.succeeded}
    candidate, baseline = wall.get(Variant.CANDIDATE), wall.get(Variant.BASELINE)
    return candidate / baseline if candidate and baseline else None


def compared(ratios: Sequence[float]) -> Comparison:
    """The median ratio with its 95 % interval, p-value and the least effect that so many pairs could have found."""
    logs = [math.log(ratio) for ratio in ratios]
    lower, upper, error = _bootstrap(logs)
    return Comparison(
        pairs=len(ratios),
        ratio=math.exp(median(logs)),
        ratio_lower=math.exp(lower),
        ratio_upper=math.exp(upper),
        p_value=sign_flip_p(logs),
        minimum_detectable_effect=math.expm1(DETECTABLE_ERRORS * error) if len(logs) >= PAIRS_MIN else None,
    )


def _bootstrap(logs: Sequence[float]) -> tuple[float, float, float]:
    """Percentile interval of the median, and its standard error."""
    chance = random.Random(SEED)  # noqa: S311  Statistics, not secrets.
    medians = sorted(median(chance.choices(logs, k=len(logs))) for _ in range(RESAMPLES))
    mean = math.fsum(medians) / RESAMPLES
    error = math.sqrt(math.fsum((each - mean) ** 2 for each in medians) / (RESAMPLES - 1))
    return medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1], error


def sign_flip_p(logs: Sequence[float]) -> float:
    """Two-sided: how often pairs whose order is mere chance would lie at least as far from 0 as these did.

    The statistic is the sum of the signed ranks of |log ratio| (Wilcoxon, 1945): one wild pair cannot carry it. With
    up to 20 pairs all sums are counted, with more their normal approximation is taken.
    """
    ranks = _ranks([abs(log) for log in logs])
    positive = math.fsum(rank for rank, log in zip(ranks, logs, strict=True) if log > 0)
    positive += math.fsum(rank / 2 for rank, log in zip(ranks, logs, strict=True) if log == 0)
    return _exact_p(ranks, positive) if len(logs) <= 20 else _normal_p(ranks, positive)


def _ranks(values: Sequence[float]) -> list[float]:
    """1 for the least; equal values share the mean of their ranks."""
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered, 1)))}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]


def _exact_p(ranks: Sequence[float], positive: float) -> float:
    """Count all 2^n choices of signs by their sums, in halves so that shared ranks stay whole numbers."""
    counts = {0: 1}
    for rank in (round(2 * rank) for rank in ranks):
        bigger: dict[int, int] = dict(counts)
        for total, count in counts.items():
            bigger[total + rank] = bigger.get(total + rank, 0) + count
        counts = bigger
    centre = math.fsum(ranks)
    distance = abs(2 * positive - centre)
    extreme = sum(count for total, count in counts.items() if abs(total - centre) >= distance - 1e-9)
    return extreme / (1 << len(ranks))


def _normal_p(ranks: Sequence[float], positive: float) -> float:
    mean, variance = math.fsum(ranks) / 2, math.fsum(rank * rank for rank in ranks) / 4
    distance = max(0.0, abs(positive - mean) - 0.5)  # Half a step: the sums are whole numbers, the curve is not.
    return math.erfc(distance / math.sqrt(2 * variance)) if variance else 1.0
