"""Gungraun's JSON summaries (`--output-format=json` or `pretty-json`), version 6, among whatever else cargo printed.

Reads each document that stands on lines of its own and is such a summary; ignores everything else, also broken ones.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

import orjson

from server_stub.adapters.documents import Refused, entries, fields, string
from server_stub.adapters.gungraun_measures import SLUG_OF_KEY
from server_stub.adapters.naming import is_name
from server_stub.adapters.outcome import Benchmarks, results_of
from server_stub.adapters.source import Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

VERSION: Final = "6"
_ERROR_TOOL: Final = "ErrorTool"


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """One measure for each count that we know, of this run; a benchmark without any is kept."""
    benchmarks: Benchmarks = {}
    for document in _documents(source.printable):
        try:
            name, counts = _summary(document)
        except Refused:
            continue
        if is_name(name):
            benchmarks.setdefault(name, {}).update(counts)
    return results_of(benchmarks, Adapter.RUST_GUNGRAUN_JSON, "no summary of version " + VERSION)


def _documents(text: str) -> Iterator[Any]:
    """Every JSON object that is one line, or that opens and closes on lines of equal indentation.

    After a broken one the search goes on where the parser gave up, so that each character is parsed about once.
    """
    lines = text.split("\n")
    closers = _closers(lines)
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        last = at
        if line == "{":
            indentation = _indentation(lines[at])
            last = _first_after(closers.get(indentation, []), at)
        elif not (line.startswith("{") and line.endswith("}")):
            last = -1
        if last >= at:
            value, parsed_lines = _parsed("\n".join(lines[at : last + 1]))
            if value is not None:
                yield value
            at += max(1, parsed_lines)
        else:
            at += 1


def _closers(lines: list[str]) -> dict[int, list[int]]:
    """For each indentation, the numbers of the lines that hold nothing but a closing brace."""
    closers: dict[int, list[int]] = {}
    for number, line in enumerate(lines):
        if line.strip() == "}":
            closers.setdefault(_indentation(line), []).append(number)
    return closers


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _first_after(numbers: list[int], at: int) -> int:
    found = bisect_right(numbers, at)
    return numbers[found] if found < len(numbers) else -1


def _parsed(text: str) -> tuple[Any, int]:
    """The value, and how many lines were read for it: up to the fault when there is none."""
    try:
        return orjson.loads(text), text.count("\n") + 1
    except orjson.JSONDecodeError as error:
        return None, text.count("\n", 0, error.pos)


def _summary(document: Any) -> tuple[str, dict[str, Metric]]:
    summary = fields(document, "a summary")
    if summary.get("version") != VERSION:
        raise Refused(f"version is not {VERSION!r}")
    name = string(summary, "module_path")
    if summary.get("id") is not None:
        name = f"{name}::{string(summary, 'id')}"
    counts: dict[str, Metric] = {}
    for profile in entries(summary.get("profiles"), "profiles"):
        counts.update(_counts(profile))
    return name, counts


def _counts(profile: dict[str, Any]) -> Iterator[tuple[str, Metric]]:
    tool = string(profile, "tool")
    total = fields(fields(profile.get("summaries"), "summaries").get("total"), "total")
    if total.get("summary") == "None":
        return
    for kind, metrics in fields(total.get("summary"), "summary").items():
        slugs = SLUG_OF_KEY.get((tool if kind == _ERROR_TOOL else kind).upper(), {})
        for key, difference in fields(metrics, kind).items():
            value = _new_value(fields(difference, key).get("metrics"))
            if value is not None and key in slugs:
                yield slugs[key], Metric(value)


def _new_value(metrics: Any) -> float | None:
    """This run's value: `Left` is new, `Right` is the baseline alone, `Both` holds first the new one."""
    sides = fields(metrics, "metrics")
    if "Right" in sides:
        return None
    both = sides.get("Both")
    new = both[0] if type(both) is list and len(both) == 2 else sides.get("Left")
    value = next(iter(fields(new, "a metric").values()), None)
    if type(value) is not int and type(value) is not float:
        raise Refused("a metric is no number")
    return float(value)
