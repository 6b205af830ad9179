"""libtest's `cargo bench`, `rust_bench`: `test NAME ... bench: 1,234 ns/iter (+/- 56)`.

The number is a median, so a mean is refused. Ignored, failed and broken rows are skipped; the rate that follows a row
of a benchmark with `b.bytes` is skipped over and the row kept.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, NUMBER, UNIT
from server_stub.adapters.naming import NAME_BYTES_MAX, is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

SIGN: Final = "/iter"

# The line end before a row is matched with it: a literal to look for is several times faster than an anchor.
_ROW: Final = re.compile(
    rf"\ntest{BLANKS}([^ \n]++){BLANKS}\.\.\.{BLANKS}bench:{BLANKS}{NUMBER}{BLANKS}{UNIT}/iter{BLANKS}"
    rf"\(\+/-{BLANKS}{NUMBER}\)(?: = [0-9.,]++ [A-Za-z]++/s)?$",
    re.MULTILINE,
)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency: the number, and the spread on both sides of it."""
    benchmarks = {}
    for name, digits, unit, deviation in _ROW.findall("\n" + source.lines):
        try:
            scale = NS_PER_UNIT[unit]
            value = float(digits.replace(",", "")) * scale
            spread = float(deviation.replace(",", "")) * scale
        except ValueError:
            continue
        if len(name) <= NAME_BYTES_MAX // 4 or is_name(name):
            benchmarks[name] = {"latency": Metric(value, value - spread, value + spread)}
    return results_of(benchmarks, Adapter.RUST_BENCH, "no row `test NAME ... bench: N ns/iter`")
