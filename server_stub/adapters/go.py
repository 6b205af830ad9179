"""Go's `go test -bench`: `BenchmarkName-8  5000000  325 ns/op`, and what else a benchmark reports on its row.

The time has to be the first column. `go test -json` is not read; of several runs of one benchmark the last one counts.
"""

import re
from typing import Any, Final, NamedTuple

from server_stub.adapters.lines import ANY_UNIT, BLANKS, NUMBER_OR_POWER, WHOLE, column, nanoseconds, number, whole
from server_stub.adapters.naming import are_short, is_name
from server_stub.adapters.outcome import Benchmarks, results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_ROW: Final = re.compile(
    rf"^([^ \t\n]++){BLANKS}{WHOLE}{BLANKS}{NUMBER_OR_POWER}{BLANKS}{ANY_UNIT}/op"
    rf"(?:[ \t]*+|{BLANKS}([0-9.,]++(?:[eE][+-]?[0-9]{{1,2}}+)?+[ \t].*))$",
    re.MULTILINE,
)
_FURTHER: Final = re.compile(rf"{NUMBER_OR_POWER}{BLANKS}([!-~]{{1,64}}+)(?![^ \t])")
# Every whole number of so few digits fits into 64 bits.
_WHOLE_DIGITS_SAFE: Final = 19


class Rows(NamedTuple):
    """The columns of all rows, as texts; `further` is what follows the time, or None."""

    names: list[str]
    counts: list[str]
    digits: list[str]
    units: list[str]
    further: list[str | None]


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only; each further column is a measure of its own, called by its unit: `B/op`, `allocs/op`."""
    benchmarks: Benchmarks = {}
    for chunk in source.chunks():
        # One flat list, from which a column is a slice; see `libtest`.
        pieces: list[Any] = _ROW.split(chunk)
        rows = Rows(*(pieces[group::6] for group in range(1, 6)))
        found = _benchmarks(rows)
        benchmarks.update(found if found is not None else _benchmarks(_usable(rows)) or {})
    return results_of(benchmarks, Adapter.GO_BENCH, "no row `NAME I N ns/op`")


def _benchmarks(rows: Rows) -> Benchmarks | None:
    """All rows at once; None when one of them has to be left out."""
    values = column(rows.digits, rows.units)
    names_fit = are_short(rows.names) or all(map(is_name, rows.names))
    if values is None or not (names_fit and _are_counts(rows.counts)):
        return None
    return {
        name: {"latency": metric, **_further(rest)} if rest else {"latency": metric}
        for name, metric, rest in zip(rows.names, map(Metric, values), rows.further, strict=True)
    }


def _usable(rows: Rows) -> Rows:
    kept = [row for row in zip(*rows, strict=True) if _is_usable(*row)]
    return Rows(*(list(texts) for texts in zip(*kept, strict=True))) if kept else Rows([], [], [], [], [])


def _are_counts(counts: list[str]) -> bool:
    if all(map(str.isdigit, counts)) and max(map(len, counts), default=0) <= _WHOLE_DIGITS_SAFE:
        return True
    return all(whole(count) is not None for count in counts)


def _is_usable(name: str, count: str, digits: str, unit: str, _rest: str | None) -> bool:
    return is_name(name) and whole(count) is not None and nanoseconds(digits, unit) is not None


def _further(columns: str) -> dict[str, Metric]:
    pairs = ((unit, number(digits)) for digits, unit in _FURTHER.findall(columns))
    return {unit: Metric(value) for unit, value in pairs if value is not None and unit != "latency"}
