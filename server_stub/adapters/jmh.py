"""JMH's `-rf json`: times per operation as latency, operations per time as throughput.

Does not read secondary metrics, percentiles or the console table. An entry whose unit is no time is skipped.
"""

from typing import Any, Final

from server_stub.adapters.documents import (
    Refused,
    decimal,
    decimal_of,
    entries,
    fields,
    items,
    name,
    read_document,
    string,
)
from server_stub.adapters.naming import Named, told_apart, words
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_S, NS_PER_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_NOT_A_NUMBER: Final = "NaN"  # What JMH writes for the error and the confidence of a single iteration.


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """The score between its confidence limits. One benchmark in two modes has both measures."""
    return read_document(Adapter.JAVA_JMH, source, _benchmarks)


def _benchmarks(document: Any) -> Benchmarks:
    runs = [(run, measure) for run in entries(document, "the document") if (measure := _measure(run))]
    benchmarks: Benchmarks = {}
    for key, (_, (slug, metric)) in zip(told_apart(_named(run) for run, _ in runs), runs, strict=True):
        benchmarks.setdefault(key, {})[slug] = metric
    return benchmarks


def _named(run: dict[str, Any]) -> Named:
    params = run.get("params")
    pairs = params.items() if type(params) is dict else ()
    return Named(name(string(run, "benchmark")), words((key, value) for key, value in pairs if type(value) is str))


def _measure(run: dict[str, Any]) -> tuple[str, Metric] | None:
    """The measure's slug and the metric; None when the score counts something else than time."""
    primary = fields(run.get("primaryMetric"), "primaryMetric")
    fields(run.get("secondaryMetrics"), "secondaryMetrics")
    unit = string(primary, "scoreUnit")
    time, _, operation = unit.partition("/")
    if operation == "op" and time in NS_PER_UNIT:
        return "latency", _metric(primary, NS_PER_UNIT[time])
    if time == "ops" and operation in NS_PER_UNIT:
        return "throughput", _metric(primary, NS_PER_S / NS_PER_UNIT[operation])
    return None


def _metric(primary: dict[str, Any], factor: float) -> Metric:
    score = decimal(primary, "score") * factor
    limits = items(primary.get("scoreConfidence"), "scoreConfidence")
    if len(limits) != 2:
        raise Refused("scoreConfidence has to hold two numbers")
    if _NOT_A_NUMBER in limits:
        return Metric(score)
    lower, upper = (decimal_of(limit, "scoreConfidence") * factor for limit in limits)
    return Metric(score, lower, upper)
