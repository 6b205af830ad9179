"""Benchmark.js, printed by `String(event.target)`: `NAME x 1,234 ops/sec ±0.56% (78 runs sampled)`.

Errors and the line about the fastest are skipped. The number is a mean, and no other average is there to give.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, GAP, NUMBER, WHOLE, before, number, whole
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_RATE: Final = re.compile(
    rf"{GAP}x{BLANKS}{NUMBER}{BLANKS}ops/sec{BLANKS}±{NUMBER}%{BLANKS}\({WHOLE}{BLANKS}runs?{BLANKS}sampled\)$",
    re.MULTILINE,
)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Throughput, with the relative margin of error on both sides."""
    text = source.lines
    benchmarks = {}
    for match in _RATE.finditer(text):
        name = before(text, match.start())
        metric = _throughput(*match.groups())
        if is_name(name) and metric:
            benchmarks[name] = {"throughput": metric}
    return results_of(benchmarks, Adapter.JS_BENCHMARK, "no row `NAME x N ops/sec`")


def _throughput(digits: str, percent: str, runs: str) -> Metric | None:
    rate, margin = number(digits), number(percent)
    if rate is None or margin is None or whole(runs) is None:
        return None
    spread = rate * margin / 100
    return Metric(rate, rate - spread, rate + spread)
