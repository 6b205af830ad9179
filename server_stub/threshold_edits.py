"""Thresholds by themselves: listed, shown, made, given another model, and deleted. Runs set them as well.

Each function is part of one transaction of an opened project.
"""

from uuid import UUID

from server_stub import views
from server_stub.access import Scope
from server_stub.edits import NewThreshold, ThresholdChange
from server_stub.errors import NotFoundError
from server_stub.names import NameId
from server_stub.queries import ThresholdListing
from server_stub.shapes import ThresholdJson
from server_stub.store import nouns, threshold_lists, thresholds
from server_stub.store.lists import by_ids
from server_stub.store.nouns import Noun
from server_stub.store.threshold_lists import Place
from server_stub.store.tx import Row


def listed(scope: Scope, query: ThresholdListing) -> tuple[list[ThresholdJson], int]:
    """A part of the list. Raises `NotFoundError` for a branch, testbed or measure that is not there."""
    place = Place(
        branch_id=_id(scope, Noun.BRANCH, query.branch),
        testbed_id=_id(scope, Noun.TESTBED, query.testbed),
        measure_id=_id(scope, Noun.MEASURE, query.measure),
    )
    rows, total = threshold_lists.page(scope.tx, scope.project_id, query, place)
    return views.thresholds(scope, rows), total


def show(scope: Scope, uuid: UUID, model: UUID | None = None) -> ThresholdJson:
    """A threshold with its current model, or with one that it had. Raises `NotFoundError` for another's model."""
    row = _get(scope, uuid)
    shown = None
    if model is not None:
        shown = threshold_lists.model(scope.tx, row, model)
        if shown is None:
            raise NotFoundError(f"model: {model} is not of the threshold {uuid}")
    return views.thresholds(scope, [row], shown)[0]


def make(scope: Scope, body: NewThreshold) -> ThresholdJson:
    """Make a threshold with its first model. Raises `ConflictError` where the place has one."""
    place = {
        "project_id": scope.project_id,
        "branch_id": nouns.get(scope.tx, Noun.BRANCH, scope.project_id, body.branch)["id"],
        "testbed_id": nouns.get(scope.tx, Noun.TESTBED, scope.project_id, body.testbed)["id"],
    }
    measure = nouns.get(scope.tx, Noun.MEASURE, scope.project_id, body.measure)
    made = thresholds.create(scope.tx, place, measure["id"], body.model)
    return views.thresholds(scope, list(by_ids(scope.tx, "threshold", [made]).values()))[0]


def change(scope: Scope, uuid: UUID, body: ThresholdChange) -> ThresholdJson:
    """Replace the model, or remove it."""
    row = _get(scope, uuid)
    if body.model is None:
        thresholds.remove_models(scope.tx, [row["id"]])
    else:
        thresholds.set_models(scope.tx, {row["id"]: body.model})
    return show(scope, uuid)


def delete(scope: Scope, uuid: UUID) -> None:
    """Delete a threshold; the boundaries and alerts that came of it go, the metrics stay."""
    threshold_lists.delete(scope.tx, _get(scope, uuid))


def _get(scope: Scope, uuid: UUID) -> Row:
    row = threshold_lists.find(scope.tx, scope.project_id, uuid)
    if row is None:
        raise NotFoundError(f"there is no threshold {uuid} in this project")
    return row


def _id(scope: Scope, noun: Noun, named: NameId | None) -> int | None:
    return None if named is None else int(nouns.get(scope.tx, noun, scope.project_id, named)["id"])
