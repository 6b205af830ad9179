"""Reports, their metrics and alerts: written in bulk, read back whole, and deleted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from server_stub.boundaries import NO_BOUNDARY, Boundary
from server_stub.metrics import Metric
from server_stub.names import NameId
from server_stub.store.fresh import fresh_uuid, fresh_uuids
from server_stub.store.heads import drop_version_if_unused
from server_stub.store.paging import Page, Where
from server_stub.store.tx import Row, Tx

_METRIC_COLUMNS = (
    "uuid",
    "iteration",
    "benchmark_id",
    "measure_id",
    "value",
    "lower_value",
    "upper_value",
    "model_id",
    "baseline",
    "lower_limit",
    "upper_limit",
    "report_id",
    "testbed_id",
    "head_id",
    "version_id",
    "spec_id",
    "start_s",
)
# Everything that a report shows of itself; what it refers to is read by its ids.
_REPORT = (
    "SELECT r.*, v.number, v.hash, h.branch_id, u.uuid AS user_uuid, u.name AS user_name, u.slug AS user_slug,"
    " (SELECT j.uuid FROM job j WHERE j.report_id = r.id) AS job FROM report r JOIN version v ON v.id = r.version_id"
    " JOIN head h ON h.id = r.head_id LEFT JOIN user_account u ON u.id = r.user_id"
)


class NewMetric(NamedTuple):
    """One value to store, with the model that it was held against, if any, and what came of that."""

    iteration: int
    benchmark_id: int
    measure_id: int
    metric: Metric
    model_id: int | None = None
    boundary: Boundary = NO_BOUNDARY
    limit: str | None = None
    """`lower` or `upper`: raise an alert."""


@dataclass(frozen=True, slots=True)
class NewReport:
    """What is known of a report before its results."""

    project_id: int
    user_id: int | None
    head_id: int
    version_id: int
    testbed_id: int
    spec_id: int | None
    adapter: str
    idempotency_key: str | None
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reports of a project are asked for: of a branch, of a testbed, started and ended within these times.

    `archived`: only those of an archived branch or testbed; without it, only the others.
    """

    branch: NameId | None
    testbed: NameId | None
    start_ms: int | None
    end_ms: int | None
    archived: bool


def insert(tx: Tx, new: NewReport) -> Row:
    """Store a report without results."""
    now_ms = tx.now_ms()
    row: dict[str, Any] = {name: getattr(new, name) for name in new.__slots__}
    row |= {"uuid": fresh_uuid(now_ms), "counts": "[]", "created_ms": now_ms}
    return tx.insert("report", tuple(row), [tuple(row.values())], returning="*")[0]


def by_idempotency_key(tx: Tx, project_id: int, key: str) -> str | None:
    """The UUID of the project's report that has the key."""
    sql = "SELECT uuid FROM report WHERE project_id = :project AND idempotency_key = :key"
    uuid: str | None = tx.value(sql, project=project_id, key=key)
    return uuid


def store_metrics(tx: Tx, report: Row, metrics: Sequence[NewMetric], counts: list[dict[str, int]]) -> None:
    """Store a report's metrics and their alerts. Four statements, on SQLite one more for each 1,700 metrics."""
    if not metrics:
        return
    uuids = fresh_uuids(tx.now_ms(), len(metrics))
    shared = tuple(report[name] for name in ("id", "testbed_id", "head_id", "version_id", "spec_id", "start_s"))
    rows = [
        (uuid, new.iteration, new.benchmark_id, new.measure_id, *new.metric.parts, new.model_id, *new.boundary, *shared)
        for uuid, new in zip(uuids, metrics, strict=True)
    ]
    tx.insert("metric", _METRIC_COLUMNS, rows)
    _store_alerts(tx, report, {uuid: new.limit for uuid, new in zip(uuids, metrics, strict=True) if new.limit})
    tx.run("UPDATE report SET counts = :counts WHERE id = :id", counts=json.dumps(counts), id=report["id"])


