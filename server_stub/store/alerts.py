"""Reads alerts and single metrics with what stands in their reports, and changes an alert's status.

An alert's row here is its metric's row with `alert_uuid`, `boundary_limit`, `status` and `modified_ms` of the alert,
`report` (UUID), `report_created_ms`, `start_s` and `end_s` of the report, `branch_id`, and the version's `number` and
`hash`. Alerts are made with their metrics, see `reports`.
"""

from uuid import UUID

from server_stub.queries import AlertListing, AlertStatus, Direction, TimeSort
from server_stub.store.lists import Part, exactly, part
from server_stub.store.paging import Where
from server_stub.store.tx import Row, Tx

_COLUMNS = (
    "m.*, a.id AS alert_id, a.uuid AS alert_uuid, a.boundary_limit, a.status, a.modified_ms, r.uuid AS report,"
    " r.created_ms AS report_created_ms, r.end_s, h.branch_id, v.number, v.hash"
)
_REPORTS = (
    " JOIN report r ON r.id = m.report_id JOIN head h ON h.id = r.head_id JOIN version v ON v.id = r.version_id"
    " JOIN branch b ON b.id = h.branch_id JOIN testbed t ON t.id = r.testbed_id"
    " JOIN benchmark n ON n.id = m.benchmark_id JOIN measure u ON u.id = m.measure_id"
)
_ALERTS = f"alert a JOIN metric m ON m.id = a.metric_id{_REPORTS}"
_METRICS = f"metric m LEFT JOIN alert a ON a.metric_id = m.id{_REPORTS}"
_ALL_SHOWN = "COALESCE(b.archived_ms, t.archived_ms, n.archived_ms, u.archived_ms) IS NULL"


def page(tx: Tx, project_id: int, query: AlertListing) -> Part:
    """Alerts: the active ones first, the latest changed first; or by the start of their reports, the oldest first."""
    where = Where()
    where.add("a.project_id = :project", project=project_id)
    where.add(f"NOT ({_ALL_SHOWN})" if query.archived else _ALL_SHOWN)
    exactly(where, "a.status", query.status)
    if query.sort is TimeSort.CREATED:
        wanted = query.part()
        order = f"r.start_s {wanted.way}"
    else:
        wanted = query.part(Direction.DESC)
        order = f"a.status, a.modified_ms {wanted.way}"
    return part(tx, _COLUMNS, _ALERTS, where, f"{order}, n.name, m.iteration, a.id", wanted)


def find(tx: Tx, project_id: int, uuid: UUID) -> Row | None:
    """One alert of a project."""
    sql = f"SELECT {_COLUMNS} FROM {_ALERTS} WHERE a.uuid = :uuid AND a.project_id = :project"
    return tx.one(sql, uuid=str(uuid), project=project_id)


def change(tx: Tx, alert: Row, status: AlertStatus | None) -> None:
    """Give an alert a status, or only a new time of modification."""
    tx.run(
        "UPDATE alert SET status = :status, modified_ms = :now WHERE id = :id",
        status=status or alert["status"],
        now=tx.now_ms(),
        id=alert["alert_id"],
    )


def metric(tx: Tx, project_id: int, uuid: UUID) -> Row | None:
    """One metric of a project; without an alert the alert's columns are null."""
    sql = f"SELECT {_COLUMNS} FROM {_METRICS} WHERE m.uuid = :uuid AND r.project_id = :project"
    return tx.one(sql, uuid=str(uuid), project=project_id)
