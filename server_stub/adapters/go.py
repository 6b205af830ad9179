"""Go's `go test -bench`: `BenchmarkName-8  5000000  325 ns/op`, and what else a benchmark reports on its row.

The time has to be the first column. `go test -json` is not read; of several runs of one benchmark the last one counts.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, NUMBER_OR_POWER, UNIT, WHOLE, number, whole
from server_stub.adapters.naming import NAME_BYTES_MAX, is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

SIGN: Final = "/op"

_ROW: Final = re.compile(
    rf"^([^ \t\n]++){BLANKS}{WHOLE}{BLANKS}{NUMBER_OR_POWER}{BLANKS}{UNIT}/op(?:[ \t]*+|{BLANKS}([0-9.,]++[ \t].*))$",
    re.MULTILINE,
)
_FURTHER: Final = re.compile(rf"{NUMBER_OR_POWER}{BLANKS}([!-~]{{1,64}}+)(?![^ \t])")


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only; each further column is a measure of its own, called by its unit: `B/op`, `allocs/op`."""
    benchmarks = {}
    for name, runs, digits, unit, rest in _ROW.findall(source.lines):
        try:
            value = float(digits.replace(",", "")) * NS_PER_UNIT[unit]
        except ValueError:
            continue
        if whole(runs) is not None and (len(name) <= NAME_BYTES_MAX // 4 or is_name(name)):
            measures = {"latency": Metric(value)}
            if rest:
                measures.update(_further(rest))
            benchmarks[name] = measures
    return results_of(benchmarks, Adapter.GO_BENCH, "no row `NAME I N ns/op`")


def _further(columns: str) -> dict[str, Metric]:
    found = ((unit, number(digits)) for digits, unit in _FURTHER.findall(columns))
    return {unit: Metric(value) for unit, value in found if value is not None and unit != "latency"}
