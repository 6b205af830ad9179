"""The style that a linter cannot see: sizes, sentences, names that the documentation promises."""

import ast
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("runner_protocol", "runner_agent", "server_stub")
LINES_MAX = 60
FORBIDDEN = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")


def tracked(*patterns: str) -> list[Path]:
    """The files of this checkout that git knows, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file())


SOURCES = [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in PACKAGES]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_is_tidy(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} does not say what it does"
    for function in functions(path):
        length = (function.end_lineno or 0) - function.body[0].lineno + 1  # A signature may be a list of options.
        assert length <= LINES_MAX, f"{path}:{function.lineno} {function.name} has {length} lines"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert not FORBIDDEN.search(line), f"{path}:{number} leaves something for later"


def test_every_public_class_and_function_says_what_it_is() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_page_of_job_states_is_not_stale() -> None:
    spec = importlib.util.spec_from_file_location("draw_states", ROOT / "docs" / "draw_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run: python docs/draw_states.py"


def test_every_verb_of_dev_is_listed_by_its_help() -> None:
    text = (ROOT / "dev").read_text()
    verbs = set(re.findall(r"^verb_([\w-]+)\(\)", text, re.MULTILINE)) - {"help"}
    listed = set(re.findall(r"^\./dev ([\w-]+)", text, re.MULTILINE))
    assert verbs == listed


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)} → {target}"
        for page in tracked("*.md")
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
