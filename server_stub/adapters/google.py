"""Google Benchmark's `--benchmark_format=json`: the real time of each row, as latency in nanoseconds.

Does not read CPU time, counters or the console table. Skips the rows that hold no time: fitted complexity (BigO, RMS)
and benchmarks that ended in an error, which Google writes as zero.
"""

from typing import Any, Final

from server_stub.adapters.documents import Refused, decimal, entries, fields, name, read_document, string
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_FITTED: Final = ("BigO", "RMS")


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only. Repetitions share a name, so the last one counts; aggregates have names of their own."""
    return read_document(Adapter.CPP_GOOGLE, source, _benchmarks)


def _benchmarks(document: Any) -> Benchmarks:
    whole = fields(document, "the document")
    context = fields(whole.get("context"), "context")
    entries(context.get("caches"), "context.caches")
    rows = entries(whole.get("benchmarks"), "benchmarks")
    return {name(string(row, "name")): {"latency": _latency(row)} for row in rows if not _without_time(row)}


def _without_time(row: dict[str, Any]) -> bool:
    return row.get("aggregate_name") in _FITTED or row.get("error_occurred") is True


def _latency(row: dict[str, Any]) -> Metric:
    unit = string(row, "time_unit")
    if unit not in NS_PER_UNIT:
        raise Refused(f"time_unit {unit[:20]!r} is none of {', '.join(NS_PER_UNIT)}")
    return Metric(decimal(row, "real_time") * NS_PER_UNIT[unit])
