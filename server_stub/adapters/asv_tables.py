"""The tables that airspeed velocity prints for a parameterised benchmark: one timing for each combination of values.

Cuts a table into cells and names them; what a timing is, `asv` decides. The values of the last parameter stand over
the columns, those of the others in the first columns of each row; with one parameter there is one column of timings.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from server_stub.adapters.lines import BLANKS

PROGRESS: Final = rf"^\[[ \t]*+[0-9.,]++%\]{BLANKS}·++{BLANKS}"
_START: Final = re.compile(rf"{PROGRESS}([^ \n]++){BLANKS}ok\n{PROGRESS}(=++(?: =++)++)$", re.MULTILINE)
_RULE: Final = re.compile(r"[=-]++(?: [=-]++)*+")
_COLUMN: Final = re.compile(r"=++")


def cells(text: str, timing: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """`NAME(value, value)` and the match of its timing, for every cell of every table that is a timing."""
    for start in _START.finditer(text):
        margin = start.start(2) - (text.rfind("\n", 0, start.start(2)) + 1)
        # A cell reaches to the next column: asv counts the widths of some characters otherwise than Python.
        bounds = [*(margin + column.start() for column in _COLUMN.finditer(start.group(2))), None]
        rows = [
            [line[first:last].strip() for first, last in pairwise(bounds)] for line in _lines(text, start.end() + 1)
        ]
        rules = [at for at, row in enumerate(rows) if _is_rule(row)]
        # The rows of timings stand between the last two rules, and the head of the columns over the first of them.
        for above, below in list(pairwise(rules))[-1:]:
            yield from _named(start.group(1), rows[above - 1] if above else [], rows[above + 1 : below], timing)


def _lines(text: str, at: int) -> Iterator[str]:
    """The lines of a table: those that are indented."""
    while text.startswith(" ", at):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = end + 1


def _is_rule(row: list[str]) -> bool:
    return all(_RULE.fullmatch(cell) for cell in row)


def _named(
    name: str, head: list[str], rows: list[list[str]], timing: re.Pattern[str]
) -> Iterator[tuple[str, re.Match[str]]]:
    matches = [[timing.fullmatch(cell) for cell in row] for row in rows]
    first = min((at for row in matches for at, match in enumerate(row) if match), default=0)
    for row, row_matches in zip(rows, matches, strict=True):
        for at, match in enumerate(row_matches):
            if match:
                values = [*row[:first], *filter(None, head[at : at + 1])]
                yield f"{name}({', '.join(values)})", match
