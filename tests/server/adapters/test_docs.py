"""The page about adapters names every value, and of its examples becomes what it says."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from server_stub.adapters import parse
from server_stub.metrics import Adapter, Results

PAGE = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### `(\w+)`[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_every_value_of_the_api_is_explained() -> None:
    assert [adapter for adapter in Adapter if f"`{adapter}`" not in PAGE] == []


# By adapter: the value of each measure, with its bounds where it has some.
BECOMES: Final[dict[str, dict[str, dict[str, tuple[float, ...]]]]] = {
    "json": {"split": {"latency": (12.5, 12, 13), "Heap Size": (640,)}},
    "rust_bench": {
        "tests::split": {"latency": (1234.56, 1155.66, 1313.46)},
        "tests::bytes": {"latency": (46.24, 36.37, 56.11)},
    },
    "rust_criterion": {"split": {"latency": (1180.1, 1072.7, 1265)}},
    "rust_iai": {
        "split": {
            "instructions": (812,),
            "l1-accesses": (1024,),
            "l2-accesses": (2,),
            "ram-accesses": (9,),
            "estimated-cycles": (1349,),
        }
    },
    "rust_gungraun": {'words::splitting::split short:"a b"': {"instructions": (812,), "total-bytes": (640,)}},
    "cpp_google": {"Sort/64": {"latency": (297.8,)}},
    "cpp_catch2": {"Words copies: copy": {"latency": (19.0971, 19.0971 - 0.0798425, 19.0971 + 0.0798425)}},
    "go_bench": {
        "BenchmarkFields-2": {"latency": (13444,), "MB/s": (252.89,), "B/op": (9728,), "allocs/op": (1,)},
    },
    "java_jmh": {"org.example.Words.split": {"throughput": (2500, 2250, 2750)}},
    "c_sharp_dot_net": {"Example.Find": {"latency": (8, 7.5, 8.5)}},
    "js_benchmark": {"String#split": {"throughput": (78150, 78150 * 0.9325, 78150 * 1.0675)}},
    "js_time": {"split": {"latency": (12e6,)}},
    "js_vitest": {"words > split": {"latency": (10e6, 9e6, 11e6), "throughput": (100, 90, 110)}},
    "python_asv": {
        "words.time_sorted": {"latency": (15000, 14700, 15300)},
        "words.Words.time_method(10, split)": {"latency": (991, 981, 1001)},
        "words.Words.time_method(10, upper)": {"latency": (781, 731, 831)},
    },
    "python_pytest": {"test_words.py::test_split": {"latency": (2000, 1500, 2500)}},
    "ruby_benchmark": {"split:": {"latency": (2825000,)}},
    "shell_hyperfine": {"make": {"latency": (100e6, 90e6, 110e6)}},
    "dart_benchmark_harness": {"Split": {"latency": (12500,)}},
}


@pytest.mark.parametrize(("adapter", "section"), SECTIONS, ids=[adapter for adapter, _ in SECTIONS])
def test_of_the_example_of_a_section_becomes_what_the_page_says_also_by_magic(adapter: str, section: str) -> None:
    example = textwrap.dedent("\n".join(line for line in section.split("\n") if line.startswith("    "))) + "\n"
    outcome = parse(Adapter(adapter), example)
    assert isinstance(outcome, Results), (outcome, example)
    found = {name: {slug: metric.parts for slug, metric in found.items()} for name, found in outcome.benchmarks.items()}
    assert numbers(found) == pytest.approx(numbers(BECOMES[adapter]))
    assert parse(Adapter.MAGIC, example) == outcome


def numbers(benchmarks: Mapping[str, Mapping[str, tuple[float | None, ...]]]) -> dict[str, float]:
    """Each number that is there, by where it stands."""
    return {
        f"{name}/{slug}/{place}": part
        for name, measures in benchmarks.items()
        for slug, parts in measures.items()
        for place, part in enumerate(parts)
        if part is not None
    }
