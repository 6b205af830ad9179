"""Threshold models: which can work, and what is said about those that cannot."""

import pytest

from server_stub.thresholds import Model, Test, violations


@pytest.mark.parametrize(
    "model",
    [
        Model(Test.STATIC, lower_boundary=-5, upper_boundary=-5),
        Model(Test.STATIC, upper_boundary=-1e300),
        Model(Test.PERCENTAGE, min_sample_size=1, max_sample_size=1, window=1, upper_boundary=0),
        Model(Test.Z_SCORE, min_sample_size=2, max_sample_size=2, lower_boundary=0.5, upper_boundary=0.9999),
        Model(Test.T_TEST, max_sample_size=64, upper_boundary=0.99),
        Model(Test.LOG_NORMAL, lower_boundary=0.95),
        Model(Test.IQR, upper_boundary=3),
        Model(Test.DELTA_IQR, lower_boundary=0),
    ],
)
def test_a_model_that_can_work_breaks_no_rule(model: Model) -> None:
    assert violations(model) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        *((Model(test), ["lower_boundary: either it or upper_boundary must be given"]) for test in Test),
        (
            Model(Test.STATIC, min_sample_size=2, max_sample_size=2, window=60, upper_boundary=1),
            [f"{f}: must be absent for the test static" for f in ("min_sample_size", "max_sample_size", "window")],
        ),
        (
            Model(Test.STATIC, lower_boundary=2, upper_boundary=1),
            ["lower_boundary: must not be greater than upper_boundary, 2 > 1"],
        ),
        (
            Model(Test.PERCENTAGE, upper_boundary=-0.1),
            ["upper_boundary: must not be negative for the test percentage, is -0.1"],
        ),
        (
            Model(Test.T_TEST, max_sample_size=1, upper_boundary=0.9),
            ["max_sample_size: must be at least 2 for the test t_test, is 1"],
        ),
        (
            Model(Test.IQR, min_sample_size=1, lower_boundary=-1),
            [
                "min_sample_size: must be at least 2 for the test iqr, is 1",
                "lower_boundary: must not be negative for the test iqr, is -1",
            ],
        ),
        (
            Model(Test.DELTA_IQR, min_sample_size=5, max_sample_size=4, lower_boundary=1),
            ["min_sample_size: must not be greater than max_sample_size, 5 > 4"],
        ),
        *(
            (
                Model(test, lower_boundary=0.49, upper_boundary=1.0),
                [
                    f"lower_boundary: must be at least 0.5 and less than 1 for the test {test}, is 0.49",
                    f"upper_boundary: must be at least 0.5 and less than 1 for the test {test}, is 1.0",
                ],
            )
            for test in (Test.Z_SCORE, Test.T_TEST, Test.LOG_NORMAL)
        ),
    ],
)
def test_a_model_that_can_never_work_names_field_and_rule(model: Model, said: list[str]) -> None:
    assert violations(model) == said


def test_two_tests_have_short_names() -> None:
    assert [Test("z"), Test("t")] == [Test.Z_SCORE, Test.T_TEST]
    with pytest.raises(ValueError, match="'q' is not a valid Test"):
        Test("q")
