"""airspeed velocity's `asv run`: `[ 50.00%] ··· NAME   1.50±0.02ms`, and the tables of parameterised benchmarks.

Rows without a spread (memory, tracked numbers), failures and skipped benchmarks are no timings and are not read.
"""

import re
from typing import Final

from server_stub.adapters.asv_tables import PROGRESS, cells
from server_stub.adapters.lines import BLANKS, NUMBER, number
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_LONG_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_LONG_UNIT: Final = f"({'|'.join(map(re.escape, NS_PER_LONG_UNIT))})"
_TIMING: Final = f"{NUMBER}±{NUMBER}{_LONG_UNIT}"
_ROW: Final = re.compile(rf"{PROGRESS}([^ \n]++){BLANKS}{_TIMING}$", re.MULTILINE)
_CELL: Final = re.compile(_TIMING)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency: the median, and the half width of its interval on both sides."""
    text = source.lines
    timings = [(name, timing) for name, *timing in _ROW.findall(text)]
    timings += [(name, match.groups()) for name, match in cells(text, _CELL)]
    benchmarks = {}
    for name, timing in timings:
        metric = _latency(*timing)
        if is_name(name) and metric:
            benchmarks[name] = {"latency": metric}
    return results_of(benchmarks, Adapter.PYTHON_ASV, "no row `[N%] ··· NAME N±Nms`")


def _latency(digits: str, spread_digits: str, unit: str) -> Metric | None:
    value, spread = number(digits), number(spread_digits)
    if value is None or spread is None:
        return None
    value, spread = value * NS_PER_LONG_UNIT[unit], spread * NS_PER_LONG_UNIT[unit]
    return Metric(value, value - spread, value + spread)
