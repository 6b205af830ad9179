"""The tests against reference values, their preconditions, and the strictness of the decision."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_stub.boundaries import NO_BOUNDARY, Boundary, boundary, outlier, quartiles
from server_stub.thresholds import Model, Test


def both(test: Test, limit: float) -> Model:
    return Model(test, lower_boundary=limit, upper_boundary=limit)


def normed(n: int, mean: float, deviation: float) -> list[float]:
    """A sample of exactly this mean and (n - 1) deviation."""
    half = deviation * math.sqrt((n - 1) / (n - n % 2))
    return [mean - half, mean + half] * (n // 2) + [mean] * (n % 2)


SERIES = (103, 98, 101, 99, 100)


@pytest.mark.parametrize(
    ("model", "sample", "expected"),
    [
        (both(Test.Z_SCORE, 0.977), normed(30, 100, 10), (100, 80.04606689832175, 119.95393310167825)),
        (both(Test.T_TEST, 0.977), normed(25, 100, 10), (100, 78.53909652847402, 121.46090347152598)),
        (both(Test.T_TEST, 0.85), normed(6, 0, 1), (0, -1.2483714094976244, 1.2483714094976244)),
        (both(Test.Z_SCORE, 0.85), normed(6, 0, 1), (0, -1.0364333894937896, 1.0364333894937896)),
        (
            both(Test.LOG_NORMAL, 0.85),
            [1, 2, 3, 4, 5] * 6,
            (2.6051710846973517, 0.467218645251152, 4.743123524143551),
        ),
        (
            both(Test.LOG_NORMAL, 0.977),
            [98, 99, 100, 101, 102] * 5 + [200],
            (102.69192869301948, 70.49040406473313, 134.89345332130583),
        ),
        (both(Test.PERCENTAGE, 0.1), SERIES, (100.2, 90.18, 110.22)),
        (both(Test.Z_SCORE, 0.95), SERIES, (100.2, 97.03606087603553, 103.36393912396447)),
        (both(Test.T_TEST, 0.95), SERIES, (100.2, 95.70792008102612, 104.69207991897389)),
        (both(Test.LOG_NORMAL, 0.95), SERIES, (100.18529325465981, 96.9817052578928, 103.38888125142682)),
        (both(Test.IQR, 3), SERIES, (100, 94, 106)),
        (both(Test.DELTA_IQR, 3), SERIES, (100, 94.68448950106027, 105.31551049893973)),
        # The same history oldest first has other relative changes: the order of a sample matters.
        (both(Test.DELTA_IQR, 3), SERIES[::-1], (100, 94.78575561637797, 105.21424438362203)),
        (both(Test.Z_SCORE, 0.5), SERIES, (100.2, 100.2, 100.2)),
        (both(Test.LOG_NORMAL, 0.9999), [1, 1e6], None),
    ],
)
def test_limits_agree_with_the_reference(
    model: Model, sample: list[float], expected: tuple[float, float, float] | None
) -> None:
    limits = boundary(model, sample)
    if expected is None:  # Mirrored about the baseline, a lower limit of positive values may be negative.
        assert limits.baseline == pytest.approx(1e3)
        assert limits.lower_limit is not None
        assert limits.lower_limit < -1e6
    else:
        assert limits == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_side_without_boundary_has_no_limit() -> None:
    upper = boundary(Model(Test.T_TEST, upper_boundary=0.99), SERIES)
    assert upper.lower_limit is None
    assert (upper.baseline, upper.upper_limit) == pytest.approx((100.2, 108.09530806198096), rel=1e-9)
    assert boundary(Model(Test.STATIC, lower_boundary=-5), [1]) == Boundary(None, -5, None)
    assert boundary(Model(Test.IQR, lower_boundary=1), [1, 2]) == Boundary(1.5, 1.0, None)


def test_a_relative_spread_of_two_tenths_at_twice_the_width_reaches_two_fifths_of_the_middle() -> None:
    changes = [0.05, 0.1, 0.2, 0.3, 0.35]  # Quartiles .1, .2 and .3.
    sample = [100.0]
    for step, change in enumerate(changes):
        sample.append(sample[-1] * (1 + change if step % 2 else 1 - change))
    middle = quartiles(sample)[1]
    limits = boundary(both(Test.DELTA_IQR, 2), sample)
    assert limits == pytest.approx((middle, 0.6 * middle, 1.4 * middle), rel=1e-9)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1], (1, 1, 1)),
        ([1, 2], (1.25, 1.5, 1.75)),
        ([5, 3, 1, 2, 4], (2, 3, 4)),
        ([-6, -6, 1, 1, 9, 9], (-4.25, 1, 7)),
        ([abs((b - a) / a) for a, b in pairwise([1, 2, 3, 4, 5])], (0.3125, 5 / 12, 0.625)),
        ([abs((b - a) / a) for a, b in pairwise([5, 4, 3, 2, 1])], (0.2375, 7 / 24, 0.375)),
    ],
)
def test_quartiles_are_interpolated_at_p_times_n_minus_one(
    numbers: list[float], expected: tuple[float, float, float]
) -> None:
    assert quartiles(numbers) == pytest.approx(expected, rel=1e-12)


MOVING = [test for test in Test if test is not Test.STATIC]
SPREAD = (Test.Z_SCORE, Test.T_TEST, Test.LOG_NORMAL)


@pytest.mark.parametrize(
    ("model", "sample"),
    [
        *((both(test, 0.9), []) for test in Test),
        *((Model(test), [1.0, 2.0]) for test in Test),
        *((Model(test, min_sample_size=3, lower_boundary=0.9), [1.0, 2.0]) for test in MOVING),
        *((both(test, 0.9), [5.0]) for test in (*SPREAD, Test.DELTA_IQR)),
        *((both(test, 0.9), [5.0] * 9) for test in SPREAD),
        *((both(test, 0.9), [1 / 49] * 49) for test in SPREAD),
        (both(Test.LOG_NORMAL, 0.9), [1.0, 0.0, 2.0]),
        (both(Test.LOG_NORMAL, 0.9), [1.0, -1.0, 2.0]),
        (both(Test.DELTA_IQR, 3), [1.0, 0.0, 2.0]),
        *((both(test, 0.9), [1.7e308, 1.7e308, -1.7e308]) for test in (Test.Z_SCORE, Test.T_TEST)),
        (both(Test.PERCENTAGE, 10), [1.7e308, 1.7e308]),
        (both(Test.IQR, 3), [1.7e308, -1.7e308]),
    ],
)
def test_without_the_sample_a_test_needs_there_is_no_boundary(model: Model, sample: list[float]) -> None:
    assert boundary(model, sample) == NO_BOUNDARY


def test_a_constant_history_has_limits_where_no_spread_is_needed() -> None:
    constant = [5.0] * 4
    assert boundary(both(Test.PERCENTAGE, 0.1), constant) == Boundary(5.0, 4.5, 5.5)
    assert boundary(both(Test.IQR, 3), constant) == Boundary(5.0, 5.0, 5.0)
    assert boundary(both(Test.DELTA_IQR, 3), constant) == Boundary(5.0, 5.0, 5.0)
    assert boundary(both(Test.IQR, 3), [5.0]) == Boundary(5.0, 5.0, 5.0)


@pytest.mark.parametrize(
    ("limits", "value", "side"),
    [
        (Boundary(1, 0, 2), -0.001, "lower"),
        (Boundary(1, 0, 2), 0, None),
        (Boundary(1, 0, 2), 2, None),
        (Boundary(1, 0, 2), 2.001, "upper"),
        (Boundary(1, None, 2), -9, None),
        (Boundary(1, 0, None), 9, None),
        (Boundary(None, 3, 2), 2.5, "lower"),
        (NO_BOUNDARY, 9, None),
    ],
)
def test_only_a_value_strictly_beyond_a_limit_is_an_outlier(limits: Boundary, value: float, side: str | None) -> None:
    assert outlier(limits, value) == side


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(MOVING),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8),
    st.floats(0.5, 0.999),
)
def test_limits_are_finite_and_lie_around_the_baseline(test: Test, sample: list[float], limit: float) -> None:
    limits = boundary(both(test, limit), sample)
    if limits == NO_BOUNDARY:
        return
    base, lower, upper = limits
    assert base is not None and lower is not None and upper is not None
    assert all(math.isfinite(number) for number in limits if number is not None)
    # Where the mean itself is negative, a share of it reaches to the other side.
    if base >= 0:
        assert lower <= base <= upper
