"""The seven tests: from the history of a metric to the limits that its next value should keep.

Pure arithmetic on doubles. Knows nothing of how a sample is chosen, nor of alerts. Models are those that
`thresholds.violations` finds nothing in. Quantiles come from scipy. Importing that takes a moment, so that only the
process that serves imports this module.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import exp, floor, fsum, isfinite, log, sqrt
from typing import NamedTuple

from scipy.special import ndtri, stdtrit

from server_stub.thresholds import Model, Test


class Boundary(NamedTuple):
    """What a value is held against, in the unit of its measure. All None: there was nothing to hold it against."""

    baseline: float | None = None
    lower_limit: float | None = None
    upper_limit: float | None = None


class _Centre(NamedTuple):
    """Where a sample lies, and how far from there a boundary reaches, the same to both sides."""

    baseline: float
    reach: Callable[[float], float]


NO_BOUNDARY = Boundary()


def boundary(model: Model, sample: Sequence[float]) -> Boundary:
    """Return the limits that `model` puts on the next value after `sample`, which is newest first.

    There are none (`NO_BOUNDARY`) without a boundary in the model, for a sample that is empty or smaller than
    `min_sample_size`, for one without the spread or the sign that its test needs, and where a limit is beyond a double.
    """
    neither = model.lower_boundary is None and model.upper_boundary is None
    if neither or len(sample) < (model.min_sample_size or 1):
        return NO_BOUNDARY
    if model.test is Test.STATIC:
        return Boundary(None, model.lower_boundary, model.upper_boundary)
    try:
        centre = _CENTRES[model.test](sample)
        return NO_BOUNDARY if centre is None else _limits(model, centre)
    except (OverflowError, ZeroDivisionError):
        return NO_BOUNDARY


def outlier(limits: Boundary, value: float) -> str | None:
    """Return which limit `value` is strictly beyond: "lower", "upper" or None. Lower is asked first."""
    if limits.lower_limit is not None and value < limits.lower_limit:
        return "lower"
    if limits.upper_limit is not None and value > limits.upper_limit:
        return "upper"
    return None


def _limits(model: Model, centre: _Centre) -> Boundary:
    """The lower limit mirrors the upper one about the baseline, for log_normal too, where it may be negative."""
    base, reach = centre
    lower = None if model.lower_boundary is None else base - reach(model.lower_boundary)
    upper = None if model.upper_boundary is None else base + reach(model.upper_boundary)
    known = [number for number in (base, lower, upper) if number is not None]
    return Boundary(base, lower, upper) if all(map(isfinite, known)) else NO_BOUNDARY


def _percentage(sample: Sequence[float]) -> _Centre:
    mean = fsum(sample) / len(sample)
    return _Centre(mean, lambda share: mean * share)


def _z_score(sample: Sequence[float]) -> _Centre | None:
    mean, deviation = _mean_and_deviation(sample)
    return _Centre(mean, lambda probability: deviation * _normal_quantile(probability)) if deviation else None


def _t_test(sample: Sequence[float]) -> _Centre | None:
    """Student's t for the next single value: its own spread and that of the mean, s·√(1 + 1/n)."""
    mean, deviation = _mean_and_deviation(sample)
    n = len(sample)
    scale = deviation * sqrt(1 + 1 / n)
    return _Centre(mean, lambda probability: scale * _t_quantile(n - 1, probability)) if deviation else None


def _log_normal(sample: Sequence[float]) -> _Centre | None:
    if min(sample) <= 0:
        return None
    mean, deviation = _mean_and_deviation([log(value) for value in sample])
    base = exp(mean)
    return (
        _Centre(base, lambda probability: exp(mean + deviation * _normal_quantile(probability)) - base)
        if deviation
        else None
    )


def _iqr(sample: Sequence[float]) -> _Centre:
    first, middle, third = quartiles(sample)
    return _Centre(middle, lambda times: times * (third - first))


def _delta_iqr(sample: Sequence[float]) -> _Centre | None:
    """The spread of relative changes. Over a newest-first sample the newer value is the divisor."""
    if len(sample) < 2:
        return None
    first, _, third = quartiles([abs((older - newer) / newer) for newer, older in pairwise(sample)])
    middle = quartiles(sample)[1]
    return _Centre(middle, lambda times: middle * times * (third - first))


_CENTRES: dict[Test, Callable[[Sequence[float]], _Centre | None]] = {
    Test.PERCENTAGE: _percentage,
    Test.Z_SCORE: _z_score,
    Test.T_TEST: _t_test,
    Test.LOG_NORMAL: _log_normal,
    Test.IQR: _iqr,
    Test.DELTA_IQR: _delta_iqr,
}


def _mean_and_deviation(sample: Sequence[float]) -> tuple[float, float]:
    """The sample's standard deviation, with n - 1; zero where there is no spread, as of one value."""
    n = len(sample)
    if min(sample) == max(sample):
        return sample[0], 0.0  # Asked first: rounding must not make a spread of equal values.
    mean = fsum(sample) / n
    return mean, sqrt(fsum((value - mean) * (value - mean) for value in sample) / (n - 1))


def quartiles(numbers: Sequence[float]) -> tuple[float, float, float]:
    """Return the three quartiles, interpolated linearly at rank p·(n - 1): type 7 of Hyndman and Fan (1996)."""
    ordered = sorted(numbers)
    return _at_rank(ordered, 0.25), _at_rank(ordered, 0.5), _at_rank(ordered, 0.75)


def _at_rank(ordered: Sequence[float], share: float) -> float:
    rank = share * (len(ordered) - 1)
    below = floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


@lru_cache(maxsize=256)
def _normal_quantile(probability: float) -> float:
    """A run asks for the same few boundaries thousands of times."""
    return float(ndtri(probability))


@lru_cache(maxsize=4096)
def _t_quantile(degrees_of_freedom: int, probability: float) -> float:
    return float(stdtrit(degrees_of_freedom, probability))
