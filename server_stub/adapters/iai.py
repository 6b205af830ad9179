"""Iai's text report: a name, and on the five lines after it one count each, in a fixed order.

All five or none: a block with a line missing is not read. Whatever line stands before the counts is the name.
"""

import re
from typing import Final

from server_stub.adapters.lines import BLANKS, MAYBE_BLANKS, WHOLE, line_start, whole
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

MEASURES: Final = {
    "Instructions": "instructions",
    "L1 Accesses": "l1-accesses",
    "L2 Accesses": "l2-accesses",
    "RAM Accesses": "ram-accesses",
    "Estimated Cycles": "estimated-cycles",
}
_CHANGE: Final = rf"(?:{BLANKS}\((?:No change|[+-](?:[0-9.,]++|inf)%)\))?"
_BLOCK: Final = re.compile(
    rf"\n{MAYBE_BLANKS}".join(f"{label}:{BLANKS}{WHOLE}{_CHANGE}" for label in MEASURES) + "$", re.MULTILINE
)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Five counts for each block, values only."""
    text = source.lines
    benchmarks = {}
    for match in _BLOCK.finditer(text):
        name = _name(text, match.start())
        counts = [whole(digits) for digits in match.groups()]
        if is_name(name) and None not in counts:
            benchmarks[name] = {
                measure: Metric(float(count))
                for measure, count in zip(MEASURES.values(), counts, strict=True)
                if count is not None
            }
    return results_of(benchmarks, Adapter.RUST_IAI, "no name with its five counts")


def _name(text: str, at: int) -> str:
    start = line_start(text, at)
    if text[start:at].strip(" \t"):
        return ""
    return text[line_start(text, start - 1) : start - 1] if start else ""
