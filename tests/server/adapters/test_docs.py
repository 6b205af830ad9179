"""The page about adapters names every value, and its examples are what it says they are: readable."""

import re
import textwrap
from pathlib import Path

import pytest

from server_stub.adapters import parse
from server_stub.metrics import Adapter, Results

PAGE = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### `(\w+)`[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_every_value_of_the_api_is_explained() -> None:
    assert [adapter for adapter in Adapter if f"`{adapter}`" not in PAGE] == []


@pytest.mark.parametrize(("adapter", "section"), SECTIONS, ids=[adapter for adapter, _ in SECTIONS])
def test_the_example_of_a_section_is_read_by_its_adapter_and_by_magic(adapter: str, section: str) -> None:
    example = textwrap.dedent("\n".join(line for line in section.split("\n") if line.startswith("    "))) + "\n"
    outcome = parse(Adapter(adapter), example)
    assert isinstance(outcome, Results), (outcome, example)
    assert outcome.benchmarks
    assert parse(Adapter.MAGIC, example) == outcome
