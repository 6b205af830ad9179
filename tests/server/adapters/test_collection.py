"""Runs the collection of harness outputs and expected results that lies beside the project, when it does.

Where we read more than the reference on purpose (`docs/adapters.md` lists it), a case asks that what the reference
reads is there with the same numbers; everywhere else it asks for the same whole.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from server_stub.adapters import parse
from server_stub.fold import fold
from server_stub.metrics import Adapter, Average, Fold, Metric, Mismatch, Results

COLLECTION = Path(__file__).parents[4] / "shared" / "data" / "adapters"
EXPECTED_SUFFIX = ".expected.json"
CASES = [
    path.relative_to(COLLECTION).as_posix().removesuffix(EXPECTED_SUFFIX)
    for path in sorted(COLLECTION.rglob(f"*{EXPECTED_SUFFIX}"))
]
FOLDS = [path.name for path in sorted(COLLECTION.glob("fold/*.json"))]
LONE_CR = re.compile(r"\r(?!\n)")


@pytest.mark.parametrize("case", CASES)
def test_a_case_of_the_collection_reads_as_expected(case: str) -> None:
    text = (COLLECTION / case).read_bytes().decode()
    expected = json.loads((COLLECTION / f"{case}{EXPECTED_SUFFIX}").read_text(encoding="utf-8"))
    adapter = Adapter(expected["adapter"])
    for setting in [expected, *expected.get("variants", [])]:
        outcome = parse(adapter, text, average_of(setting))
        assert agrees(outcome, setting) or better(outcome, setting, expected, text), (setting["average"], outcome)


@pytest.mark.parametrize("case", CASES)
def test_a_case_reads_the_same_through_its_group_and_magic(case: str) -> None:
    text = (COLLECTION / case).read_bytes().decode()
    expected = json.loads((COLLECTION / f"{case}{EXPECTED_SUFFIX}").read_text(encoding="utf-8"))
    named = parse(Adapter(expected["adapter"]), text, average_of(expected))
    for other, relation in expected["all_adapters"].items():
        outcome = parse(Adapter(other), text, average_of(expected))
        # Where the reference refuses a whole text that we read, each group that has the format reads it too.
        late = expected.get("upstream_oddity") and relation == "none" and benchmarks_of(outcome) == benchmarks_of(named)
        assert late or relation_of(outcome, named) == relation, (other, outcome)


@pytest.mark.parametrize("case", FOLDS)
def test_several_strings_of_the_collection_fold_as_expected(case: str) -> None:
    expected = json.loads((COLLECTION / "fold" / case).read_text(encoding="utf-8"))
    outcomes = [parse(Adapter(expected["adapter"]), text, average_of(expected)) for text in expected["results"]]
    read = [outcome for outcome in outcomes if isinstance(outcome, Results)]
    if expected["expect"] == "none":
        assert len(read) < len(outcomes)
        return
    for how, benchmarks in expected["folds"].items():
        folded = fold(read, Fold(how))
        assert folded is not None
        assert agrees(folded, {"expect": "results", "benchmarks": benchmarks}), (how, folded)


def average_of(setting: dict[str, Any]) -> Average | None:
    return None if setting["average"] is None else Average(setting["average"])


def benchmarks_of(outcome: Results | Mismatch) -> dict[str, dict[str, Metric]] | None:
    return outcome.benchmarks if isinstance(outcome, Results) else None


def relation_of(outcome: Results | Mismatch, named: Results | Mismatch) -> str:
    if isinstance(outcome, Mismatch):
        return "none"
    return "same" if outcome.benchmarks == benchmarks_of(named) else "other"


def agrees(outcome: Results | Mismatch, setting: dict[str, Any]) -> bool:
    if isinstance(outcome, Mismatch) or setting["expect"] == "none":
        return isinstance(outcome, Mismatch) and setting["expect"] == "none"
    measures = {name: set(measures) for name, measures in setting["benchmarks"].items()}
    return {name: set(measures) for name, measures in outcome.benchmarks.items()} == measures and contains(
        outcome, setting
    )


def better(outcome: Results | Mismatch, setting: dict[str, Any], case: dict[str, Any], text: str) -> bool:
    """Whether the case is one where we may read more, and the outcome does."""
    if isinstance(outcome, Mismatch):
        return False
    if case.get("upstream_oddity"):
        return True
    return (case["adapter"] == Adapter.GO_BENCH or LONE_CR.search(text) is not None) and contains(outcome, setting)


def contains(outcome: Results, setting: dict[str, Any]) -> bool:
    return all(
        close(outcome.benchmarks.get(name, {}).get(slug), metric)
        for name, measures in setting["benchmarks"].items()
        for slug, metric in measures.items()
    )


def close(ours: Metric | None, theirs: dict[str, float | None]) -> bool:
    if ours is None:
        return False
    return all(
        mine == other if mine is None or other is None else math.isclose(mine, other, rel_tol=1e-9)
        for mine, other in zip(ours.parts, (theirs[key] for key in Metric.__struct_fields__), strict=True)
    )
