"""What a threshold asks for: a test, the sample it wants and its boundaries, and the rules that such a model must keep.

Computes nothing from history (see `boundaries`). A model that could never work is found here, before anything is
stored: the reference server accepts some of them with a run and fails later, we refuse them up front.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Test(StrEnum):
    """How history becomes a limit. `z` and `t` are read as the two that have such short names."""

    __test__ = False  # pytest takes a class of this name for tests.

    STATIC = "static"
    PERCENTAGE = "percentage"
    Z_SCORE = "z_score"
    T_TEST = "t_test"
    LOG_NORMAL = "log_normal"
    IQR = "iqr"
    DELTA_IQR = "delta_iqr"

    @classmethod
    def _missing_(cls, value: object) -> "Test | None":
        return {"z": cls.Z_SCORE, "t": cls.T_TEST}.get(value) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a threshold. Sizes count metrics, `window` is seconds; None means without that limit."""

    test: Test
    min_sample_size: int | None = None
    max_sample_size: int | None = None
    window: int | None = None
    lower_boundary: float | None = None
    upper_boundary: float | None = None


QUANTILE_TESTS = frozenset({Test.Z_SCORE, Test.T_TEST, Test.LOG_NORMAL})
"""Their boundaries are probabilities of the upper half: 0.5 ≤ b < 1."""

_SAMPLE_SIZE_LEAST = {Test.PERCENTAGE: 1}  # Of one value there is a mean, but no spread, which all others need.


def violations(model: Model) -> list[str]:
    """Return every rule that the model breaks, each as `field: rule`; an empty list means that it can work."""
    return [*_broken_by_sample(model), *_broken_by_boundaries(model)]


def _broken_by_sample(model: Model) -> Iterator[str]:
    sizes = {"min_sample_size": model.min_sample_size, "max_sample_size": model.max_sample_size}
    if model.test is Test.STATIC:
        for field, value in {**sizes, "window": model.window}.items():
            if value is not None:
                yield f"{field}: must be absent for the test static"
        return
    least = _SAMPLE_SIZE_LEAST.get(model.test, 2)
    for field, value in sizes.items():
        if value is not None and value < least:
            yield f"{field}: must be at least {least} for the test {model.test}, is {value}"
    smallest, largest = sizes.values()
    if smallest is not None and largest is not None and smallest > largest:
        yield f"min_sample_size: must not be greater than max_sample_size, {smallest} > {largest}"


def _broken_by_boundaries(model: Model) -> Iterator[str]:
    lower, upper = model.lower_boundary, model.upper_boundary
    if lower is None and upper is None:
        yield "lower_boundary: either it or upper_boundary must be given"
    if model.test is Test.STATIC:
        if lower is not None and upper is not None and lower > upper:
            yield f"lower_boundary: must not be greater than upper_boundary, {lower} > {upper}"
        return
    for field, value in {"lower_boundary": lower, "upper_boundary": upper}.items():
        if value is None:
            continue
        if model.test in QUANTILE_TESTS:
            if not 0.5 <= value < 1:
                yield f"{field}: must be at least 0.5 and less than 1 for the test {model.test}, is {value}"
        elif value < 0:
            yield f"{field}: must not be negative for the test {model.test}, is {value}"
