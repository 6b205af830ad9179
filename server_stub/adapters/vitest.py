"""Vitest's `bench --outputJson`: milliseconds as latency in nanoseconds, and Hz as throughput.

Does not read samples, percentiles or the console table. A benchmark that threw has no numbers and is skipped.
"""

from typing import Any, Final

from server_stub.adapters.documents import around, double, entries, fields, name, read_document, string
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_MS
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_NUMBERS: Final = ("hz", "mean", "median", "sd")


def read(source: Source, average: Average | None) -> Results | Mismatch:
    """Mean with its deviation on both sides, or the bare median; the rate with its relative margin in either case."""

    def benchmarks(document: Any) -> Benchmarks:
        found: Benchmarks = {}
        for file in entries(fields(document, "the document").get("files"), "files"):
            for group in entries(file.get("groups"), "groups"):
                for benchmark in entries(group.get("benchmarks"), "benchmarks"):
                    key = _joined(string(group, "fullName"), string(benchmark, "name"))
                    if not _threw(benchmark):
                        found.setdefault(key, {}).update(_measures(benchmark, average))
        return found

    return read_document(Adapter.JS_VITEST, source, benchmarks)


def _joined(group: str, leaf: str) -> str:
    whole = f"{group} > {leaf}"
    return whole if group and is_name(whole) else name(leaf)


def _threw(benchmark: dict[str, Any]) -> bool:
    return not any(key in benchmark for key in _NUMBERS)


def _measures(benchmark: dict[str, Any], average: Average | None) -> dict[str, Metric]:
    rate, margin = double(benchmark, "hz"), double(benchmark, "rme")
    mean, median, deviation = (double(benchmark, key) * NS_PER_MS for key in ("mean", "median", "sd"))
    latency = Metric(median) if average is Average.MEDIAN else around(mean, deviation)
    return {"latency": latency, "throughput": around(rate, rate * margin / 100)}
