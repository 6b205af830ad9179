"""How a reader answers: with what it found, or with what it looked for in vain."""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import TypeAlias, cast

from server_stub.metrics import Adapter, Metric, Mismatch, Results

Benchmarks: TypeAlias = dict[str, dict[str, Metric]]


def results_of(benchmarks: Benchmarks, adapter: Adapter, missed: str) -> Results | Mismatch:
    """The results; without any benchmark, a mismatch that says what was missed."""
    return Results(benchmarks) if benchmarks else Mismatch(f"{adapter}: {missed}")


def metrics_of(
    values: Iterable[float], lowers: Iterable[float | None], uppers: Iterable[float | None]
) -> Iterator[Metric]:
    """A metric for each row of three columns. No frame of Python is entered for a row: files have millions of them."""
    return cast("Iterator[Metric]", map(tuple.__new__, repeat(Metric), zip(values, lowers, uppers, strict=True)))
