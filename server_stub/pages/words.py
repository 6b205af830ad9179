"""How pages write numbers, sizes, lengths of time and moments. Pure."""

import math
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from runner_protocol.results import Stage

DASH = "–"
_SCALES: Final = {"nanoseconds": (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))}
_BEFORE_ITERATIONS = frozenset({Stage.CLAIM, Stage.PULL, Stage.PLAN, Stage.ISOLATE})
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits, and thin spaces between thousands."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 12)}f}".replace(",", "\u202f") if places <= 9 else f"{value:.{digits - 1}e}"


def in_units(value: float | None, units: str) -> str:
    """A measured value with its unit; nanoseconds become what reads best."""
    if value is None:
        return DASH
    for unit, factor in _SCALES.get(units.lower().partition(" (")[0], ()):
        if abs(value) >= factor or factor == 1.0:
            return f"{number(value / factor)}\u00a0{unit}"
    return f"{number(value)}\u00a0{short_unit(units)}"


def short_unit(units: str) -> str:
    """What stands in brackets at the end of a unit, as in `bytes (B)`; else all of it."""
    inside = units.rpartition(" (")[2].removesuffix(")") if units.endswith(")") else ""
    return inside or units


def percent(fraction: float | None, *, signed: bool = False) -> str:
    """A fraction as a percentage."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    shown = abs(fraction * 100)
    text = f"{shown:.1f}" if shown >= 10 else f"{shown:.2f}"
    sign = "" if not signed or float(text) == 0 else "+" if fraction > 0 else "−"
    return f"{sign}{text}\u00a0%"


def size(count: float | None) -> str:
    """A number of bytes."""
    if count is None:
        return DASH
    scale = 0 if count < 1024 else min(int(math.log2(count) // 10), len(_BYTES) - 1)
    return f"{number(count / 1024**scale, 3)}\u00a0{_BYTES[scale]}"


def span(seconds: float | None) -> str:
    """A length of time, to two units."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f}\u00a0ms"
    if seconds < 60:
        return f"{number(round(seconds, 1))}\u00a0s"
    whole = round(seconds)
    for letter, length, below, shorter in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // shorter
            return f"{whole // length}\u00a0{letter}" + (f" {rest}\u00a0{below}" if rest else "")
    return f"{whole}\u00a0s"


def is_counting(progress: dict[str, Any]) -> bool:
    """Whether a job has come to its iterations."""
    return progress["iterations"] > 0 and (progress["iteration"] > 0 or progress["stage"] not in _BEFORE_ITERATIONS)


def at_iteration(progress: dict[str, Any]) -> str:
    """Which iteration is under way, of how many."""
    return f"{min(progress['iteration'] + 1, progress['iterations'])} of {progress['iterations']}"


def nanoseconds(count: float | None) -> str:
    """A length of time that was measured."""
    return in_units(count, "nanoseconds")


def moment(when: str | int | None) -> Markup:
    """A moment, RFC 3339 or milliseconds: in UTC as it stands, in the reader's zone once the script has seen it."""
    if when is None:
        return Markup("–")
    at = datetime.fromtimestamp(when / 1000, UTC) if isinstance(when, int) else datetime.fromisoformat(when)
    text = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(text.isoformat(), text.strftime("%Y-%m-%d %H:%M UTC"))


def ago(when: str | int | None) -> Markup:
    """The same, shown as how long ago it is."""
    return Markup(str(moment(when)).replace("<time ", "<time data-ago ", 1))  # noqa: S704  Made by `moment`, escaped.


def sentence(text: str) -> str:
    """With a capital at its beginning; names within it stay as they are."""
    return text[:1].upper() + text[1:]


def quoted(word: str) -> str:
    """A word of a command as a shell would need it."""
    return shlex.quote(word)


def short(text: str | None, length: int = 10) -> str:
    """The beginning of a hash or UUID."""
    return "" if text is None else text.removeprefix("sha256:")[:length]


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "number": number,
    "in_units": in_units,
    "percent": percent,
    "size": size,
    "span": span,
    "ns": nanoseconds,
    "is_counting": is_counting,
    "at_iteration": at_iteration,
    "moment": moment,
    "ago": ago,
    "quoted": quoted,
    "sentence": sentence,
    "short": short,
}
