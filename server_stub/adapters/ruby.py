"""Ruby's Benchmark: tables with `user system total real` at their head, of which the last column is read.

Rehearsals have another head and are skipped. benchmark-ips is another program.
"""

import re
from collections.abc import Iterator
from typing import Final

from server_stub.adapters.lines import BLANKS, GAP, MAYBE_BLANKS, NUMBER, number
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_S
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_HEAD: Final = re.compile(rf"^{BLANKS}user{BLANKS}system{BLANKS}total{BLANKS}real$", re.MULTILINE)
_TIMES: Final = re.compile(rf"{GAP}{BLANKS.join([NUMBER] * 3)}{BLANKS}\({MAYBE_BLANKS}{NUMBER}\)$")


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency, value only: the seconds that passed."""
    benchmarks = {}
    for name, seconds in _rows(source.lines):
        value = number(seconds)
        if is_name(name) and value is not None:
            benchmarks[name] = {"latency": Metric(value * NS_PER_S)}
    return results_of(benchmarks, Adapter.RUBY_BENCHMARK, "no row under `user system total real`")


def _rows(text: str) -> Iterator[tuple[str, str]]:
    """The label and the real time of each row. A table goes on over empty lines; any other line ends it."""
    head = _HEAD.search(text)
    while head:
        at = head.end() + 1
        while at < len(text):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            row = _TIMES.search(text, at, end)
            if row:
                yield text[at : row.start()], row.group(4)
            elif text[at:end].strip(" \t"):
                break
            at = end + 1
        head = _HEAD.search(text, at)
