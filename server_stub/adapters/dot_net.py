"""BenchmarkDotNet's `--exporters json`: nanoseconds for each method, and its memory diagnoser's counts.

Does not read measurements one by one, percentiles or the markdown summary. A benchmark that failed has no statistics
and is skipped.
"""

from typing import Any, Final

from server_stub.adapters.documents import Refused, around, decimal, entries, fields, name, read_document, string
from server_stub.adapters.naming import Named, told_apart
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

MEMORY: Final = {
    "BytesAllocatedPerOperation": "allocated",
    "Gen0Collections": "gen0-collects",
    "Gen1Collections": "gen1-collects",
    "Gen2Collections": "gen2-collects",
    "TotalOperations": "total-operations",
}
COUNT_MAX: Final = 2**64 - 1


def read(source: Source, average: Average | None) -> Results | Mismatch:
    """Mean with its deviation on both sides; or the median with the interquartile range; of memory, values only."""

    def benchmarks(document: Any) -> Benchmarks:
        whole = fields(document, "the document")
        fields(whole.get("HostEnvironmentInfo"), "HostEnvironmentInfo")
        listed = entries(whole.get("Benchmarks"), "Benchmarks")
        ran = [benchmark for benchmark in listed if not _failed(benchmark)]
        found: Benchmarks = {}
        for key, benchmark in zip(told_apart(map(_named, ran)), ran, strict=True):
            found.setdefault(key, {}).update(_measures(benchmark, average))
        return found

    return read_document(Adapter.C_SHARP_DOT_NET, source, benchmarks)


def _failed(benchmark: dict[str, Any]) -> bool:
    return "Statistics" in benchmark and benchmark["Statistics"] is None


def _named(benchmark: dict[str, Any]) -> Named:
    """`Namespace.Method`; the class and the parameters tell two of a name apart."""
    method = string(benchmark, "Method")
    space = benchmark.get("Namespace")
    if space is not None:
        method = f"{name(string(benchmark, 'Namespace'))}.{name(method)}"
    told = (benchmark.get("Type"), benchmark.get("Parameters"))
    return Named(name(method), ", ".join(part for part in told if type(part) is str and part))


def _measures(benchmark: dict[str, Any], average: Average | None) -> dict[str, Metric]:
    statistics = fields(benchmark.get("Statistics"), "Statistics")
    mean, deviation, median, range_ = (
        decimal(statistics, key) for key in ("Mean", "StandardDeviation", "Median", "InterquartileRange")
    )
    measures = {"latency": around(median, range_) if average is Average.MEDIAN else around(mean, deviation)}
    if benchmark.get("Memory") is not None:
        memory = fields(benchmark["Memory"], "Memory")
        measures.update({slug: _count(memory, key) for key, slug in MEMORY.items()})
    return measures


def _count(memory: dict[str, Any], key: str) -> Metric:
    value = memory.get(key)
    if type(value) is not int or not 0 <= value <= COUNT_MAX:
        raise Refused(f"Memory.{key} is no count")
    return Metric(float(value))
