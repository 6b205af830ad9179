"""The reference lists 82 behaviours worth testing. Each is a test here, which says so: `Row 7` in its docstring."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROWS = 82


def claims() -> Iterator[tuple[int, str]]:
    """Every row that the docstring of a test of the server names, and that test."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_"):
                for said in re.findall(r"\bRows? (\d+(?:, \d+)*)", ast.get_docstring(node) or ""):
                    yield from ((int(row), node.name) for row in said.split(", "))


def test_each_of_the_82_rows_has_a_test() -> None:
    assert sorted({row for row, _ in claims()}) == list(range(1, ROWS + 1))
