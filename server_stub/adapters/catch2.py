"""Catch2's benchmarks in its console report: three lines of numbers for each, under the name of the test case.

Reads the tables with analysis and, when a run was made with `--benchmark-no-analysis`, the table of means. Does not
read the other reporters.
"""

import re
from collections.abc import Iterator
from typing import Final

from server_stub.adapters.lines import BLANKS, GAP, MAYBE_BLANKS, NUMBER_OR_POWER, WHOLE, number, whole
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.adapters.units import NS_PER_LONG_UNIT
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

RULE: Final = "-" * 79
# Lines of a test case's name: itself and its sections, wrapped. The reference knows three.
NAME_LINES_MAX: Final = 16
_NAME_LINES_PLAIN: Final = 3

_TIME: Final = f"{NUMBER_OR_POWER}{BLANKS}({'|'.join(map(re.escape, NS_PER_LONG_UNIT))})"
_COUNTED: Final = re.compile(f"{GAP}{WHOLE}{BLANKS}{WHOLE}{BLANKS}{_TIME}{MAYBE_BLANKS}$")
_TRIPLE: Final = re.compile(f"{GAP}{BLANKS.join([_TIME] * 3)}{MAYBE_BLANKS}$")
_HEAD_OF_MEANS: Final = re.compile(rf"benchmark name{BLANKS}samples{BLANKS}iterations{BLANKS}mean{MAYBE_BLANKS}")


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Latency: the mean, with the standard deviation on both sides."""
    benchmarks = {name: {"latency": metric} for name, metric in _benchmarks(source.lines.split("\n")) if is_name(name)}
    return results_of(benchmarks, Adapter.CPP_CATCH2, "no benchmark under a test case's name")


def _benchmarks(lines: list[str]) -> Iterator[tuple[str, Metric]]:
    test_case = ""
    means_only = False
    for at, line in enumerate(lines):
        if line == RULE:
            means_only = at > 0 and _HEAD_OF_MEANS.fullmatch(lines[at - 1]) is not None
            # Below a table's head stand rows, even when the next rule is as near as the end of a name.
            test_case = (not means_only and _test_case(lines, at)) or test_case
        elif test_case and (row := _COUNTED.search(line)):
            found = _mean(row) if means_only else _analysed(row, lines[at + 1 : at + 3])
            if found:
                pieces = [*_wrapped(lines, at, row.start(1)), *found[0]]
                yield f"{test_case}: {' '.join(piece for piece in pieces if piece)}", found[1]


def _test_case(lines: list[str], at: int) -> str:
    """The name between this rule and the next one, if that is what stands there; else nothing."""
    for count in range(1, NAME_LINES_MAX + 1):
        if at + count + 1 >= len(lines):
            break
        if lines[at + count + 1] == RULE:
            name_lines = [line.strip() for line in lines[at + 1 : at + count + 1]]
            return " ".join(name_lines) if count <= _NAME_LINES_PLAIN or all(map(_in_name, name_lines)) else ""
    return ""


def _in_name(line: str) -> bool:
    # A table's head stands between rules as well, below a row of dots and an empty line; and so may rows of numbers.
    return bool(line.strip(".")) and not _COUNTED.search(line)


def _analysed(row: re.Match[str], below: list[str]) -> tuple[list[str], Metric] | None:
    """The pieces of the name that stand before the numbers of the three lines; mean and standard deviation."""
    means, deviations = ([_TRIPLE.search(line) for line in below] + [None, None])[:2]
    if not means or not deviations or whole(row.group(1)) is None or whole(row.group(2)) is None:
        return None
    mean, deviation = _first_time(means), _first_time(deviations)
    if mean is None or deviation is None:
        return None
    pieces = [match.string[: match.start()].strip() for match in (row, means, deviations)]
    return pieces, Metric(mean, mean - deviation, mean + deviation)


def _mean(row: re.Match[str]) -> tuple[list[str], Metric] | None:
    mean = number(row.group(3))
    return (
        None if mean is None else ([row.string[: row.start()].strip()], Metric(mean * NS_PER_LONG_UNIT[row.group(4)]))
    )


def _first_time(match: re.Match[str]) -> float | None:
    value = number(match.group(1))
    return None if value is None else value * NS_PER_LONG_UNIT[match.group(2)]


def _wrapped(lines: list[str], at: int, column: int) -> list[str]:
    """The lines above a row that hold only the name's beginning: padded with blanks, and no wider than its column."""
    first = at
    while first > max(0, at - NAME_LINES_MAX) and _is_piece(lines[first - 1], column):
        first -= 1
    return [line.strip() for line in lines[first:at]]


def _is_piece(line: str, column: int) -> bool:
    return line.endswith(" ") and 0 < len(line.rstrip()) < column < len(line)
