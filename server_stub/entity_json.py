"""How a database row becomes what the API shows: one function a noun, with the shapes of `shapes`.

Pure: reads rows, never the database. `project` is the UUID of the project throughout.
"""

import json
from typing import Any

from server_stub.shapes import (
    AlertStateJson,
    BenchmarkJson,
    BoundaryJson,
    BranchJson,
    HeadJson,
    MeasureJson,
    MetricJson,
    ModelJson,
    PlotJson,
    ProjectJson,
    SpecJson,
    StartPointJson,
    TestbedJson,
    ThresholdJson,
    ThresholdModelJson,
    UserJson,
    VersionJson,
)
from server_stub.times import from_ms, from_seconds

Row = dict[str, Any]


def project_json(row: Row) -> ProjectJson:
    """A project's row, with `organization` (its UUID) and `claimed_ms` beside its own columns."""
    return {
        "uuid": row["uuid"],
        "organization": row["organization"],
        "name": row["name"],
        "slug": row["slug"],
        "url": row["url"],
        "visibility": row["visibility"],
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
        "claimed": from_ms(row["claimed_ms"]),
    }


def head_json(row: Row, version: VersionJson | None = None) -> HeadJson:
    """A head's row, with `start_branch`, `start_head` (UUIDs), `start_number` and `start_hash` of its start point."""
    start: StartPointJson | None = None
    if row["start_number"] is not None:
        version_begun = version_json(row["start_number"], row["start_hash"])
        start = {"branch": row["start_branch"], "head": row["start_head"], "version": version_begun}
    return {
        "uuid": row["uuid"],
        "start_point": start,
        "version": version,
        "created": _time(row["created_ms"]),
        "replaced": from_ms(row["replaced_ms"]),
    }


def version_json(number: int, commit: str | None) -> VersionJson:
    """A version."""
    return {"number": number, "hash": commit}


def branch_json(row: Row, project: str, head: HeadJson) -> BranchJson:
    """A branch's row with a head."""
    return {
        "uuid": row["uuid"],
        "project": project,
        "name": row["name"],
        "slug": row["slug"],
        "head": head,
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
        "archived": from_ms(row["archived_ms"]),
    }


def spec_json(row: Row) -> SpecJson:
    """A spec's row."""
    return {
        "uuid": row["uuid"],
        "name": row["name"],
        "slug": row["slug"],
        "os": row["os"],
        "architecture": row["architecture"],
        "sandbox": row["sandbox"],
        "cpu": row["cpu"],
        "memory": row["memory"],
        "disk": row["disk"],
        "network": bool(row["network"]),
        "fallback": from_ms(row["fallback_ms"]),
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
        "archived": from_ms(row["archived_ms"]),
    }


def testbed_json(row: Row, project: str, spec: Row | None) -> TestbedJson:
    """A testbed's row, shown as with `spec`."""
    return {
        "uuid": row["uuid"],
        "project": project,
        "name": row["name"],
        "slug": row["slug"],
        "spec": None if spec is None else spec_json(spec),
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
        "archived": from_ms(row["archived_ms"]),
    }


def benchmark_json(row: Row, project: str) -> BenchmarkJson:
    """A benchmark's row."""
    return {
        "uuid": row["uuid"],
        "project": project,
        "name": row["name"],
        "slug": row["slug"],
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
        "archived": from_ms(row["archived_ms"]),
    }


def measure_json(row: Row, project: str) -> MeasureJson:
    """A measure's row."""
    return {
        "uuid": row["uuid"],
        "project": project,
        "name": row["name"],
        "slug": row["slug"],
        "units": row["units"],
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
        "archived": from_ms(row["archived_ms"]),
    }


def model_json(row: Row) -> ModelJson:
    """A model's row."""
    return {
        "uuid": row["uuid"],
        "test": row["test"],
        "min_sample_size": row["min_sample_size"],
        "max_sample_size": row["max_sample_size"],
        "window": row["window_s"],
        "lower_boundary": row["lower_boundary"],
        "upper_boundary": row["upper_boundary"],
        "created": _time(row["created_ms"]),
        "replaced": from_ms(row["replaced_ms"]),
    }


def threshold_model_json(threshold: Row, project: str, model: Row) -> ThresholdModelJson:
    """A threshold's row beside a metric, with the row of the model that judged it."""
    created = _time(threshold["created_ms"])
    return {"uuid": threshold["uuid"], "project": project, "model": model_json(model), "created": created}


def threshold_json(
    row: Row, project: str, *, branch: BranchJson, testbed: TestbedJson, measure: MeasureJson, model: Row | None
) -> ThresholdJson:
    """A threshold's row with its place and a model's row."""
    return {
        "uuid": row["uuid"],
        "project": project,
        "branch": branch,
        "testbed": testbed,
        "measure": measure,
        "model": None if model is None else model_json(model),
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
    }


def metric_json(row: Row) -> MetricJson:
    """A metric's row."""
    return {
        "uuid": row["uuid"],
        "value": row["value"],
        "lower_value": row["lower_value"],
        "upper_value": row["upper_value"],
    }


def boundary_json(row: Row) -> BoundaryJson:
    """What a metric's row was held against."""
    return {"baseline": row["baseline"], "lower_limit": row["lower_limit"], "upper_limit": row["upper_limit"]}


def alert_state_json(row: Row) -> AlertStateJson:
    """An alert's row."""
    return {
        "uuid": row["uuid"],
        "limit": row["boundary_limit"],
        "status": row["status"],
        "modified": _time(row["modified_ms"]),
    }


def user_json(row: Row) -> UserJson:
    """A user's row."""
    return {"uuid": row["uuid"], "name": row["name"], "slug": row["slug"]}


def _time(milliseconds: int) -> str:
    return from_seconds(milliseconds // 1000)


def plot_json(row: Row, project: str) -> PlotJson:
    """A plot's row."""
    elements = json.loads(row["elements"])
    return {
        "uuid": row["uuid"],
        "project": project,
        "title": row["title"],
        "lower_value": bool(row["lower_value"]),
        "upper_value": bool(row["upper_value"]),
        "lower_boundary": bool(row["lower_boundary"]),
        "upper_boundary": bool(row["upper_boundary"]),
        "x_axis": row["x_axis"],
        "y_axis": row["y_axis"],
        "window": row["window_s"],
        "branches": elements["branches"],
        "testbeds": elements["testbeds"],
        "benchmarks": elements["benchmarks"],
        "measures": elements["measures"],
        "created": _time(row["created_ms"]),
        "modified": _time(row["modified_ms"]),
    }