def _store_alerts(tx: Tx, report: Row, limits: dict[str, str]) -> None:
    if not limits:
        return
    now_ms = tx.now_ms()
    found = tx.all("SELECT id, uuid FROM metric WHERE uuid {any:uuids}", uuids=list(limits))
    rows = [
        (uuid, report["project_id"], report["id"], row["id"], limits[row["uuid"]], "active", now_ms)
        for uuid, row in zip(fresh_uuids(now_ms, len(found)), found, strict=True)
    ]
    columns = ("uuid", "project_id", "report_id", "metric_id", "boundary_limit", "status", "modified_ms")
    tx.insert("alert", columns, rows)


def retime(tx: Tx, report: Row, start_s: int, end_s: int) -> Row:
    """Give a report the times at which its job really ran."""
    tx.run("UPDATE report SET start_s = :start, end_s = :end WHERE id = :id", start=start_s, end=end_s, id=report["id"])
    return report | {"start_s": start_s, "end_s": end_s}


def find(tx: Tx, uuid: str, project_id: int | None = None) -> Row | None:
    """A report with its version, branch id, user and job, where it is of that project."""
    row = tx.one(f"{_REPORT} WHERE r.uuid = :uuid", uuid=uuid)
    return row if row is not None and project_id in (None, row["project_id"]) else None


def by_id(tx: Tx, report_id: int) -> Row:
    """The same by id."""
    row = tx.one(f"{_REPORT} WHERE r.id = :id", id=report_id)
    assert row is not None, "whoever knows the id holds the report"
    return row


def page(tx: Tx, project_id: int, wanted: Wanted, page: Page) -> tuple[list[Row], int]:
    """Some reports of a project by start, end and creation, and how many there are."""
    where = _conditions(project_id, wanted)
    joined = " JOIN branch b ON b.id = h.branch_id JOIN testbed t ON t.id = r.testbed_id"
    order = ", ".join(f"r.{column} {page.way}" for column in ("start_s", "end_s", "created_ms", "id"))
    sql = f"{_REPORT}{joined} WHERE {where.sql} ORDER BY {order} LIMIT :limit OFFSET :offset"
    counted = f"SELECT COUNT(*) FROM report r JOIN head h ON h.id = r.head_id{joined} WHERE {where.sql}"
    return tx.all(sql, **where.values, **page.values), tx.value(counted, **where.values)


def _conditions(project_id: int, wanted: Wanted) -> Where:
    where = Where()
    where.add("r.project_id = :project", project=project_id)
    for letter, named in (("b", wanted.branch), ("t", wanted.testbed)):
        if named is not None:
            where.add(f"{letter}.{named.kind} = :{letter}", **{letter: named.value})
    if wanted.start_ms is not None:
        where.add("r.start_s * 1000 >= :start", start=wanted.start_ms)
    if wanted.end_ms is not None:
        where.add("r.end_s * 1000 <= :end", end=wanted.end_ms)
    either = "(b.archived_ms IS NOT NULL OR t.archived_ms IS NOT NULL)"
    where.add(either if wanted.archived else f"NOT {either}")
    return where


def metrics_of(tx: Tx, report_id: int) -> list[Row]:
    """All metrics of a report, by iteration."""
    return tx.all("SELECT * FROM metric WHERE report_id = :id ORDER BY iteration, id", id=report_id)


def alerts_of(tx: Tx, report_id: int) -> list[Row]:
    """All alerts of a report."""
    return tx.all("SELECT * FROM alert WHERE report_id = :id", id=report_id)


def alert_counts(tx: Tx, report_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """How many alerts reports have, and how many of these are active."""
    rows = tx.all(
        "SELECT report_id, COUNT(*) AS total, SUM(CASE WHEN status = 'active' THEN 1 ELSE 0 END) AS active"
        " FROM alert WHERE report_id {any:ids} GROUP BY report_id",
        ids=list(report_ids),
    )
    return {row["report_id"]: {"total": row["total"], "active": row["active"]} for row in rows}


def delete(tx: Tx, report: Row) -> None:
    """Delete a report with its metrics, alerts and job. Its version goes along, if it was the last one of it."""
    tx.run("DELETE FROM report WHERE id = :id", id=report["id"])
    drop_version_if_unused(tx, report["version_id"])
