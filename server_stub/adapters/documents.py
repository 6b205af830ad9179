"""What the formats that are one JSON document share: typed fields, numbers, names, and one way to say no.

A reader raises `Refused` at the first field that is wrong; `read_document` is the only place that catches it.
Unknown fields are never looked at.
"""

import re
from collections.abc import Callable
from itertools import chain
from math import isfinite
from typing import Any, Final

from server_stub.adapters.naming import NAME_BYTES_MAX, is_name
from server_stub.adapters.outcome import Benchmarks, results_of
from server_stub.adapters.source import NotJson, Source
from server_stub.metrics import Adapter, Metric, Mismatch, Results

# The reference reads most of these numbers through a 96-bit decimal; this is what one holds.
DECIMAL_MAX: Final = 79228162514264337593543950335.0
DECIMAL_PLACES: Final = 28
# Below this, rounding to 28 places is visible in a double.
DECIMAL_SMALL: Final = 1e-12
_DECIMAL_TEXT: Final = re.compile(r"[+-]?(?:[0-9]{1,60}\.?[0-9]{0,60}|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,3})?")


class Refused(ValueError):
    """The document is not in this format; the message names the field and the rule."""


def read_document(adapter: Adapter, source: Source, read: Callable[[Any], Benchmarks]) -> Results | Mismatch:
    """The results that `read` finds in the JSON value of the text; none at all is a mismatch too."""
    try:
        benchmarks = read(source.document)
        _check_range(benchmarks)
    except (Refused, NotJson) as error:
        return Mismatch(f"{adapter}: {error}")
    return results_of(benchmarks, adapter, "the document holds no benchmark")


def _check_range(benchmarks: Benchmarks) -> None:
    """Refuses what left the range of a double when it was scaled: JSON could not hold it."""
    metrics = chain.from_iterable(measures.values() for measures in benchmarks.values())
    if not all(part is None or isfinite(part) for metric in metrics for part in metric.parts):
        raise Refused("a number is beyond a double once it is scaled")


def fields(value: Any, where: str) -> dict[str, Any]:
    """The value, which must be an object."""
    if type(value) is not dict:
        raise Refused(f"{where} is not an object")
    return value


def items(value: Any, where: str) -> list[Any]:
    """The value, which must be a list."""
    if type(value) is not list:
        raise Refused(f"{where} is not a list")
    return value


def entries(value: Any, where: str) -> list[dict[str, Any]]:
    """The value, which must be a list of objects."""
    return [fields(item, f"{where}[{index}]") for index, item in enumerate(items(value, where))]


def string(record: dict[str, Any], key: str) -> str:
    """A field that must be a text."""
    value = record.get(key)
    if type(value) is not str:
        raise Refused(f"{key} is not a text")
    return value


def name(value: str) -> str:
    """A benchmark's name as it stands: 1 to 1024 bytes of UTF-8."""
    if not is_name(value):
        raise Refused(f"a benchmark's name has to have 1 to {NAME_BYTES_MAX} bytes")
    return value


def double(record: dict[str, Any], key: str) -> float:
    """A field that must be a JSON number."""
    value = record.get(key)
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise Refused(f"{key} is not a number")


def decimal(record: dict[str, Any], key: str) -> float:
    """A field that must be a JSON number, or a text that holds one, within what a 96-bit decimal can hold."""
    return decimal_of(record.get(key), key)


def decimal_of(value: Any, where: str) -> float:
    """The value as `decimal` reads it; digits after the 28th place are rounded away."""
    if type(value) is str:
        value = float(value) if _DECIMAL_TEXT.fullmatch(value) else None
    if type(value) is not float and type(value) is not int:
        raise Refused(f"{where} is not a number")
    number = float(value)
    if not -DECIMAL_MAX <= number <= DECIMAL_MAX:
        raise Refused(f"{where} is beyond {DECIMAL_MAX:.3g}")
    return number if abs(number) > DECIMAL_SMALL else round(number, DECIMAL_PLACES)


def around(centre: float, spread: float) -> Metric:
    """A value with the same spread on both sides."""
    return Metric(centre, centre - spread, centre + spread)
