"""Draws docs/pictures/trust-*.svg from what `benchmarks/trust.py` kept: each dot there is one measured iteration.

python benchmarks/noise/draw.py
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".cache" / "trust"
PICTURES = ROOT / "docs" / "pictures"
COLOURS = {"quiet": "#2a6fb0", "disturbed": "#d9822b", "unknown": "#999999"}
WIDTH, ROW, LEFT = 760, 74, 110
SLOW_MAX = 2.0
"""Iterations that took longer than this many quiet medians lie on the upper edge."""


def svg(height: int, body: str) -> str:
    """A picture around its content."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        f' font-size="12" fill="#333"><rect width="{WIDTH}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


def text(x: float, y: float, words: str) -> str:
    """A label."""
    return f'<text x="{x:.0f}" y="{y:.0f}">{words}</text>'


def verdicts(seen: Sequence[dict[str, Any]]) -> str:
    """A row for each condition, in the order of time: how long it took, in quiet medians, and what was said of it."""
    usual = {
        work: statistics.median(
            each["wall_ns"] for each in seen if each["work"] == work and each["condition"] == "quiet"
        )
        for work in {each["work"] for each in seen}
    }
    conditions = list(dict.fromkeys(each["condition"] for each in seen))
    body = text(LEFT, 18, "each dot one iteration, by its time: blue called quiet, orange called disturbed;")
    body += text(
        LEFT, 34, "grey where the neighbour was at work. The lower line is the quiet median, the upper one twice that"
    )
    for row, condition in enumerate(conditions):
        body += _row([each for each in seen if each["condition"] == condition], usual, 48 + row * ROW)
    return svg(48 + len(conditions) * ROW, body)


def _row(seen: Sequence[dict[str, Any]], usual: dict[str, float], top: float) -> str:
    step = (WIDTH - LEFT - 10) / len(seen)

    def y(share: float) -> float:
        return top + ROW - 14 - min(max(share - 0.8, 0), SLOW_MAX - 0.8) / (SLOW_MAX - 0.8) * (ROW - 24)

    body = text(8, top + ROW / 2, seen[0]["condition"])
    lines = "".join(f'<path d="M{LEFT} {y(share):.1f}H{WIDTH - 10}"/>' for share in (1, SLOW_MAX))
    bands = "".join(
        f'<rect x="{LEFT + place * step:.1f}" y="{top + 6:.1f}" width="{step:.1f}" height="{ROW - 18}"/>'
        for place, each in enumerate(seen)
        if each["overlap_ns"]
    )
    dots = "".join(
        f'<circle cx="{LEFT + (place + 0.5) * step:.1f}" cy="{y(each["wall_ns"] / usual[each["work"]]):.1f}" r="2"'
        f' fill="{COLOURS[each["word"]]}"/>'
        for place, each in enumerate(seen)
    )
    return f'{body}<g fill="#e6e6e6">{bands}</g><g stroke="#bbb" stroke-width="0.6">{lines}</g>{dots}'


def comparisons(found: dict[str, Any]) -> str:
    """How far off A against A is, in blocks and in pairs; and what three per cent more come out as, with intervals."""
    rows = [("A/A in blocks", found["blocks"]), ("A/A in pairs", found["pairs"])]
    reach = max(0.05, *(abs(each) for _, values in rows for each in values))
    middle, scale = (WIDTH + LEFT) / 2, (WIDTH - LEFT - 40) / 2 / reach
    body = text(
        8,
        18,
        f"beside bursts on the memory: the ratio of A to A, each dot one trial (the line is 1, the edges ±{reach:.0%})",
    )
    for row, (name, values) in enumerate(rows):
        y = 44 + row * 26
        dots = "".join(f'<circle cx="{middle + each * scale:.1f}" cy="{y}" r="3"/>' for each in values)
        body += f'{text(8, y + 4, name)}<g fill="{COLOURS["quiet"]}" fill-opacity="0.6">{dots}</g>'
    body += text(
        8,
        112,
        "A + 3 % against A, 30 pairs, nobody beside: the ratio with its 95 % interval (the lines are 1 and 1.03)",
    )
    for place, each in enumerate(found["tests"]):
        y = 126 + place * 5
        colour = COLOURS["quiet" if each["found"] else "disturbed"]
        body += (
            f'<path stroke="{colour}" d="M{_at(each["lower"]):.1f} {y}H{_at(each["upper"]):.1f}"/>'
            f'<circle cx="{_at(each["ratio"]):.1f}" cy="{y}" r="2" fill="{colour}"/>'
        )
    height = 136 + 5 * len(found["tests"])
    lines = f"M{middle:.1f} 30V80M{_at(1):.1f} 120V{height - 8}M{_at(1.03):.1f} 120V{height - 8}"
    return svg(height, f'{body}<path stroke="#888" stroke-dasharray="3 3" d="{lines}"/>')


def _at(ratio: float) -> float:
    """Where a ratio between 0.95 and 1.10 lies."""
    return LEFT + (min(max(ratio, 0.95), 1.10) - 0.95) / 0.15 * (WIDTH - LEFT - 20)


def main() -> None:
    """Both pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "trust-verdicts.svg").write_text(verdicts(json.loads((KEPT / "recall.json").read_text())))
    (PICTURES / "trust-pairs.svg").write_text(comparisons(json.loads((KEPT / "pairs.json").read_text())))


if __name__ == "__main__":
    main()
