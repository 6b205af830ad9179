"""The geometry of what pages draw: where dots, lines and bars stand. Pure; templates write the SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from runner_protocol.results import Comparison, IterationRecord, Variant, Verdict, Word, standing
from server_stub.pages.words import nanoseconds, percent

SPARK = (96.0, 22.0)
DAY = (480.0, 64.0)
DOTS = (820.0, 250.0)
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 14.0, 28.0
TICKS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A small line without axes: its points as SVG writes them, and the last of them."""

    points: str
    end: tuple[float, float]
    low: float
    high: float


def sparkline(values: Sequence[float]) -> Line | None:
    """How a value went; none for fewer than two of them."""
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    reach = (high - low) or 1.0
    step = (SPARK[0] - 4) / (len(values) - 1)
    places = [
        (round(2 + step * at, 1), round(SPARK[1] - 3 - (SPARK[1] - 6) * (value - low) / reach, 1))
        for at, value in enumerate(values)
    ]
    return Line(" ".join(f"{x},{y}" for x, y in places), places[-1], low, high)


def day_bars(hours: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """A bar for each hour: what ended well, and what failed on top of it."""
    most = max((good + bad for good, bad in hours), default=0) or 1
    width = DAY[0] / max(1, len(hours))
    bars = []
    for at, (good, bad) in enumerate(hours):
        tall, failed = DAY[1] * good / most, DAY[1] * bad / most
        bars.append(
            {
                "x": round(width * at + 1, 1),
                "width": round(width - 2, 1),
                "good_y": round(DAY[1] - tall, 1),
                "good_height": round(tall, 1),
                "bad_y": round(DAY[1] - tall - failed, 1),
                "bad_height": round(failed, 1),
                "good": good,
                "bad": bad,
                "hours_ago": len(hours) - at,
            }
        )
    return bars


@dataclass(frozen=True, slots=True)
class Dot:
    """One iteration."""

    x: float
    y: float
    shape: str
    """`kept`, `shaken` (disturbed), `guess` (unknown) or `broken` (failed)."""
    baseline: bool
    aside: bool
    """Another run stands in its place."""
    tip: str

    @property
    def marked(self) -> bool:
        """Whether there is more to say of it than its value."""
        return self.shape != "kept" or self.aside


@dataclass(frozen=True, slots=True)
class Scatter:
    """A plot of all iterations of a job, in the order of running."""

    dots: list[Dot]
    ticks: list[tuple[float, str]]
    numbers: list[tuple[float, int]]
    median_kept: float | None
    median_all: float | None
    paired: bool


def scatter(iterations: Sequence[IterationRecord]) -> Scatter | None:
    """Every iteration that counts, by its wall time; none where nothing was timed."""
    counted = [record for record in iterations if not record.warm_up]
    times = [record.wall_ns for record in counted if record.wall_ns is not None]
    if not times:
        return None
    low, high = _widened(min(times), max(times))
    stands = {record.number for record in standing(counted)}
    width = (DOTS[0] - LEFT - RIGHT) / max(1, len(counted) - 1)

    def down(value: float) -> float:
        return round(TOP + (DOTS[1] - TOP - BOTTOM) * (high - value) / (high - low), 1)

    dots, numbers = [], []
    for at, record in enumerate(counted):
        x = round(LEFT + width * at, 1) if len(counted) > 1 else (LEFT + DOTS[0] - RIGHT) / 2
        y = DOTS[1] - BOTTOM if record.wall_ns is None else down(record.wall_ns)
        aside = record.number not in stands
        dots.append(Dot(x, y, shape_of(record), record.variant is Variant.BASELINE, aside, tip_of(record, aside=aside)))
        numbers.append((x, record.number + 1))
    candidates = [record for record in counted if record.variant is Variant.CANDIDATE and record.wall_ns is not None]
    kept = [record.wall_ns or 0 for record in candidates if shape_of(record) == "kept" and record.number in stands]
    return Scatter(
        dots=dots,
        ticks=[(down(value), nanoseconds(value)) for value in _ticks(low, high)],
        numbers=numbers[:: max(1, len(numbers) // 10)],
        median_kept=down(median(kept)) if kept else None,
        median_all=down(median(record.wall_ns or 0 for record in candidates)) if candidates else None,
        paired=any(record.variant is Variant.BASELINE for record in counted),
    )


def shape_of(record: IterationRecord) -> str:
    """How an iteration is marked."""
    if not record.succeeded:
        return "broken"
    word = record.verdict.word if record.verdict else Word.UNKNOWN
    return {Word.QUIET: "kept", Word.DISTURBED: "shaken"}.get(word, "guess")


def tip_of(record: IterationRecord, *, aside: bool) -> str:
    """What is said of an iteration that is pointed at."""
    which = " of the baseline" if record.variant is Variant.BASELINE else ""
    lines = [f"Iteration {record.number + 1}{which}: {nanoseconds(record.wall_ns)}"]
    if record.fault is not None:
        lines.append(record.fault.message)
    lines += reasons_of(record.verdict)
    if aside:
        lines.append("Another run stands in its place.")
    return "\n".join(lines)


def reasons_of(verdict: Verdict | None) -> list[str]:
    """Why an iteration is not trusted, each reason with its culprit."""
    if verdict is None:
        return ["Nothing was watched."]
    if verdict.word is Word.QUIET:
        return ["Quiet."]
    said = [f"{one.message}{f' ({one.culprit})' if one.culprit else ''}" for one in verdict.reasons]
    return [f"{verdict.word.capitalize()}: {'; '.join(said) or 'no reason given'}"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio with its interval on a line whose middle is 1: places from 0 to 100."""

    lower: float
    middle: float
    upper: float
    one: float
    edge: str


def interval(found: Comparison) -> Interval:
    """Where the candidate stands beside the baseline."""
    reach = max(abs(found.ratio_lower - 1), abs(found.ratio_upper - 1), 0.005) * 1.25

    def at(ratio: float) -> float:
        return round(50 + 50 * (ratio - 1) / reach, 2)

    return Interval(at(found.ratio_lower), at(found.ratio), at(found.ratio_upper), 50.0, percent(reach))


def _widened(low: float, high: float) -> tuple[float, float]:
    """Room above and below; never less than 2 % of the value, so that noise does not look like news."""
    room = max((high - low) * 0.08, high * 0.01, 1.0)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    step = (high - low) / (TICKS + 1)
    return [low + step * at for at in range(1, TICKS + 1)]
