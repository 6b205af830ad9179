"""A fast way through the plainest Bencher Metric Format: what most programs write, in one pass of a pattern.

Plain means: no escapes in keys, and in every metric `value`, `lower_value`, `upper_value` in this order and nothing
else. Any other document is answered with None, not with an error: `bmf` reads it, and says what is wrong if it is.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from server_stub.adapters.naming import are_short
from server_stub.adapters.outcome import Benchmarks, metrics_of
from server_stub.metrics import Metric

_BLANKS: Final = r"[ \t\r\n]*+"
_KEY: Final = rf'{_BLANKS}"([^"\\\x00-\x1f]++)"{_BLANKS}:{_BLANKS}\{{'
# Only the characters of a number: the JSON parser judges the column as a whole.
_NUMBER: Final = r"([-+.0-9eE]++|null)"


def _field(key: str) -> str:
    return rf'{_BLANKS}"{key}"{_BLANKS}:{_BLANKS}{_NUMBER}{_BLANKS}'


# A metric with what separates it from the one before: the end of a benchmark and a new one, or a comma.
_METRIC: Final = re.compile(
    rf"(?:\}}{_BLANKS},{_KEY}|,){_KEY}{_field('value')}(?:,{_field('lower_value')})?+(?:,{_field('upper_value')})?+\}}{_BLANKS}"
)
_GROUPS: Final = 5
_END: Final = re.compile(rf"\}}{_BLANKS}\}}{_BLANKS}")


def read_plain(text: str) -> Benchmarks | None:
    """The benchmarks of a plain document; None when it is not plain."""
    start = text[:4096].find("{")
    # As if a benchmark had ended just before: then every benchmark begins alike.
    body = "}," + text[start + 1 :]
    if text[:start].strip(" \t\r\n") or not _METRIC.match(body) or not (text.isascii() or _is_unicode(text)):
        return None
    pieces: list[Any] = _METRIC.split(body)
    if any(pieces[: -1 : _GROUPS + 1]) or not _END.fullmatch(pieces[-1]):
        return None
    names, measures, *columns = (pieces[group :: _GROUPS + 1] for group in range(1, _GROUPS + 1))
    values, lowers, uppers = map(_column, columns)
    if values is None or lowers is None or uppers is None or None in values or not _are_keys(names, measures):
        return None
    return _grouped(names, measures, metrics_of(values, lowers, uppers))


def _is_unicode(text: str) -> bool:
    """Whether the text is free of lone surrogates, which JSON cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_keys(names: list[str | None], measures: list[str]) -> bool:
    measure_keys = set(measures)
    return are_short(name for name in names if name is not None) and all(
        key.isascii() and len(key) <= 64 and key == key.strip() for key in measure_keys
    )


def _column(numbers: list[Any]) -> list[Any] | None:
    """One field of every metric; None when a number is not one of JSON's."""
    if None in numbers:
        numbers = ["null" if number is None else number for number in numbers]
    try:
        values: list[float | None] = orjson.loads(f"[{','.join(numbers)}]")
    except orjson.JSONDecodeError:
        return None
    # Only a whole number has to become a double; most columns hold none.
    return [value if value is None else float(value) for value in values] if int in set(map(type, values)) else values


def _grouped(names: list[Any], measures: list[str], metrics: Iterator[Metric]) -> Benchmarks:
    """A name begins a benchmark, also one that was there before: the last one of a name counts."""
    if None not in names:
        return {name: {measure: metric} for name, measure, metric in zip(names, measures, metrics, strict=True)}
    benchmarks: Benchmarks = {}
    current: dict[str, Metric] = {}
    for name, measure, metric in zip(names, measures, metrics, strict=True):
        if name is not None:
            current = benchmarks[name] = {}
        current[measure] = metric
    return benchmarks
