"""Bencher Metric Format, `json`: an object of benchmarks, each an object of measures, each a value with two bounds.

The one format whose keys may be a UUID or a slug, and whose empty document counts as read. Does not check that the
bounds are in order.
"""

import json
import math
from typing import Any, Final

from server_stub.adapters.documents import Refused, fields, name
from server_stub.adapters.outcome import Benchmarks
from server_stub.adapters.source import NotJson, Source
from server_stub.metrics import Adapter, Average, Metric, Mismatch, Results

MEASURE_BYTES_MAX: Final = 64
METRIC_KEYS: Final = ("value", "lower_value", "upper_value")


def read(source: Source, _average: Average | None) -> Results | Mismatch:
    """Every benchmark of the document, or the first rule that it breaks. `average` means nothing here."""
    try:
        _refuse_other_documents(source.document)
        return Results(_benchmarks(source), keys_are_names=False)
    except (Refused, NotJson) as error:
        return Mismatch(f"{Adapter.JSON}: {error}")


def _refuse_other_documents(document: Any) -> None:
    # The skeleton is enough to refuse other harnesses' documents, so their samples are not parsed for this format.
    for key, measures in fields(document, "the document").items():
        fields(measures, f"benchmark {key[:80]!r}")


def _benchmarks(source: Source) -> Benchmarks:
    document = source.whole_document
    benchmarks: Benchmarks = {}
    checked: set[str] = set()
    for key, measures in document.items():
        if not 0 < len(key) <= 256:
            name(key)
        for measure in measures:
            if measure not in checked:
                checked.add(_measure(measure))
        benchmarks[key] = {measure: metric(value) for measure, value in measures.items()}
    if _may_repeat_keys(source.text, benchmarks):
        _refuse_repeated_fields(source.text)
    return benchmarks


def _measure(key: str) -> str:
    if key != key.strip() or not 0 < len(key.encode(errors="replace")) <= MEASURE_BYTES_MAX:
        raise Refused(f"measure {key[:80]!r} has to have 1 to {MEASURE_BYTES_MAX} bytes and no blank at either end")
    return key


def metric(value: Any) -> Metric:
    """A metric object, or a list of its three fields in order, which the reference happens to read as well."""
    if type(value) is dict:
        centre, lower, upper = value.get("value"), value.get("lower_value"), value.get("upper_value")
    elif type(value) is list and len(value) == len(METRIC_KEYS):
        centre, lower, upper = value
    else:
        raise Refused("a metric is not an object")
    if type(centre) is not float:
        centre = _double(centre, "value")
    if lower is not None and type(lower) is not float:
        lower = _double(lower, "lower_value")
    if upper is not None and type(upper) is not float:
        upper = _double(upper, "upper_value")
    return Metric(centre, lower, upper)


def _double(value: Any, key: str) -> float:
    if type(value) is not int and type(value) is not float:
        raise Refused(f"{key} of a metric is not a number")
    return float(value)


def _may_repeat_keys(text: str, benchmarks: Benchmarks) -> bool:
    """Whether some object may hold a key twice, told without a second parse.

    The fast parser keeps the last of two equal keys and tells nobody. Each metric has one `"value"` in the text, so
    one more than there are metrics means that something was dropped (or that somebody used the word elsewhere).
    Keys written with escapes are not told apart here, so any escape is a reason to look.
    """
    if "\\u" in text:
        return True
    metrics = [metric for measures in benchmarks.values() for metric in measures.values()]
    present = (
        len(metrics),
        sum(m.lower_value is not None for m in metrics),
        sum(m.upper_value is not None for m in metrics),
    )
    return any(text.count(f'"{key}"') != number for key, number in zip(METRIC_KEYS, present, strict=True))


def _refuse_repeated_fields(text: str) -> None:
    """Read once more, slowly and exactly: of benchmarks and measures the last wins, a metric's field comes once."""
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs, parse_int=_finite, parse_float=_finite)
    except RecursionError:
        raise Refused("nested too deep") from None
    for _, measures in pairs:
        for _, value in _all_pairs(measures, "a benchmark"):
            metric(dict(value) if type(value) is _Pairs else value)
            if type(value) is _Pairs:
                _refuse_repeated(value)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every key that was written, in order. A class of its own, so that a list is none."""


def _all_pairs(value: Any, where: str) -> "_Pairs":
    if type(value) is not _Pairs:
        raise Refused(f"{where} is not an object")
    return value


def _refuse_repeated(metric_pairs: "_Pairs") -> None:
    keys = [key for key, _ in metric_pairs if key in METRIC_KEYS]
    if len(keys) != len(set(keys)):
        raise Refused("a metric holds the same field twice")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Refused("a number is beyond a double")
    return number
