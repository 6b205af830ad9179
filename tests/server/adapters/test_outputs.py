"""Outputs that harnesses wrote for us, each against results that were worked out by hand from what stands in it.

`FILE.results.json`, or `FILE.AVERAGE.results.json`, holds the adapter and each metric as value, lower and upper bound.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from server_stub.adapters import ORDER, parse
from server_stub.metrics import Adapter, Average, Mismatch, Results

OUTPUTS = Path(__file__).parents[1] / "outputs"
RESULTS_SUFFIX = ".results.json"
CASES = [path.relative_to(OUTPUTS).as_posix() for path in sorted(OUTPUTS.rglob(f"*{RESULTS_SUFFIX}"))]


def output_of(expectation: str, average: str | None) -> str:
    file = expectation.removesuffix(RESULTS_SUFFIX).removesuffix(f".{average}")
    return (OUTPUTS / file).read_bytes().decode()


def as_numbers(parts: Iterable[float | None]) -> list[float]:
    return [math.nan if part is None else part for part in parts]


@pytest.mark.parametrize("case", CASES)
def test_an_output_gives_the_results_that_were_worked_out_by_hand(case: str) -> None:
    expected = json.loads((OUTPUTS / case).read_text(encoding="utf-8"))
    average = None if expected["average"] is None else Average(expected["average"])
    outcome = parse(Adapter(expected["adapter"]), output_of(case, expected["average"]), average)
    assert isinstance(outcome, Results)
    assert {name: list(measures) for name, measures in outcome.benchmarks.items()} == {
        name: list(measures) for name, measures in expected["benchmarks"].items()
    }
    for name, measures in expected["benchmarks"].items():
        for slug, metric in measures.items():
            found = as_numbers(outcome.benchmarks[name][slug].parts)
            assert found == pytest.approx(as_numbers(metric), rel=1e-9, nan_ok=True), name


@pytest.mark.parametrize("case", CASES)
def test_magic_reads_an_output_as_its_own_adapter_does_and_no_other_adapter_reads_it(case: str) -> None:
    expected = json.loads((OUTPUTS / case).read_text(encoding="utf-8"))
    average = None if expected["average"] is None else Average(expected["average"])
    text = output_of(case, expected["average"])
    own = Adapter(expected["adapter"])
    assert parse(Adapter.MAGIC, text, average) == parse(own, text, average)
    strangers = [adapter for adapter in Adapter if not {*ORDER[own]} & {*ORDER[adapter]}]
    assert all(isinstance(parse(adapter, text, average), Mismatch) for adapter in strangers)


def test_every_output_has_results_and_every_format_an_output() -> None:
    files = {path.relative_to(OUTPUTS).as_posix() for path in OUTPUTS.rglob("*.*") if path.name != "README.md"}
    outputs = {file for file in files if not file.endswith(RESULTS_SUFFIX)}
    assert {json.loads((OUTPUTS / case).read_text(encoding="utf-8"))["adapter"] for case in CASES} == {
        folder.name for folder in OUTPUTS.iterdir() if folder.is_dir()
    }
    assert all(any(case.startswith(f"{file}.") for case in CASES) for file in outputs)
