"""Draws docs/pictures/trust-*.svg from what `benchmarks/trust.py` kept: each dot there is something that was measured.

python benchmarks/noise/draw.py
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".cache" / "trust"
PICTURES = ROOT / "docs" / "pictures"
QUIET, DISTURBED, BAND, LINE = "#2a6fb0", "#d9822b", "#dddddd", "#999999"
WIDTH, LEFT, RIGHT, ROW = 760, 28, 12, 96
SECONDS = 4.0
"""Of each condition, from its beginning."""
SHOWN = {
    # The condition, the work that is shown, and what stands above it.
    "quiet": ("alu", "arithmetic, nobody beside"),
    "bursts": ("alu", "arithmetic, bursts of 4 to 8 ms on the same CPU"),
    "spinner": ("alu", "arithmetic, a loop on the same CPU"),
    "memory": ("memory", "copies of memory, a memory streamer on another CPU"),
}
LOW, HIGH = 0.8, 2.4
"""What lies beyond is drawn on the edge. In quiet medians."""

Point = tuple[float, float]


def svg(height: float, body: str) -> str:
    """A picture around its content."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif"'
        f' font-size="12" fill="#333"><rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>{body}</svg>\n'
    )


def text(x: float, y: float, words: str) -> str:
    """A label."""
    return f'<text x="{x:.0f}" y="{y:.0f}">{words}</text>'


def dots(points: Iterable[Point], colour: str, size: float = 4) -> str:
    """All of one colour, as one path of round ends: a tenth of the size of as many circles."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return f'<path d="{path}" stroke="{colour}" stroke-opacity="0.8" stroke-width="{size}" stroke-linecap="round"/>'


def line(x: float, y: float, to_x: float, to_y: float) -> str:
    """A thin one."""
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{LINE}" stroke-width="0.8"/>'


def verdicts(kept: dict[str, Any]) -> str:
    """A row for each condition: when an iteration was, how long it took, what was said of it, and when bursts were."""
    body = text(8, 18, "each dot one iteration: how long it took, in quiet medians of the same work")
    body += text(42, 34, "called quiet") + text(142, 34, "called disturbed")
    body += dots([(32, 30)], QUIET, 7) + dots([(134, 30)], DISTURBED, 7)
    body += f'<rect x="256" y="24" width="20" height="12" fill="{BAND}"/>'
    body += text(282, 34, "a burst of the neighbour, from its own record")
    for place, (condition, (work, words)) in enumerate(SHOWN.items()):
        those = [each for each in kept["seen"] if each["work"] == work]
        usual_ns = statistics.median(each["wall_ns"] for each in those if each["condition"] == "quiet")
        rows = [each for each in those if each["condition"] == condition]
        body += _row(words, rows, kept["bursts"][condition], usual_ns, 46 + place * ROW)
    return svg(46 + len(SHOWN) * ROW + 18, body + text(LEFT, 46 + len(SHOWN) * ROW + 10, f"{SECONDS:.0f} seconds"))


def _row(words: str, seen: Sequence[dict[str, Any]], bursts: Sequence[Point], usual_ns: float, top: float) -> str:
    origin: int = seen[0]["begin_ns"]

    def x(ns: float) -> float:
        return LEFT + min(max((ns - origin) / 1e9 / SECONDS, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return top + 18 + (HIGH - min(max(share, LOW), HIGH)) / (HIGH - LOW) * (ROW - 28)

    until = origin + SECONDS * 1e9
    bands = "".join(
        f'<rect x="{x(begin):.1f}" y="{top + 18}" width="{max(x(end) - x(begin), 0.7):.1f}" height="{ROW - 28}"/>'
        for begin, end in bursts
        if origin < end and begin < until
    )
    body = (
        f'<g fill="{BAND}">{bands}</g>'
        + text(LEFT, top + 13, words)
        + text(12, y(1) + 4, "1")
        + text(12, y(2) + 4, "2")
    )
    body += line(LEFT, y(1), WIDTH - RIGHT, y(1)) + line(LEFT, y(2), WIDTH - RIGHT, y(2))
    for word, colour in (("quiet", QUIET), ("disturbed", DISTURBED)):
        those = [each for each in seen if each["word"] == word and each["begin_ns"] < until]
        body += dots(((x(each["begin_ns"]), y(each["wall_ns"] / usual_ns)) for each in those), colour)
    return body


def comparisons(found: dict[str, Any]) -> str:
    """How far off A against A is, in blocks and in pairs; and what three per cent more come out as, with intervals."""
    rows = [("in blocks", found["blocks"]), ("in pairs", found["pairs"])]
    reach = max(0.05, *(abs(each) for _, values in rows for each in values))
    middle, scale = WIDTH / 2 + 34, (WIDTH - 160) / 2 / reach
    body = text(
        8, 18, "A against A beside a memory streamer that comes and goes: the ratio, each dot one trial of 20 + 20 runs"
    )
    body += line(middle, 30, middle, 84)
    for place, (name, values) in enumerate(rows):
        y = 44 + place * 26
        body += text(8, y + 4, name) + dots(((middle + each * scale, y) for each in values), QUIET, 7)
    body += text(middle - 4, 98, "1") + text(middle - reach * scale, 98, f"{math.exp(-reach):.2f}")
    body += text(middle + reach * scale - 24, 98, f"{math.exp(reach):.2f}")
    top = 146
    body += text(
        8, 130, "A + 3 % against A, 30 pairs, nobody beside: the ratio with its 95 % interval, each line one trial"
    )
    tests = sorted(found["tests"], key=lambda each: str(each["work"]))
    for place, each in enumerate(tests):
        y, colour = top + place * 6, QUIET if each["found"] else DISTURBED
        if place == 0 or tests[place - 1]["work"] != each["work"]:
            body += text(8, y + 4, {"alu": "arithmetic", "copies": "copies"}[each["work"]])
        body += f'<path stroke="{colour}" d="M{_at(each["lower"]):.1f} {y}H{_at(each["upper"]):.1f}"/>'
        body += dots([(_at(each["ratio"]), y)], colour)
    bottom = top + 6 * len(tests)
    body += line(_at(1), top - 8, _at(1), bottom) + line(_at(1.03), top - 8, _at(1.03), bottom)
    body += text(_at(1) - 4, bottom + 14, "1") + text(_at(1.03) - 12, bottom + 14, "1.03")
    body += text(8, bottom + 14, "orange: not told from chance")
    return svg(bottom + 24, body)


def _at(ratio: float) -> float:
    """Where a ratio between 0.95 and 1.10 lies."""
    return 20 + (min(max(ratio, 0.95), 1.10) - 0.95) / 0.15 * (WIDTH - 40)


def main() -> None:
    """Both pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "trust-verdicts.svg").write_text(verdicts(json.loads((KEPT / "recall.json").read_text())))
    (PICTURES / "trust-pairs.svg").write_text(comparisons(json.loads((KEPT / "pairs.json").read_text())))


if __name__ == "__main__":
    main()
