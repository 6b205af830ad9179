"""Draws series of metrics for a pull request's comment: lines, the boundary as a band, alerts as marks. Pure.

Drawn at twice its size and brought down, so that lines and marks are smooth. The size is bounded whatever is asked for:
the plot is of one size, and a legend that grows too long ends with how many more there are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal

from text_unidecode import unidecode  # type: ignore[import-untyped]  # The package ships no types.

from server_stub.shapes import PerfJson, PerfMetricJson, PerfSeriesJson

if TYPE_CHECKING:  # The library takes 40 ms to load: only a server that is asked for a picture loads it.
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Format = Literal["jpeg", "png"]
Point = tuple[float, float]

WIDTH = 1200
PLOT_HEIGHT = 520
LEGEND_ROW = 26
LEGEND_ROWS_MAX = 16
TITLE_CHARACTERS_MAX = 90
LABEL_CHARACTERS_MAX = 130
SCALE = 2
"""How much larger it is drawn."""
QUALITY = 88
LEFT, RIGHT, TOP, BOTTOM = 92, 28, 92, 44

PAPER, INK, SOFT, GRID, ALERT = "#ffffff", "#18201e", "#55605d", "#e3e8e5", "#a81e17"
COLOURS = ("#0a6468", "#b3541e", "#4a55b5", "#8a2f6b", "#56751b", "#8a6a00", "#3a7fb0", "#6b4b3a")
"""Of the series, in their order. Beyond them the dashes change."""
DASHES: tuple[tuple[int, int] | None, ...] = (None, (14, 8), (4, 6), (22, 6))
BAND_ALPHA = 34
DOTS_MAX = 4000
"""Of one series: beyond, the line of medians is all that could be seen."""
FAMILY = "DejaVuSans.ttf"
"""What Debian has: it knows most scripts. Without it the library's own font is used, which knows ASCII."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values go: from the ranges of versions and values to dots of the large drawing."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float

    def x(self, version: float) -> float:
        """The place of a version."""
        across = (version - self.x_min) / (self.x_max - self.x_min)
        return SCALE * (LEFT + across * (WIDTH - LEFT - RIGHT))

    def y(self, value: float) -> float:
        """The place of a value."""
        up = (value - self.y_min) / (self.y_max - self.y_min)
        return SCALE * (TOP + (1 - up) * (PLOT_HEIGHT - TOP - BOTTOM))


def draw(perf: PerfJson, title: str | None, image_format: Format) -> bytes:
    """The picture of what `GET …/perf` answers."""
    from PIL import Image, ImageDraw

    series = perf["results"]
    rows = min(len(series), LEGEND_ROWS_MAX)
    height = PLOT_HEIGHT + rows * LEGEND_ROW + (16 if rows else 0)
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    canvas = ImageDraw.Draw(image, "RGBA")
    _text(canvas, (LEFT, 22), _clean(title or perf["project"]["name"], TITLE_CHARACTERS_MAX), 26, INK)
    _text(canvas, (LEFT, 60), _clean(_units(series), LABEL_CHARACTERS_MAX), 15, SOFT)
    if series:
        _plot(canvas, series)
    else:
        _text(canvas, (LEFT, PLOT_HEIGHT / 2), "There are no metrics for this choice.", 20, SOFT)
    smooth = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    packed = BytesIO()
    smooth.save(packed, image_format, **({"quality": QUALITY} if image_format == "jpeg" else {}))
    return packed.getvalue()


def _plot(canvas: "ImageDraw", series: Sequence[PerfSeriesJson]) -> None:
    frame = _frame([metric for one in series for metric in one["metrics"]])
    _axes(canvas, frame)
    for number, one in enumerate(series):
        _band(canvas, frame, one["metrics"], COLOURS[number % len(COLOURS)])
    for number, one in enumerate(series):
        _line(canvas, frame, one["metrics"], number)
    for one in series:
        for metric in one["metrics"]:
            if metric["alert"] is not None:
                _mark(canvas, frame, metric)
    _legend(canvas, series)


def _frame(metrics: Sequence[PerfMetricJson]) -> Frame:
    versions = [metric["version"]["number"] for metric in metrics]
    values = [
        value for metric in metrics for value in (metric["metric"]["value"], *_limits(metric)) if value is not None
    ]
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    spread = (max(versions) - min(versions)) * 0.02 or 0.5
    return Frame(min(versions) - spread, max(versions) + spread, low - room, high + room)


def _limits(metric: PerfMetricJson) -> tuple[float | None, float | None]:
    boundary = metric["boundary"]
    return (None, None) if boundary is None else (boundary["lower_limit"], boundary["upper_limit"])


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two others, about so many of them."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _axes(canvas: "ImageDraw", frame: Frame) -> None:
    for value in ticks(frame.y_min, frame.y_max, 6):
        y = frame.y(value)
        canvas.line([(SCALE * LEFT, y), (SCALE * (WIDTH - RIGHT), y)], GRID, SCALE)
        _text(canvas, (LEFT - 10, y / SCALE), f"{value:,.6g}", 14, SOFT, "rm")
    bottom = PLOT_HEIGHT - BOTTOM
    for version in ticks(frame.x_min, frame.x_max, 10):
        if version >= 0 and version == int(version):
            _text(canvas, (frame.x(version) / SCALE, bottom + 8), f"{int(version)}", 14, SOFT, "ma")
    canvas.line([(SCALE * LEFT, SCALE * bottom), (SCALE * (WIDTH - RIGHT), SCALE * bottom)], SOFT, SCALE)
    _text(canvas, (WIDTH - RIGHT, bottom + 26), "version", 13, SOFT, "ra")


