"""How a reader answers: with what it found, or with what it looked for in vain."""

from typing import TypeAlias

from server_stub.metrics import Adapter, Metric, Mismatch, Results

Benchmarks: TypeAlias = dict[str, dict[str, Metric]]


def results_of(benchmarks: Benchmarks, adapter: Adapter, missed: str) -> Results | Mismatch:
    """The results; without any benchmark, a mismatch that says what was missed."""
    return Results(benchmarks) if benchmarks else Mismatch(f"{adapter}: {missed}")
