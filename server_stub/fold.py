"""Makes one set of results out of several: `settings.fold`.

Folds each benchmark key and measure key by its text, before an ignore suffix is stripped. A key that some of the
strings lack is kept; under `mean` what is missing counts as zero, as the reference server has it.
"""

from collections.abc import Callable, Sequence
from math import fsum

from server_stub.metrics import Fold, Metric, Results


def fold(results: Sequence[Results], how: Fold) -> Results | None:
    """Return one set for all `results`, in the order in which keys first appear; None where there are no results."""
    if not results:
        return None
    occurrences: dict[str, dict[str, list[Metric]]] = {}
    for one in results:
        for benchmark, measures in one.benchmarks.items():
            known = occurrences.setdefault(benchmark, {})
            for measure, metric in measures.items():
                known.setdefault(measure, []).append(metric)
    reduce = _reducer(how, strings=len(results))
    return Results(
        {
            benchmark: {measure: reduce(metrics) for measure, metrics in measures.items()}
            for benchmark, measures in occurrences.items()
        },
        keys_are_names=all(one.keys_are_names for one in results),
    )


def _reducer(how: Fold, *, strings: int) -> Callable[[list[Metric]], Metric]:
    match how:
        case Fold.MIN:
            return lambda metrics: min(metrics, key=_order)
        case Fold.MAX:
            return lambda metrics: max(metrics, key=_order)
        case Fold.MEAN:
            return lambda metrics: _mean(metrics, strings)
        case Fold.MEDIAN:
            return _median


def _order(metric: Metric) -> tuple[float, bool, float, bool, float]:
    """By value, then upper, then lower; an absent bound comes before a present one. Bounds travel with their value."""
    value, lower, upper = metric.parts
    return (value, upper is not None, upper or 0.0, lower is not None, lower or 0.0)


def _mean(metrics: Sequence[Metric], count: int) -> Metric:
    """Sum over `count`. A bound that no metric has is absent; else a metric without it lends its value."""
    return Metric(
        value=_sum([metric.value for metric in metrics], count),
        lower_value=_bound([(metric.lower_value, metric.value) for metric in metrics], count),
        upper_value=_bound([(metric.upper_value, metric.value) for metric in metrics], count),
    )


def _bound(pairs: Sequence[tuple[float | None, float]], count: int) -> float | None:
    if all(bound is None for bound, _ in pairs):
        return None
    return _sum([value if bound is None else bound for bound, value in pairs], count)


def _sum(numbers: Sequence[float], count: int) -> float:
    """Divide the exact sum; where it is beyond a double, divide first, so that what is finite stays finite."""
    try:
        return fsum(numbers) / count
    except OverflowError:
        return fsum(number / count for number in numbers)


def _median(metrics: Sequence[Metric]) -> Metric:
    ordered = sorted(metrics, key=_order)
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else _mean(ordered[half - 1 : half + 1], 2)
