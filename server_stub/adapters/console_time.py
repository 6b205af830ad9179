"""`console.time`: Firefox's `NAME: 123ms - timer ended`, and what Node prints, `NAME: 2.384ms`.

The two are formats of their own: Node's is so plain that a log line may look like it, so it is tried after all others,
and it is never looked for in a text that holds Firefox's.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, UNIT, WHOLE, before, whole
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_S, NS_PER_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_FIREFOX: Final = re.compile(rf":{BLANKS}{WHOLE}{UNIT}{BLANKS}-{BLANKS}timer{BLANKS}ended$", re.MULTILINE)
# Node's formatTime: milliseconds and seconds with a unit, from a minute on the clock with the unit spelled out.
_NODE: Final = re.compile(
    r": (?:([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|s)|"
    r"(?:([0-9]{1,9}):)?([0-9]{1,2}):([0-9]{2}(?:\.[0-9]{3})?) \((?:h:m)?m:ss\.mmm\))$",
    re.MULTILINE,
)


def read_firefox(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only, in whole units."""
    text = source.lines
    benchmarks = {}
    for match in _FIREFOX.finditer(text):
        name = before(text, match.start())
        value = whole(match.group(1))
        if is_name(name) and value is not None:
            benchmarks[name] = {"latency": Metric(value * NS_PER_UNIT[match.group(2)])}
    return results_of(benchmarks, Adapter.JS_TIME, "no line `NAME: Ims - timer ended`")


def read_node(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only."""
    text = source.lines
    benchmarks = {}
    for match in _NODE.finditer(text):
        name = before(text, match.start())
        if is_name(name):
            benchmarks[name] = {"latency": Metric(_node_nanoseconds(match))}
    return results_of(benchmarks, Adapter.JS_TIME, "no line `NAME: N.Nms`")


def _node_nanoseconds(match: re.Match[str]) -> float:
    amount, unit, hours, minutes, seconds = match.groups()
    if amount is not None:
        return float(amount) * NS_PER_UNIT[unit]
    return (int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)) * NS_PER_S
