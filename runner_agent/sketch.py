"""How a calibration looks: a few lines on a terminal, and a picture as an SVG file. Pure.

Both show the same two things: how the ratios of A to A spread about 1, and what else each CPU was busy with.
"""

from collections.abc import Sequence
from html import escape

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner_agent.calibration import PAIRS, Calibration, GapRecord, doubt

BINS = 41
BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS = 8

WIDTH, HEIGHT, MARGIN = 720, 320, 56


def terminal(calibration: Calibration) -> RenderableType:
    """For a person who waits."""
    reach = _reach(calibration.ratios)
    counts = histogram(calibration.ratios, reach)
    width = len(f"-{reach:.1%}")
    axis = f"{f'-{reach:.1%}':<{width}}{'A / A':^{BINS - 2 * width}}{f'+{reach:.1%}':>{width}}"
    lines = [Text(line, style="cyan") for line in bars(counts)]
    story = [Text(" · ".join(words(calibration)))]
    if doubtful := doubt(calibration):
        story.append(Text(doubtful, style="yellow"))
    return Group(*lines, Text(axis, style="dim"), Text(), _gap_table(calibration.gaps), Text(), *story)


def words(calibration: Calibration) -> tuple[str, str, str]:
    """What it comes to."""
    return (
        f"noise floor {calibration.noise_floor:.2%}",
        f"95 % of comparisons of A with A were off by at most {calibration.error_95:.2%}",
        f"with {PAIRS} pairs this host sees {calibration.minimum_detectable_effect:.2%}",
    )


def _reach(ratios: Sequence[float]) -> float:
    """How far to each side the picture goes: all but the farthest two per cent."""
    apart = sorted(abs(ratio - 1) for ratio in ratios)
    return max(apart[int(0.98 * (len(apart) - 1))], 0.001) if apart else 0.001


def histogram(ratios: Sequence[float], reach: float) -> list[int]:
    """How many ratios fall into each bin; what lies beyond the reach counts for the outermost."""
    counts = [0] * BINS
    for ratio in ratios:
        place = round((ratio - 1 + reach) / (2 * reach) * (BINS - 1))
        counts[min(max(place, 0), BINS - 1)] += 1
    return counts


def bars(counts: Sequence[int]) -> list[str]:
    """Upright bars of eighths, the highest row first."""
    top = max(counts) or 1
    eighths = [round(count / top * ROWS * 8) for count in counts]
    return [
        "".join(BLOCKS[min(max(eighth - row * 8, 0), 8)] for eighth in eighths).rstrip()
        for row in reversed(range(ROWS))
    ]


def _gap_table(gaps: Sequence[GapRecord]) -> Table:
    table = Table("CPU", "taken by others", "longest gap", "gaps a second", box=None, header_style="dim")
    for gap in gaps:
        table.add_row(str(gap.cpu), f"{gap.stolen_ppm:.0f} ppm", f"{gap.longest_us:.0f} µs", f"{gap.gaps_per_s:.0f}")
    return table


def svg(calibration: Calibration) -> str:
    """The same as a picture: every sample in order, and the ratios beside it."""
    samples = calibration.samples_ns
    floor, *rest = words(calibration)
    middle = sorted(samples)[len(samples) // 2] if samples else 1
    shares = [sample / middle - 1 for sample in samples]
    low, high = (min(shares), max(shares)) if shares else (0.0, 0.0)
    high = max(high, low + 0.001)
    across, down = WIDTH * 0.62, HEIGHT - 2 * MARGIN

    def y(share: float) -> float:
        return MARGIN + (high - share) / (high - low) * down

    dots = "".join(
        f'<circle cx="{MARGIN + place / max(len(shares) - 1, 1) * (across - MARGIN):.1f}" cy="{y(share):.1f}" r="1.4"/>'
        for place, share in enumerate(shares)
    )
    labels = _label(MARGIN, MARGIN - 8, f"{high:+.1%}") + _label(MARGIN, HEIGHT - MARGIN + 16, f"{low:+.1%}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        f' font-size="12" fill="#333"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f"{_label(MARGIN, 18, f'the same work, {len(samples)} times: {floor}')}"
        f"{_label(MARGIN, 34, ' · '.join(rest))}"
        f'<g fill="#2a6fb0" fill-opacity="0.5">{dots}</g>{labels}{_svg_bars(calibration.ratios, across + 20)}</svg>\n'
    )


def _svg_bars(ratios: Sequence[float], left: float) -> str:
    reach = _reach(ratios)
    counts = histogram(ratios, reach)
    step, top = (WIDTH - left - 16) / BINS, max(counts) or 1
    boxes = "".join(
        f'<rect x="{left + place * step:.1f}" y="{HEIGHT - MARGIN - count / top * (HEIGHT - 2 * MARGIN):.1f}"'
        f' width="{step - 1:.1f}" height="{count / top * (HEIGHT - 2 * MARGIN):.1f}"/>'
        for place, count in enumerate(counts)
        if count
    )
    axis = _label(left, HEIGHT - MARGIN + 16, f"-{reach:.1%}") + _label(
        WIDTH - 60, HEIGHT - MARGIN + 16, f"+{reach:.1%}"
    )
    return f'<g fill="#2a6fb0">{boxes}</g>{axis}{_label((left + WIDTH) / 2 - 30, HEIGHT - MARGIN + 16, "A / A")}'


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'
