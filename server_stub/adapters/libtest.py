"""libtest's `cargo bench`, `rust_bench`: `test NAME ... bench: 1,234 ns/iter (+/- 56)`.

The number is a median, so a mean is refused. Ignored, failed and broken rows are skipped; the rate that follows a row
of a benchmark with `b.bytes` is skipped over and the row kept.
"""

import re
from operator import add, sub
from typing import Final, NamedTuple

from server_stub.adapters.lines import ANY_UNIT, BLANKS, NUMBER, column, nanoseconds, number
from server_stub.adapters.naming import are_short, is_name
from server_stub.adapters.outcome import Benchmarks, results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results


class Rows(NamedTuple):
    """The columns of all rows, as texts."""

    names: list[str]
    digits: list[str]
    units: list[str]
    deviations: list[str]


# The line end before a row is matched with it: a literal to look for is several times faster than an anchor.
_ROW: Final = re.compile(
    rf"\ntest{BLANKS}([^ \n]++){BLANKS}\.\.\.{BLANKS}bench:{BLANKS}{NUMBER}{BLANKS}{ANY_UNIT}/iter{BLANKS}"
    rf"\(\+/-{BLANKS}{NUMBER}\)(?: = [0-9.,]++ [A-Za-z]++/s)?$",
    re.MULTILINE,
)
# The same for rows that are blank by blank as libtest prints them, which is a third faster.
_PLAIN_ROW: Final = re.compile(
    rf"\ntest ([^ ]++) ++\.\.\. bench: ++{NUMBER} {ANY_UNIT}/iter \(\+/- {NUMBER}\)$", re.MULTILINE
)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency: the number, and the spread on both sides of it."""
    benchmarks: Benchmarks = {}
    for chunk in source.chunks():
        rows = _rows(chunk)
        found = _benchmarks(rows)
        benchmarks.update(found if found is not None else _benchmarks(_usable(rows)) or {})
    return results_of(benchmarks, Adapter.RUST_BENCH, "no row `test NAME ... bench: N ns/iter`")


def _rows(chunk: str) -> Rows:
    plain = _cut(_PLAIN_ROW, chunk)
    # Each row holds this word, so as many rows as words are all that there are. With a tab or a line end in a name,
    # the other pattern might have cut elsewhere.
    whole = len(plain.names) == chunk.count("/iter") and "\t" not in chunk and "\n" not in "".join(plain.names)
    return plain if whole else _cut(_ROW, chunk)


def _cut(row: re.Pattern[str], chunk: str) -> Rows:
    # Split leaves one flat list, from which a column is a slice: no tuple is made for each of a million rows.
    pieces = row.split(chunk)
    return Rows(*(pieces[group::5] for group in range(1, 5)))


def _benchmarks(rows: Rows) -> Benchmarks | None:
    """All rows at once; None when one of them has to be left out."""
    values, spreads = column(rows.digits, rows.units), column(rows.deviations, rows.units)
    if values is None or spreads is None or not (are_short(rows.names) or all(map(is_name, rows.names))):
        return None
    metrics = map(Metric, values, map(sub, values, spreads), map(add, values, spreads))
    return {name: {"latency": metric} for name, metric in zip(rows.names, metrics, strict=True)}


def _usable(rows: Rows) -> Rows:
    kept = [row for row in zip(*rows, strict=True) if _is_usable(*row)]
    return Rows(*(list(texts) for texts in zip(*kept, strict=True))) if kept else Rows([], [], [], [])


def _is_usable(name: str, digits: str, unit: str, deviation: str) -> bool:
    return is_name(name) and nanoseconds(digits, unit) is not None and number(deviation) is not None
