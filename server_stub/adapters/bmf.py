"""Bencher Metric Format, `json`: an object of benchmarks, each an object of measures, each a value with two bounds.

The one format whose keys may be a UUID or a slug, and whose empty document counts as read. Does not check that the
bounds are in order.
"""

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final, NoReturn

from msgspec import MsgspecError
from msgspec.json import Decoder

from server_stub.adapters.documents import Refused, fields, name
from server_stub.adapters.naming import are_short
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import NotJson, Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

MEASURE_BYTES_MAX: Final = 64
METRIC_KEYS: Final = ("value", "lower_value", "upper_value")
_PLAIN: Final = Decoder(dict[str, dict[str, Metric]])


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Every benchmark of the document, or the first rule that it breaks. `average` means nothing here."""
    try:
        benchmarks = _read_plainly(source.text)
        if benchmarks is None:
            benchmarks = _read_exactly(source)
        return Results(benchmarks, keys_are_names=False)
    except (Refused, NotJson) as error:
        return Mismatch(f"{Adapter.JSON}: {error}")


def _read_plainly(text: str) -> Benchmarks | None:
    """What most programs write, straight into metrics; None when there is anything in it that has to be looked at."""
    try:
        benchmarks = _PLAIN.decode(text)
    except (MsgspecError, UnicodeEncodeError):
        return None
    metrics = [metric for measures in benchmarks.values() for metric in measures.values()]
    lowers = sum(metric.lower_value is not None for metric in metrics)
    uppers = sum(metric.upper_value is not None for metric in metrics)
    if _may_repeat_fields(text, [len(metrics), lowers, uppers]):
        return None
    _check_keys(benchmarks)
    return benchmarks


def _read_exactly(source: Source) -> Benchmarks:
    # The skeleton is enough to refuse other harnesses' documents, so their samples are not parsed for this format.
    _check_benchmarks(source.document)
    document: dict[str, dict[str, Any]] = source.whole_document
    _check_keys(document)
    metrics = [_by_key(metric) for measures in document.values() for metric in measures.values()]
    if _may_repeat_fields(source.text, [sum(key in metric for metric in metrics) for key in METRIC_KEYS]):
        _refuse_repeated_fields(source.text)
    return {
        key: {measure: _metric(metric) for measure, metric in measures.items()} for key, measures in document.items()
    }


def _check_benchmarks(document: Any) -> None:
    for key, measures in fields(document, "the document").items():
        if type(measures) is not dict:
            raise Refused(f"benchmark {key[:80]!r} is not an object")


def _check_keys(document: Mapping[str, Mapping[str, Any]]) -> None:
    if not are_short(document) or "" in document:
        for key in document:
            name(key)
    for measure in set(chain.from_iterable(document.values())):
        if measure != measure.strip() or not 0 < len(measure.encode(errors="replace")) <= MEASURE_BYTES_MAX:
            raise Refused(
                f"measure {measure[:80]!r} has to have 1 to {MEASURE_BYTES_MAX} bytes and no blank at either end"
            )


def _by_key(metric: Any) -> dict[str, Any]:
    """The metric's fields; the reference happens to read a list of the three in order as well."""
    if type(metric) is dict:
        return metric
    if type(metric) is list and len(metric) == len(METRIC_KEYS):
        return dict(zip(METRIC_KEYS, metric, strict=True))
    raise Refused("a metric is not an object")


def _metric(written: Any) -> Metric:
    by_key = _by_key(written)
    value, lower, upper = (_number(by_key.get(key), key) for key in METRIC_KEYS)
    if value is None:
        raise Refused("value of a metric is not a number")
    return Metric(value, lower, upper)


def _number(value: Any, key: str) -> float | None:
    if value is None or type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise Refused(f"{key} of a metric is not a number")


def _may_repeat_fields(text: str, counts: list[int]) -> bool:
    """Whether some object may hold a key twice, told without a second parse.

    The fast parsers keep the last of two equal keys and tell nobody. But each key of a metric stands in the text once,
    so one more than the `counts` of metrics with it means that something was dropped (or that somebody used the word
    elsewhere). Keys written with escapes are not seen here, so any such escape is a reason to look.
    """
    return "\\u" in text or counts != [text.count(f'"{key}"') for key in METRIC_KEYS]


def _refuse_repeated_fields(text: str) -> None:
    """Read once more, slowly and exactly: of benchmarks and measures the last one wins; a metric's field comes once."""
    import json  # The parser that shows every key is rarely needed, and importing it takes time.

    try:
        pairs = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_finite, parse_float=_finite, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise Refused("nested too deep") from None
    for _, measures in pairs:
        for _, metric in _pairs(measures, "a benchmark"):
            _check_metric(metric)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every key that was written, in order. A class of its own, so that a list is none."""


def _pairs(value: Any, where: str) -> "_Pairs":
    if type(value) is not _Pairs:
        raise Refused(f"{where} is not an object")
    return value


def _check_metric(metric: Any) -> None:
    """Also those that the fast parser never showed, since a later key took their place."""
    if type(metric) is _Pairs:
        keys = [key for key, _ in metric if key in METRIC_KEYS]
        if len(keys) != len(set(keys)):
            raise Refused("a metric holds the same field twice")
    _metric(dict(metric) if type(metric) is _Pairs else metric)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Refused("a number is beyond a double")
    return number


def _refuse_constant(constant: str) -> NoReturn:
    raise Refused(f"{constant} is no JSON")
