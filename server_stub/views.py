"""Puts together what the API shows of rows that refer to others: everything is read by id, one statement a noun.

So a list costs the same few statements however long it is. Reads only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from server_stub.access import Scope
from server_stub.entity_json import (
    alert_state_json,
    benchmark_json,
    boundary_json,
    branch_json,
    head_json,
    measure_json,
    metric_json,
    testbed_json,
    threshold_json,
    threshold_model_json,
    version_json,
)
from server_stub.shapes import (
    AlertJson,
    BenchmarkJson,
    BoundaryJson,
    BranchJson,
    MeasureJson,
    OneMetricJson,
    TestbedJson,
    ThresholdJson,
    ThresholdModelJson,
)
from server_stub.store import heads
from server_stub.store.lists import by_ids
from server_stub.store.tx import Row
from server_stub.times import from_seconds

T = TypeVar("T")


def branches(scope: Scope, rows: Sequence[Row]) -> list[BranchJson]:
    """Branches with their current heads."""
    shown = heads.shown_many(scope.tx, [row["head_id"] for row in rows])
    return [branch_json(row, scope.project_uuid, head_json(shown[row["head_id"]])) for row in rows]


def branch_of_head(scope: Scope, row: Row, head_id: int) -> BranchJson:
    """A branch with one of its heads, whichever."""
    return branch_json(row, scope.project_uuid, head_json(heads.shown(scope.tx, head_id)))


def testbeds(scope: Scope, rows: Sequence[Row]) -> list[TestbedJson]:
    """Testbeds with their specs."""
    specs = by_ids(scope.tx, "spec", (row["spec_id"] for row in rows))
    return [testbed_json(row, scope.project_uuid, specs.get(row["spec_id"])) for row in rows]


def benchmarks(scope: Scope, rows: Sequence[Row]) -> list[BenchmarkJson]:
    """Benchmarks."""
    return [benchmark_json(row, scope.project_uuid) for row in rows]


def measures(scope: Scope, rows: Sequence[Row]) -> list[MeasureJson]:
    """Measures."""
    return [measure_json(row, scope.project_uuid) for row in rows]


def thresholds(scope: Scope, rows: Sequence[Row], model: Row | None = None) -> list[ThresholdJson]:
    """Thresholds with their places, and with their current models or (of one threshold) with `model`."""
    tx = scope.tx
    branch_rows = by_ids(tx, "branch", (row["branch_id"] for row in rows)).values()
    testbed_rows = by_ids(tx, "testbed", (row["testbed_id"] for row in rows)).values()
    measure_rows = by_ids(tx, "measure", (row["measure_id"] for row in rows))
    models = by_ids(tx, "model", (row["model_id"] for row in rows))
    branch_of = _by_id(branch_rows, branches(scope, list(branch_rows)))
    testbed_of = _by_id(testbed_rows, testbeds(scope, list(testbed_rows)))
    return [
        threshold_json(
            row,
            scope.project_uuid,
            branch=branch_of[row["branch_id"]],
            testbed=testbed_of[row["testbed_id"]],
            measure=measure_json(measure_rows[row["measure_id"]], scope.project_uuid),
            model=model or models.get(row["model_id"]),
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Judged:
    """What metrics were held against: models and their thresholds, by the model's id."""

    models: dict[int, Row]
    thresholds: dict[int, Row]

    @classmethod
    def of(cls, scope: Scope, model_ids: Iterable[int | None]) -> "Judged":
        """Read them. Those of a deleted threshold are gone."""
        models = by_ids(scope.tx, "model", model_ids)
        return cls(models, by_ids(scope.tx, "threshold", (row["threshold_id"] for row in models.values())))

    def threshold_row(self, model_id: int) -> Row:
        """The threshold of a model."""
        return self.thresholds[self.models[model_id]["threshold_id"]]

    def threshold(self, model_id: int | None, project: str) -> ThresholdModelJson | None:
        """The threshold beside a metric."""
        if model_id not in self.models or model_id is None:
            return None
        return threshold_model_json(self.threshold_row(model_id), project, self.models[model_id])

    def boundary(self, metric: Row) -> BoundaryJson | None:
        """The boundary beside a metric."""
        return boundary_json(metric) if metric["model_id"] in self.models else None


