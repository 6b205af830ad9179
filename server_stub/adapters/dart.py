"""Dart's benchmark_harness: `NAME(RunTime): 123.4 us.`

Other metrics in parentheses, other units and `Infinity` are skipped.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, MAYBE_BLANKS, NUMBER_OR_POWER, nanoseconds
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

# The first `(RunTime):` of a line ends its name, so the search for it is never taken up again.
_ROW: Final = re.compile(
    rf"^((?>.*?\(RunTime\):)){MAYBE_BLANKS}{NUMBER_OR_POWER}{BLANKS}us\.{MAYBE_BLANKS}$", re.MULTILINE
)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only: the mean of a run in microseconds."""
    benchmarks = {}
    for head, digits in _ROW.findall(source.lines):
        name = head.removesuffix("(RunTime):").strip()
        value = nanoseconds(digits, "us")
        if is_name(name) and value is not None:
            benchmarks[name] = {"latency": Metric(value)}
    return results_of(benchmarks, Adapter.DART_BENCHMARK_HARNESS, "no row `NAME(RunTime): N us.`")
