"""Reads the metrics of many series in one statement, each by way of the index `metric_series`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from server_stub.errors import BadRequestError
from server_stub.store.tx import Row, Tx

METRICS_MAX = 100_000
"""Of one answer: some 60 MB of JSON."""


class Combination(NamedTuple):
    """One series: a head's history on a testbed, of a benchmark and a measure; with a spec, only what it measured."""

    head_id: int
    testbed_id: int
    benchmark_id: int
    measure_id: int
    spec_id: int | None


def metrics(tx: Tx, wanted: Sequence[Combination], since_s: int, until_s: int) -> list[list[Row]]:
    """The metrics of each series, by version, start and iteration; of reports within the times, both included.

    A row is the metric's, with `report` (UUID), `start_s` and `end_s` of the report, the version's `number` and `hash`,
    and `alert_uuid`, `boundary_limit`, `status` and `modified_ms` of its alert. Raises `BadRequestError` for too many.
    """
    if not wanted:
        return []
    rows = tx.all(_sql(len(wanted)), since=since_s, until=until_s, limit=METRICS_MAX + 1, **_values(wanted))
    if len(rows) > METRICS_MAX:
        raise BadRequestError(f"start_time: there are more than {METRICS_MAX} metrics; ask for a shorter time")
    series: list[list[Row]] = [[] for _ in wanted]
    for row in rows:
        series[row["series"]].append(row)
    return series


def newest_choice(tx: Tx, project_id: int, benchmarks_max: int) -> dict[str, list[str]]:
    """What the newest report with metrics measured: UUIDs of its branch, testbed, first measure and some benchmarks."""
    report = tx.one(
        "SELECT r.id, b.uuid AS branch, t.uuid AS testbed FROM report r JOIN head h ON h.id = r.head_id"
        " JOIN branch b ON b.id = h.branch_id JOIN testbed t ON t.id = r.testbed_id WHERE r.project_id = :project"
        " AND EXISTS (SELECT 1 FROM metric m WHERE m.report_id = r.id) ORDER BY r.start_s DESC, r.id DESC LIMIT 1",
        project=project_id,
    )
    if report is None:
        return {}
    measured = tx.all(
        "SELECT b.uuid AS benchmark, n.uuid AS measure FROM metric m JOIN benchmark b ON b.id = m.benchmark_id"
        " JOIN measure n ON n.id = m.measure_id WHERE m.report_id = :report AND m.iteration = 0"
        " AND m.measure_id = (SELECT MIN(measure_id) FROM metric WHERE report_id = :report)"
        " ORDER BY b.name LIMIT :most",
        report=report["id"],
        most=benchmarks_max,
    )
    return {
        "branches": [report["branch"]],
        "testbeds": [report["testbed"]],
        "benchmarks": [row["benchmark"] for row in measured],
        "measures": sorted({row["measure"] for row in measured}),
    }


def _sql(count: int) -> str:
    """The series as a table of parameters, joined to the ranges of their heads' history."""
    one = ", ".join(f"CAST(:{column}_{{0}} AS BIGINT)" for column in Combination._fields)
    table = ", ".join(f"({number}, {one.format(number)})" for number in range(count))
    return (
        f"WITH wanted (series, {', '.join(Combination._fields)}) AS (VALUES {table})"
        " SELECT w.series, m.*, r.uuid AS report, r.end_s, v.number, v.hash,"
        " a.uuid AS alert_uuid, a.boundary_limit, a.status, a.modified_ms"
        " FROM wanted w JOIN head_lineage l ON l.head_id = w.head_id"
        " JOIN metric m ON m.benchmark_id = w.benchmark_id AND m.measure_id = w.measure_id"
        " AND m.testbed_id = w.testbed_id AND m.head_id = l.origin_head_id"
        " AND m.version_id BETWEEN l.first_version_id AND l.last_version_id"
        " JOIN report r ON r.id = m.report_id JOIN version v ON v.id = m.version_id"
        " LEFT JOIN alert a ON a.metric_id = m.id"
        " WHERE r.start_s >= :since AND r.end_s <= :until AND (w.spec_id IS NULL OR m.spec_id = w.spec_id)"
        " ORDER BY v.number, r.start_s, m.iteration, m.id LIMIT :limit"
    )


def _values(wanted: Sequence[Combination]) -> dict[str, Any]:
    return {f"{column}_{number}": value for number, one in enumerate(wanted) for column, value in one._asdict().items()}