def _band(canvas: "ImageDraw", frame: Frame, metrics: Sequence[PerfMetricJson], colour: str) -> None:
    """Between both limits a field; of one limit alone only its line."""
    lower = [
        (frame.x(one["version"]["number"]), frame.y(low)) for one in metrics if (low := _limits(one)[0]) is not None
    ]
    upper = [
        (frame.x(one["version"]["number"]), frame.y(top)) for one in metrics if (top := _limits(one)[1]) is not None
    ]
    if len(lower) > 1 and len(upper) > 1:
        canvas.polygon([*upper, *reversed(lower)], fill=(*_rgb(colour), BAND_ALPHA))
    for limit in (lower, upper):
        for start, end in _dashed(limit, (5, 5)):
            canvas.line([start, end], (*_rgb(colour), 150), SCALE)


def _line(canvas: "ImageDraw", frame: Frame, metrics: Sequence[PerfMetricJson], number: int) -> None:
    """A line through the median of each version, and a dot for each value."""
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
    of_version: dict[int, list[float]] = {}
    for metric in metrics:
        of_version.setdefault(metric["version"]["number"], []).append(metric["metric"]["value"])
    middle = [(frame.x(version), frame.y(median(values))) for version, values in of_version.items()]
    if dash is None:
        canvas.line(middle, colour, 2 * SCALE, joint="curve")
    else:
        for start, end in _dashed(middle, dash):
            canvas.line([start, end], colour, 2 * SCALE)
    if len(metrics) > DOTS_MAX:
        return
    size = SCALE * (3.2 if len(metrics) <= 200 else 1.6)
    for version, values in of_version.items():
        for value in values:
            x, y = frame.x(version), frame.y(value)
            canvas.ellipse([x - size, y - size, x + size, y + size], fill=colour)


def _dashed(points: Sequence[Point], dash: tuple[int, int]) -> Iterator[tuple[Point, Point]]:
    """The pieces of a dashed line through points."""
    on, whole, done = dash[0] * SCALE, sum(dash) * SCALE, 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.dist((x0, y0), (x1, y1))
        at = -(done % whole)
        while at < length:
            start, end = max(at, 0.0), min(at + on, length)
            if end > start:
                yield _between(x0, y0, x1, y1, start / length), _between(x0, y0, x1, y1, end / length)
            at += whole
        done += length


def _between(x0: float, y0: float, x1: float, y1: float, part: float) -> Point:
    return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part


def _mark(canvas: "ImageDraw", frame: Frame, metric: PerfMetricJson) -> None:
    """A triangle that points where the value went; filled where the alert is active, empty otherwise."""
    assert metric["alert"] is not None
    x, y = frame.x(metric["version"]["number"]), frame.y(metric["metric"]["value"])
    way = -1 if metric["alert"]["limit"] == "upper" else 1
    size = 11 * SCALE
    shape = [(x, y + way * size), (x - size, y - way * size * 0.7), (x + size, y - way * size * 0.7)]
    active = metric["alert"]["status"] == "active"
    canvas.polygon(shape, fill=ALERT if active else PAPER, outline=ALERT, width=2 * SCALE)


def _legend(canvas: "ImageDraw", series: Sequence[PerfSeriesJson]) -> None:
    shown = len(series) if len(series) <= LEGEND_ROWS_MAX else LEGEND_ROWS_MAX - 1
    for number, one in enumerate(series[:shown]):
        y = PLOT_HEIGHT + 12 + number * LEGEND_ROW
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        sample = [(SCALE * LEFT, SCALE * y), (SCALE * (LEFT + 40), SCALE * y)]
        for start, end in _dashed(sample, dash or (40, 0)):
            canvas.line([start, end], colour, 3 * SCALE)
        _text(canvas, (LEFT + 52, y), _clean(_name(one), LABEL_CHARACTERS_MAX), 15, INK, "lm")
    if shown < len(series):
        _text(
            canvas,
            (LEFT + 52, PLOT_HEIGHT + 12 + shown * LEGEND_ROW),
            f"and {len(series) - shown} more",
            15,
            SOFT,
            "lm",
        )


def _name(one: PerfSeriesJson) -> str:
    parts = (one["benchmark"]["name"], one["measure"]["name"], one["branch"]["name"], one["testbed"]["name"])
    return " · ".join(_clean(part, 60) for part in parts)


def _units(series: Sequence[PerfSeriesJson]) -> str:
    return ", ".join(dict.fromkeys(f"{one['measure']['name']}: {one['measure']['units']}" for one in series))


def _clean(text: str, characters_max: int) -> str:
    """One line of bounded length, without what turns the direction of writing or cannot be seen."""
    seen = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return seen if len(seen) <= characters_max else f"{seen[: characters_max - 1]}…"


def _text(canvas: "ImageDraw", at: Point, text: str, size: int, colour: str, anchor: str = "la") -> None:
    font, spelled = _font(size * SCALE, text)
    canvas.text((at[0] * SCALE, at[1] * SCALE), spelled, colour, font, anchor)


def _font(size: int, text: str) -> "tuple[FreeTypeFont, str]":
    """A font, and the text in letters that it has."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(FAMILY, size), text
    except OSError:
        return ImageFont.load_default(size), unidecode(text)  # type: ignore[return-value]  # With a size: always this kind.


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
