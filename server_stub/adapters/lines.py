"""What the formats that are lines of text share: blanks, numbers, units, and where a line begins.

Every pattern made of these parts is possessive and starts either at a word of the format or at the start of a run of
blanks, so that a line of 25 MiB is still read once. Names are cut out by position and never matched.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import MsgspecError
from msgspec.json import Decoder

from server_stub.adapters.units import NS_PER_UNIT

# A blank is a space or a tab; a no-break space is part of a name.
BLANKS: Final = r"[ \t]++"
# Where a run of blanks begins.
GAP: Final = r"(?<![ \t])[ \t]++"
MAYBE_BLANKS: Final = r"[ \t]*+"
# Thousands commas stand anywhere and mean nothing. No sign and no exponent. Longer ones, scaled or
# multiplied, could leave a double's range.
NUMBER: Final = r"([0-9.,]{1,128}+)"
# Two harnesses print very small and very large numbers like this.
NUMBER_OR_POWER: Final = r"([0-9.,]{1,128}+(?:[eE][+-]?[0-9]{1,2}+)?+)"
WHOLE: Final = r"([0-9,]{1,64}+)"
UNIT: Final = f"({'|'.join(map(re.escape, NS_PER_UNIT))})"
# Faster to match than `UNIT`, where many rows are read at once and `column` judges the units.
ANY_UNIT: Final = "([a-zµμ]{1,2}+)"

WHOLE_MAX: Final = 2**64 - 1
_FLOATS: Final = Decoder(list[float])


def number(digits: str) -> float | None:
    """The number without its commas; None when what is left is no decimal, such as `.` or `1.2.3`."""
    try:
        return float(digits.replace(",", ""))
    except ValueError:
        return None


def whole(digits: str) -> int | None:
    """The whole number without its commas, if it fits into 64 bits without a sign."""
    digits = digits.replace(",", "")
    return value if digits and (value := int(digits)) <= WHOLE_MAX else None


def nanoseconds(digits: str, unit: str) -> float | None:
    """A time in nanoseconds; None when it is no number or its unit is none of `NS_PER_UNIT`."""
    value, factor = number(digits), NS_PER_UNIT.get(unit)
    return None if value is None or factor is None else value * factor


def column(digits: Sequence[str], units: Sequence[str]) -> list[float] | None:
    """A column of times in nanoseconds, at the speed of C; None when one is no number or has another unit."""
    plain = ";".join(digits).replace(",", "")
    try:
        values = _FLOATS.decode(f"[{plain.replace(';', ',')}]")
    except MsgspecError:
        # `007`, `.5` and `5.` are numbers for us and none for JSON.
        values = _column_one_by_one(plain.split(";"))
    if len(values) != len(units) or not set(units) <= NS_PER_UNIT.keys():
        return None
    if set(units) == {"ns"}:
        return values
    return [value * NS_PER_UNIT[unit] for value, unit in zip(values, units, strict=True)]


def _column_one_by_one(digits: list[str]) -> list[float]:
    """The numbers of a column, or nothing when one of them is none."""
    try:
        return list(map(float, digits))
    except ValueError:
        return []


def line_start(text: str, at: int) -> int:
    """Where the line that holds the position `at` begins."""
    return text.rfind("\n", 0, at) + 1


def before(text: str, at: int) -> str:
    """What stands in a line before the position `at`: a name, in the formats that print the name first."""
    return text[line_start(text, at) : at]