@dataclass(frozen=True, slots=True)
class Places:
    """Where metrics were measured, as their reports saw it: with the report's head, version and spec."""

    scope: Scope
    branches: dict[int, Row]
    heads: dict[int, Row]
    testbeds: dict[int, Row]
    specs: dict[int, Row]
    benchmarks: dict[int, Row]
    measures: dict[int, Row]

    @classmethod
    def of(cls, scope: Scope, rows: Sequence[Row]) -> "Places":
        """Read the places of rows that have a metric's ids and `branch_id`."""
        tx = scope.tx
        return cls(
            scope=scope,
            branches=by_ids(tx, "branch", (row["branch_id"] for row in rows)),
            heads=heads.shown_many(tx, sorted({row["head_id"] for row in rows})),
            testbeds=by_ids(tx, "testbed", (row["testbed_id"] for row in rows)),
            specs=by_ids(tx, "spec", (row["spec_id"] for row in rows)),
            benchmarks=by_ids(tx, "benchmark", (row["benchmark_id"] for row in rows)),
            measures=by_ids(tx, "measure", (row["measure_id"] for row in rows)),
        )

    def branch(self, row: Row) -> BranchJson:
        """The branch, with the head and the version that were measured."""
        head = head_json(self.heads[row["head_id"]], version_json(row["number"], row["hash"]))
        return branch_json(self.branches[row["branch_id"]], self.scope.project_uuid, head)

    def testbed(self, row: Row) -> TestbedJson:
        """The testbed, with the spec that was measured on."""
        spec = self.specs.get(row["spec_id"])
        return testbed_json(self.testbeds[row["testbed_id"]], self.scope.project_uuid, spec)

    def benchmark(self, row: Row) -> BenchmarkJson:
        """The benchmark."""
        return benchmark_json(self.benchmarks[row["benchmark_id"]], self.scope.project_uuid)

    def measure(self, row: Row) -> MeasureJson:
        """The measure."""
        return measure_json(self.measures[row["measure_id"]], self.scope.project_uuid)


def alerts(scope: Scope, rows: Sequence[Row]) -> list[AlertJson]:
    """Alerts of `store.alerts`, each with the whole of its threshold as its report saw it."""
    places, judged = Places.of(scope, rows), Judged.of(scope, (row["model_id"] for row in rows))
    return [_alert(row, places, judged) for row in rows]


def _alert(row: Row, places: Places, judged: Judged) -> AlertJson:
    return {
        "uuid": row["alert_uuid"],
        "report": row["report"],
        "iteration": row["iteration"],
        "benchmark": places.benchmark(row),
        "metric": metric_json(row),
        "threshold": threshold_json(
            judged.threshold_row(row["model_id"]),
            places.scope.project_uuid,
            branch=places.branch(row),
            testbed=places.testbed(row),
            measure=places.measure(row),
            model=judged.models[row["model_id"]],
        ),
        "boundary": boundary_json(row),
        "limit": row["boundary_limit"],
        "status": row["status"],
        "created": from_seconds(row["report_created_ms"] // 1000),
        "modified": from_seconds(row["modified_ms"] // 1000),
    }


def one_metric(scope: Scope, row: Row) -> OneMetricJson:
    """A metric of `store.alerts.metric` with all that belongs to it."""
    places, judged = Places.of(scope, [row]), Judged.of(scope, [row["model_id"]])
    alerted = row["alert_uuid"] is not None
    return {
        "uuid": row["uuid"],
        "report": row["report"],
        "iteration": row["iteration"],
        "start_time": from_seconds(row["start_s"]),
        "end_time": from_seconds(row["end_s"]),
        "branch": places.branch(row),
        "testbed": places.testbed(row),
        "benchmark": places.benchmark(row),
        "measure": places.measure(row),
        "metric": metric_json(row),
        "threshold": judged.threshold(row["model_id"], scope.project_uuid),
        "boundary": judged.boundary(row),
        "alert": alert_state_json(row | {"uuid": row["alert_uuid"]}) if alerted else None,
    }


def _by_id(rows: Iterable[Row], shown: Sequence[T]) -> dict[int, T]:
    return {row["id"]: one for row, one in zip(rows, shown, strict=True)}
