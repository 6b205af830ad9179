"""Several result strings become one: every row of the fold table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_stub.fold import fold
from server_stub.metrics import Fold, Metric, Results


def strings(*metrics: Metric) -> list[Results]:
    return [Results({"b": {"m": metric}}) for metric in metrics]


def folded(how: Fold, *metrics: Metric) -> Metric:
    result = fold(strings(*metrics), how)
    assert result is not None
    return result.benchmarks["b"]["m"]


ONE, TWO, NINE = Metric(1, 0, 5), Metric(2, 1, 3), Metric(9, None, 10)


@pytest.mark.parametrize(
    ("how", "metrics", "expected"),
    [
        (Fold.MIN, (TWO, NINE, ONE), ONE),
        (Fold.MAX, (TWO, NINE, ONE), NINE),
        (Fold.MIN, (Metric(1, 0, 2), Metric(1, 0, None), Metric(1, None, 2)), Metric(1, 0, None)),
        (Fold.MAX, (Metric(1, None, 2), Metric(1, 0, 2), Metric(1, 5, None)), Metric(1, 0, 2)),
        (Fold.MAX, (Metric(-3, -4, None), Metric(-3, -4, -2)), Metric(-3, -4, -2)),
        (Fold.MEAN, (ONE, TWO), Metric(1.5, 0.5, 4)),
        (Fold.MEAN, (ONE, TWO, NINE), Metric(4, 10 / 3, 6)),
        (Fold.MEAN, (Metric(1), Metric(2)), Metric(1.5)),
        (Fold.MEAN, (ONE,), ONE),
        (Fold.MEDIAN, (NINE, ONE, TWO), TWO),
        (Fold.MEDIAN, (NINE, ONE), Metric(5, 4.5, 7.5)),
        (Fold.MEDIAN, (Metric(1), Metric(4), Metric(2), Metric(100)), Metric(3)),
        (Fold.MEDIAN, (ONE,), ONE),
    ],
)
def test_several_metrics_become_one(how: Fold, metrics: tuple[Metric, ...], expected: Metric) -> None:
    assert folded(how, *metrics) == expected


def test_a_benchmark_in_one_of_two_strings_is_kept_and_halved_by_the_mean_only() -> None:
    some = [Results({"a": {"m": Metric(10, 8, 12)}}), Results({"b": {"m": Metric(3)}, "empty": {}})]
    assert {how: fold(some, how) for how in Fold} == {
        Fold.MEAN: Results({"a": {"m": Metric(5, 4, 6)}, "b": {"m": Metric(1.5)}, "empty": {}}),
        **dict.fromkeys(
            (Fold.MIN, Fold.MAX, Fold.MEDIAN),
            Results({"a": {"m": Metric(10, 8, 12)}, "b": {"m": Metric(3)}, "empty": {}}),
        ),
    }


def test_no_strings_fold_to_nothing_and_keys_stay_what_they_were() -> None:
    assert [fold([], how) for how in Fold] == [None] * 4
    bmf = Results({}, keys_are_names=False)
    assert fold([bmf, bmf], Fold.MIN) == bmf


def test_an_ignore_suffix_is_not_stripped_before_folding() -> None:
    some = [Results({"a": {"m": Metric(1)}}), Results({"a_bencher_ignore": {"m": Metric(2)}})]
    assert fold(some, Fold.MAX) == Results({"a": {"m": Metric(1)}, "a_bencher_ignore": {"m": Metric(2)}})


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.none() | NUMBERS
METRICS = st.lists(st.builds(Metric, NUMBERS, BOUNDS, BOUNDS), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(METRICS, st.sampled_from(Fold))
def test_a_fold_lies_between_the_least_and_the_greatest(metrics: list[Metric], how: Fold) -> None:
    values = [metric.value for metric in metrics]
    folded_value = folded(how, *metrics).value
    assert min(values) <= folded_value <= max(values) or folded_value == pytest.approx(min(values), rel=1e-12)
