"""Branches, testbeds, benchmarks and measures by themselves: listed, shown, made, changed and deleted.

Each function is part of one transaction of an opened project. A run makes them on the fly as well, see `resolve`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from server_stub import resolve, views
from server_stub.access import Scope
from server_stub.api import StartPointBody
from server_stub.bodies import Body
from server_stub.edits import (
    BenchmarkChange,
    BranchChange,
    MeasureChange,
    NewBenchmark,
    NewBranch,
    NewMeasure,
    NewTestbed,
    TestbedChange,
)
from server_stub.errors import NotFoundError
from server_stub.names import IdKind, NameId
from server_stub.queries import EntityListing
from server_stub.shapes import BenchmarkJson, BranchJson, MeasureJson, TestbedJson
from server_stub.store import lists, noun_edits, nouns, specs
from server_stub.store.nouns import Fresh, Noun
from server_stub.store.tx import Row

T = TypeVar("T")
Shown = tuple[list[T], int]


def listed(scope: Scope, noun: Noun, query: EntityListing, view: Callable[[Scope, Sequence[Row]], list[T]]) -> Shown[T]:
    """A part of a list, and how many the whole list has."""
    rows, total = lists.nouns(
        scope.tx,
        noun,
        scope.project_id,
        query.part(),
        name=query.name,
        search=query.search,
        archived=query.archived,
    )
    return view(scope, rows), total


def get(scope: Scope, noun: Noun, named: NameId) -> Row:
    """The row of one of them, archived or not. Raises `NotFoundError`."""
    return nouns.get(scope.tx, noun, scope.project_id, named)


def delete(scope: Scope, noun: Noun, named: NameId) -> None:
    """Delete one. Raises `ConflictError` where results refer to it."""
    noun_edits.delete(scope.tx, noun, get(scope, noun, named))


def show_branch(scope: Scope, named: NameId, head: UUID | None) -> BranchJson:
    """A branch with its current head, or with one that it had. Raises `NotFoundError` for another branch's head."""
    row = get(scope, Noun.BRANCH, named)
    if head is None:
        return views.branches(scope, [row])[0]
    head_id = lists.id_within(scope.tx, "head", head, "branch_id", row["id"])
    if head_id is None:
        raise NotFoundError(f"head: {head} is not of the branch {row['slug']!r}")
    return views.branch_of_head(scope, row, head_id)


def make_branch(scope: Scope, body: NewBranch) -> BranchJson:
    """Make a branch with its first head. Raises `ConflictError` on a taken name or slug."""
    row = nouns.make(scope.tx, Noun.BRANCH, scope.project_id, Fresh(body.name, body.slug))
    return views.branches(scope, [_begun(scope, row, body.start_point)])[0]


def change_branch(scope: Scope, named: NameId, body: BranchChange) -> BranchJson:
    """Rename, archive or bring back a branch; a start point may give it a new head."""
    if body.start_point is not None:
        _begun(scope, get(scope, Noun.BRANCH, named), body.start_point)
    return views.branches(scope, [_change(scope, Noun.BRANCH, named, body, {"name", "slug", "archived"})])[0]


def _begun(scope: Scope, row: Row, start: StartPointBody | None) -> Row:
    """The branch with the head that the start point asks for, decided as for a run."""
    return resolve.head_of(scope.tx, scope.project_id, NameId(IdKind.UUID, row["uuid"]), start)


def show_testbed(scope: Scope, named: NameId, spec: UUID | None) -> TestbedJson:
    """A testbed with its spec, or as with another. Raises `NotFoundError`."""
    row = get(scope, Noun.TESTBED, named)
    if spec is not None:
        row = row | {"spec_id": specs.find(scope.tx, str(spec))["id"]}
    return views.testbeds(scope, [row])[0]


def make_testbed(scope: Scope, body: NewTestbed) -> TestbedJson:
    """Make a testbed."""
    columns = {} if body.spec is None else {"spec_id": specs.find(scope.tx, body.spec.value)["id"]}
    row = nouns.make(scope.tx, Noun.TESTBED, scope.project_id, Fresh(body.name, body.slug, columns=columns))
    return views.testbeds(scope, [row])[0]


def change_testbed(scope: Scope, named: NameId, body: TestbedChange) -> TestbedJson:
    """Rename, archive or bring back a testbed; give it a spec or take it away."""
    extra: dict[str, Any] = {}
    if "spec" in body.model_fields_set:
        extra["spec_id"] = None if body.spec is None else specs.find(scope.tx, body.spec.value)["id"]
    row = _change(scope, Noun.TESTBED, named, body, {"name", "slug", "archived"}, extra)
    return views.testbeds(scope, [row])[0]


def make_benchmark(scope: Scope, body: NewBenchmark) -> BenchmarkJson:
    """Make a benchmark."""
    row = nouns.make(scope.tx, Noun.BENCHMARK, scope.project_id, Fresh(body.name, body.slug))
    return views.benchmarks(scope, [row])[0]


def change_benchmark(scope: Scope, named: NameId, body: BenchmarkChange) -> BenchmarkJson:
    """Rename, archive or bring back a benchmark."""
    return views.benchmarks(scope, [_change(scope, Noun.BENCHMARK, named, body, {"name", "slug", "archived"})])[0]


def make_measure(scope: Scope, body: NewMeasure) -> MeasureJson:
    """Make a measure."""
    fresh = Fresh(body.name, body.slug, columns={"units": body.units})
    return views.measures(scope, [nouns.make(scope.tx, Noun.MEASURE, scope.project_id, fresh)])[0]


def change_measure(scope: Scope, named: NameId, body: MeasureChange) -> MeasureJson:
    """Rename, archive or bring back a measure, or change its units."""
    row = _change(scope, Noun.MEASURE, named, body, {"name", "slug", "units", "archived"})
    return views.measures(scope, [row])[0]


def _change(
    scope: Scope, noun: Noun, named: NameId, body: Body, members: set[str], extra: Mapping[str, Any] | None = None
) -> Row:
    wanted = body.model_dump(include=members, exclude_none=True)
    if "name" in wanted or "slug" in wanted:
        scope.refuse_key(f"cannot rename a {noun}")
    return noun_edits.change(scope.tx, noun, get(scope, noun, named), wanted | dict(extra or {}))
