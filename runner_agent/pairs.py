"""Paired comparison: in which order candidate and baseline run, and what their iterations say together. Pure.

Pairs run back to back, so that both halves of a pair meet the same neighbours. A coin decides who goes first, and the
next pair takes the other order (A B B A), so that a linear drift cancels out. Everything is computed on the logarithms
of the pairs' ratios.

Sources: the test is F. Wilcoxon's, "Individual Comparisons by Ranking Methods" (1945); ratio and interval are those
that it cannot tell from the pairs, J. Hodges and E. Lehmann, "Estimates of Location Based on Rank Tests" (1963); the
effect that 80 % of experiments would detect, z(0.975) + z(0.8) standard errors, is J. Cohen's, "Statistical Power
Analysis" (1988), §2.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from runner_protocol.results import Comparison, IterationRecord, Variant, Word

# z(0.975): half of a 95 % interval in standard errors.
INTERVAL_ERRORS: Final = 1.959964
# z(0.975) + z(0.8): a true effect of so many standard errors is found four times out of five.
DETECTABLE_ERRORS: Final = INTERVAL_ERRORS + 0.841621
# Below it no interval reaches 95 %: that of all pairs is told, and nothing is promised.
PAIRS_MIN: Final = 6
# Up to it all orders of signs are counted; with more pairs the sum of ranks is as good as normal.
EXACT_MAX: Final = 20


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
    """The ratio with its 95 % interval, p-value and the least effect that so many pairs could have found.

    The interval holds the ratios that the test does not refuse, so it leaves out 1 where p is below 0.05.
    """
    logs = sorted(math.log(ratio) for ratio in ratios)
    averages = len(logs) * (len(logs) + 1) // 2
    cut = _cut(len(logs))
    lower, upper = _average(logs, cut + 1), _average(logs, averages - cut)
    error = (upper - lower) / 2 / INTERVAL_ERRORS
    return Comparison(
        pairs=len(logs),
        ratio=math.exp((_average(logs, (averages + 1) // 2) + _average(logs, averages // 2 + 1)) / 2),
        ratio_lower=math.exp(lower),
        ratio_upper=math.exp(upper),
        p_value=sign_flip_p(logs),
        minimum_detectable_effect=math.expm1(DETECTABLE_ERRORS * error) if len(logs) >= PAIRS_MIN else None,
    )


def _average(ordered: Sequence[float], rank: int) -> float:
    """The `rank`-th least, from 1, of the averages of every two values and of each with itself.

    Found by halving, since a thousand values have half a million averages.
    """
    low, high = ordered[0], ordered[-1]
    while low < (middle := (low + high) / 2) < high:
        below = sum(bisect_right(ordered, 2 * middle - value, lo=at) - at for at, value in enumerate(ordered))
        low, high = (low, middle) if below >= rank else (middle, high)
    return high


def _cut(pairs: int) -> int:
    """How many averages lie outside the interval at either end: the largest sum of ranks at which 2.5 % end."""
    ranks = range(1, pairs + 1)
    if pairs > EXACT_MAX:
        mean, variance = math.fsum(ranks) / 2, math.fsum(rank * rank for rank in ranks) / 4
        return math.floor(mean - 0.5 - INTERVAL_ERRORS * math.sqrt(variance))
    counts = _counts(ranks)
    so_far = accumulate(counts[total] for total in range(sum(ranks) + 1))
    return max(sum(count / (1 << pairs) <= 0.025 for count in so_far) - 1, 0)


def sign_flip_p(logs: Sequence[float]) -> float:
    """Two-sided: how often pairs whose order is mere chance would lie at least as far from 0 as these did.

    The statistic is the sum of the signed ranks of |log ratio| (Wilcoxon, 1945): one wild pair cannot carry it.
    """
    ranks = _ranks([abs(log) for log in logs])
    positive = math.fsum(rank for rank, log in zip(ranks, logs, strict=True) if log > 0)
    positive += math.fsum(rank / 2 for rank, log in zip(ranks, logs, strict=True) if log == 0)
    return _exact_p(ranks, positive) if len(logs) <= EXACT_MAX else _normal_p(ranks, positive)


def _ranks(values: Sequence[float]) -> list[float]:
    """1 for the least; equal values share the mean of their ranks."""
    ordered = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered, 1)))}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]


def _exact_p(ranks: Sequence[float], positive: float) -> float:
    """Of all 2^n choices of signs; by doubled sums, so that shared ranks stay whole numbers."""
    counts = _counts([round(2 * rank) for rank in ranks])
    centre = math.fsum(ranks)
    distance = abs(2 * positive - centre)
    extreme = sum(count for total, count in counts.items() if abs(total - centre) >= distance - 1e-9)
    return extreme / (1 << len(ranks))


def _counts(ranks: Sequence[int]) -> dict[int, int]:
    """For each sum that some of the ranks can have, how many choices of them have it."""
    counts = {0: 1}
    for rank in ranks:
        bigger = dict(counts)
        for total, count in counts.items():
            bigger[total + rank] = bigger.get(total + rank, 0) + count
        counts = bigger
    return counts


def _normal_p(ranks: Sequence[float], positive: float) -> float:
    mean, variance = math.fsum(ranks) / 2, math.fsum(rank * rank for rank in ranks) / 4
    distance = max(0.0, abs(positive - mean) - 0.5)  # Half a step: the sums are whole numbers, the curve is not.
    return math.erfc(distance / math.sqrt(2 * variance)) if variance else 1.0
