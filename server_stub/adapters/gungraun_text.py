"""Gungraun's text report (formerly iai-callgrind): a header `file::group::function id:argument`, counts below it.

Counts of this run only, never the baseline's. A header may hold line breaks, since an argument's text may.
"""

import re
from typing import Final

from server_stub.adapters.gungraun_measures import CALLGRIND, SLUG_OF_LABEL
from server_stub.adapters.lines import number
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import Benchmarks, results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

_HEADER: Final = re.compile(r"^[^ \n:]++::[^ \n:]++::", re.MULTILINE)
_TOOL: Final = re.compile(r" ++=++ ([A-Z]++) =++")
# `LABEL: NEW|OLD`, with the difference after it in whatever form: only NEW is read.
_COUNT: Final = re.compile(
    r" ++([^ :|\n][^:|\n]*+): *+([0-9.,]{1,128}+)?\|"
    r"(?:N/A|[0-9.,]++|[^|() \n]++)?+ *+(?:\([^()\n]*+\))?+ *+(?:\[[^\]\n]*+\])?+"
)


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """One measure for each count that we know; a benchmark without any is kept."""
    text = source.printable
    benchmarks: Benchmarks = {}
    header = _HEADER.search(text)
    while header:
        end = text.find("\n  ", header.start())
        if end < 0:
            break
        name = text[header.start() : end].strip()
        counts, at = _counts(text, end + 1)
        if is_name(name):
            benchmarks.setdefault(name, {}).update(counts)
        header = _HEADER.search(text, at)
    return results_of(benchmarks, Adapter.RUST_GUNGRAUN_STDOUT, "no header `a::b::c`")


def _counts(text: str, at: int) -> tuple[dict[str, Metric], int]:
    """The counts on the lines from `at` on, and where the first line begins that is not part of the benchmark."""
    slugs = SLUG_OF_LABEL[CALLGRIND]
    counts: dict[str, Metric] = {}
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if match := _COUNT.fullmatch(text, at, end):
            _note(counts, slugs.get(match.group(1)), match.group(2))
        elif (tool := _TOOL.fullmatch(text, at, end)) and tool.group(1) in SLUG_OF_LABEL:
            slugs = SLUG_OF_LABEL[tool.group(1)]
        elif text[at:end].strip(" "):
            break
        at = end + 1
    return counts, at


def _note(counts: dict[str, Metric], slug: str | None, digits: str | None) -> None:
    value = number(digits) if digits else None
    if slug is not None and value is not None:
        counts[slug] = Metric(value)
