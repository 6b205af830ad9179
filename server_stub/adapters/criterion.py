"""Criterion's text report: `NAME   time:   [low U estimate U high U]`, or the name on the line before.

Skips the change, the throughput and the outliers. What a terminal's progress bar wrote over is no part of a name.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, NUMBER, UNIT, line_start
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_INTERVAL: Final = BLANKS.join(f"{NUMBER}{BLANKS}{UNIT}" for _ in range(3))
_TIME: Final = re.compile(rf"time:{BLANKS}\[{_INTERVAL}\]$", re.MULTILINE)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency: the estimate and its confidence interval."""
    text = source.lines
    benchmarks = {}
    for match in _TIME.finditer(text):
        name = _name(text, match.start())
        metric = _latency(match)
        if name and metric and is_name(name):
            benchmarks[name] = {"latency": metric}
    return results_of(benchmarks, Adapter.RUST_CRITERION, "no line `NAME time: [N U N U N U]`")


def _name(text: str, at: int) -> str:
    start = line_start(text, at)
    name = text[start:at].rstrip(" \t")
    if start + len(name) == at:
        return ""  # No blank before `time:`, so this is the end of some other word.
    # A name that is too long for its column stands alone on the line before, as it is.
    return name or text[line_start(text, start - 1) : start - 1]


def _latency(match: re.Match[str]) -> Metric | None:
    low, low_unit, value, unit, high, high_unit = match.groups()
    try:
        return Metric(
            float(value.replace(",", "")) * NS_PER_UNIT[unit],
            float(low.replace(",", "")) * NS_PER_UNIT[low_unit],
            float(high.replace(",", "")) * NS_PER_UNIT[high_unit],
        )
    except ValueError:
        return None
