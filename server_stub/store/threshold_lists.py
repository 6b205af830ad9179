"""Reads thresholds as they stand for themselves, and deletes one with all that came of it. Models: see `thresholds`."""

from dataclasses import dataclass
from uuid import UUID

from server_stub.queries import ThresholdListing
from server_stub.store.lists import Part, exactly, part
from server_stub.store.paging import Where
from server_stub.store.tx import Row, Tx

_PLACES = (
    "threshold x JOIN branch b ON b.id = x.branch_id JOIN testbed t ON t.id = x.testbed_id"
    " JOIN measure u ON u.id = x.measure_id"
)
_ALL_SHOWN = "COALESCE(b.archived_ms, t.archived_ms, u.archived_ms) IS NULL"


@dataclass(frozen=True, slots=True)
class Place:
    """Ids that a list is limited to; None is any."""

    branch_id: int | None = None
    testbed_id: int | None = None
    measure_id: int | None = None


def page(tx: Tx, project_id: int, query: ThresholdListing, place: Place) -> Part:
    """Thresholds of a project by age, or by their last change."""
    where = Where()
    where.add("x.project_id = :project", project=project_id)
    where.add(f"NOT ({_ALL_SHOWN})" if query.archived else _ALL_SHOWN)
    for column in ("branch_id", "testbed_id", "measure_id"):
        exactly(where, f"x.{column}", getattr(place, column))
    wanted = query.part()
    return part(tx, "x.*", _PLACES, where, f"x.{query.sort}_ms {wanted.way}, x.id {wanted.way}", wanted)


def find(tx: Tx, project_id: int, uuid: UUID) -> Row | None:
    """One threshold of a project."""
    sql = "SELECT * FROM threshold WHERE uuid = :uuid AND project_id = :project"
    return tx.one(sql, uuid=str(uuid), project=project_id)


def model(tx: Tx, threshold: Row, uuid: UUID) -> Row | None:
    """One of the models that a threshold has or had."""
    sql = "SELECT * FROM model WHERE uuid = :uuid AND threshold_id = :threshold"
    return tx.one(sql, uuid=str(uuid), threshold=threshold["id"])


def delete(tx: Tx, threshold: Row) -> None:
    """Delete a threshold: its metrics stay, their boundaries and alerts go with it."""
    values = {"id": threshold["id"], "branch": threshold["branch_id"], "testbed": threshold["testbed_id"]}
    # By way of the reports of its place, for which there are indexes: metrics are not indexed by model.
    judged = (
        "SELECT m.id FROM head h JOIN report r ON r.head_id = h.id AND r.testbed_id = :testbed"
        " JOIN metric m ON m.report_id = r.id"
        " WHERE h.branch_id = :branch AND m.model_id IN (SELECT id FROM model WHERE threshold_id = :id)"
    )
    tx.run(f"DELETE FROM alert WHERE metric_id IN ({judged})", **values)
    tx.run(
        "UPDATE metric SET model_id = NULL, baseline = NULL, lower_limit = NULL, upper_limit = NULL"
        f" WHERE id IN ({judged})",
        **values,
    )
    tx.run("DELETE FROM threshold WHERE id = :id", id=threshold["id"])
