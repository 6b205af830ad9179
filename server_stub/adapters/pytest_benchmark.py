"""pytest-benchmark's `--benchmark-json`: seconds for each test, as latency in nanoseconds.

Does not read the operations per second, nor the table on the console. A `NaN` in the document makes it no JSON.
"""

from typing import Any

from server_stub.adapters.documents import around, decimal, entries, fields, name, read_document, string
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_S
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results


def read(source: Source, average: Average | None) -> Results | Mismatch:
    """Mean with its standard deviation on both sides; or the median with the interquartile range."""

    def benchmarks(document: Any) -> Benchmarks:
        whole = fields(document, "the document")
        fields(whole.get("machine_info"), "machine_info")
        fields(whole.get("commit_info"), "commit_info")
        tests = entries(whole.get("benchmarks"), "benchmarks")
        return {name(string(test, "fullname")): {"latency": _latency(test, average)} for test in tests}

    return read_document(Adapter.PYTHON_PYTEST, source, benchmarks)


def _latency(test: dict[str, Any], average: Average | None) -> Metric:
    stats = fields(test.get("stats"), "stats")
    mean, deviation, median, range_ = (decimal(stats, key) * NS_PER_S for key in ("mean", "stddev", "median", "iqr"))
    return around(median, range_) if average is Average.MEDIAN else around(mean, deviation)
