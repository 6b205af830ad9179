"""Reads reports back, whole or as a list, in a bounded number of statements: about fifteen for a report of any size."""

import json
from typing import Any

from server_stub import entity_json as shown
from server_stub.access import Scope
from server_stub.errors import NotFoundError
from server_stub.shapes import AlertJson, BranchJson, ProjectJson, TestbedJson, ThresholdJson, ThresholdModelJson
from server_stub.shapes_of_reports import ReportJson, ReportMeasureJson, ResultJson
from server_stub.store import heads, projects, reports
from server_stub.store.lists import by_ids
from server_stub.store.paging import Page
from server_stub.store.reports import Wanted
from server_stub.store.tx import Row, Tx
from server_stub.times import from_ms, from_seconds


def report_view(tx: Tx, uuid: str, project_id: int | None = None) -> ReportJson:
    """One report, whole. Raises `NotFoundError`."""
    row = reports.find(tx, uuid, project_id)
    if row is None:
        raise NotFoundError(f"there is no report {uuid}")
    return views(tx, [row], expand=True)[0]


def remove(scope: Scope, uuid: str) -> None:
    """Delete a report. Raises `NotFoundError`."""
    row = reports.find(scope.tx, uuid, scope.project_id)
    if row is None:
        raise NotFoundError(f"there is no report {uuid}")
    projects.lock(scope.tx, scope.project_id)
    reports.delete(scope.tx, row)


def page(tx: Tx, project_id: int, wanted: Wanted, part: Page, *, expand: bool) -> tuple[list[ReportJson], int]:
    """A part of a list of reports, and how many there are."""
    rows, total = reports.page(tx, project_id, wanted, part)
    return views(tx, rows, expand=expand), total


def views(tx: Tx, rows: list[Row], *, expand: bool) -> list[ReportJson]:
    """Reports as the API shows them."""
    if not rows:
        return []
    surroundings = Surroundings(tx, rows)
    return [_view(tx, row, surroundings, expand=expand) for row in rows]


class Surroundings:
    """What several reports refer to, each read once."""

    def __init__(self, tx: Tx, rows: list[Row]) -> None:
        self.projects = {row["project_id"]: projects.by_id(tx, row["project_id"]) for row in rows}
        self.branches = by_ids(tx, "branch", (row["branch_id"] for row in rows))
        self.heads = heads.shown_many(tx, [row["head_id"] for row in rows])
        self.testbeds = by_ids(tx, "testbed", (row["testbed_id"] for row in rows))
        self.specs = by_ids(tx, "spec", (row["spec_id"] for row in rows))
        self.alerts = reports.alert_counts(tx, [row["id"] for row in rows])

    def project(self, row: Row) -> ProjectJson:
        """A report's project."""
        return shown.project_json(self.projects[row["project_id"]])

    def branch(self, row: Row) -> BranchJson:
        """A report's branch, with the head and the version that the report was made on."""
        version = shown.version_json(row["number"], row["hash"])
        head = shown.head_json(self.heads[row["head_id"]], version)
        return shown.branch_json(self.branches[row["branch_id"]], self.project(row)["uuid"], head)

    def testbed(self, row: Row) -> TestbedJson:
        """A report's testbed, with the spec that the report was made on."""
        spec = self.specs.get(row["spec_id"])
        return shown.testbed_json(self.testbeds[row["testbed_id"]], self.project(row)["uuid"], spec)


def _view(tx: Tx, row: Row, surroundings: Surroundings, *, expand: bool) -> ReportJson:
    user = {name: row[f"user_{name}"] for name in ("uuid", "name", "slug")}
    view: dict[str, Any] = {
        "uuid": row["uuid"],
        "user": None if row["user_id"] is None else shown.user_json(user),
        "project": surroundings.project(row),
        "branch": surroundings.branch(row),
        "testbed": surroundings.testbed(row),
        "start_time": from_seconds(row["start_s"]),
        "end_time": from_seconds(row["end_s"]),
        "adapter": row["adapter"],
    }
    if expand:
        contents = Contents(tx, row, surroundings)
        view |= {"results": contents.results(), "alerts": contents.alerts()}
    alerts = surroundings.alerts.get(row["id"], {"total": 0, "active": 0})
    view["counts"] = {"results": json.loads(row["counts"]), "alerts": alerts}
    if row["job"] is not None:
        view["job"] = row["job"]
    return view | {"created": from_ms(row["created_ms"])}  # type: ignore[return-value]  # Members are left out above.


class Contents:
    """Results and alerts of one report. What many metrics share is made into JSON once."""

    def __init__(self, tx: Tx, report: Row, surroundings: Surroundings) -> None:
        self._report = report
        self._project = surroundings.project(report)["uuid"]
        self._surroundings = surroundings
        self._metrics = reports.metrics_of(tx, report["id"])
        self._alerts = reports.alerts_of(tx, report["id"])
        self._models = by_ids(tx, "model", (row["model_id"] for row in self._metrics))
        self._thresholds = by_ids(tx, "threshold", (row["threshold_id"] for row in self._models.values()))
        benchmarks = by_ids(tx, "benchmark", (row["benchmark_id"] for row in self._metrics))
        measures = by_ids(tx, "measure", (row["measure_id"] for row in self._metrics))
        self._benchmarks = {key: shown.benchmark_json(row, self._project) for key, row in benchmarks.items()}
        self._measures = {key: shown.measure_json(row, self._project) for key, row in measures.items()}
        self._judges = {key: self._judge(model) for key, model in self._models.items()}

    def _judge(self, model: Row) -> ThresholdModelJson:
        return shown.threshold_model_json(self._thresholds[model["threshold_id"]], self._project, model)

    def results(self) -> list[list[ResultJson]]:
        """Iterations, each with its benchmarks by name, each with its measures by name."""
        iterations: dict[int, dict[int, ResultJson]] = {}
        for row in sorted(self._metrics, key=self._order):
            results = iterations.setdefault(row["iteration"], {})
            result = results.get(row["benchmark_id"])
            if result is None:
                benchmark = self._benchmarks[row["benchmark_id"]]
                result = {"iteration": row["iteration"], "benchmark": benchmark, "measures": []}
                results[row["benchmark_id"]] = result
            result["measures"].append(self._measure(row))
        return [list(results.values()) for results in iterations.values()]

    def _order(self, row: Row) -> tuple[int, str, str]:
        """Names compare by code point, which is the order of their bytes in UTF-8."""
        benchmark, measure = self._benchmarks[row["benchmark_id"]], self._measures[row["measure_id"]]
        return (row["iteration"], benchmark["name"], measure["name"])

    def _measure(self, row: Row) -> ReportMeasureJson:
        judge = self._judges.get(row["model_id"])
        return {
            "measure": self._measures[row["measure_id"]],
            "metric": shown.metric_json(row),
            "threshold": judge,
            "boundary": None if judge is None else shown.boundary_json(row),
        }

    def alerts(self) -> list[AlertJson]:
        """By iteration, then by the benchmark's name."""
        metrics = {row["id"]: row for row in self._metrics}
        judged = [(metrics[row["metric_id"]], row) for row in self._alerts]
        examples = {metric["model_id"]: metric for metric, _ in judged}
        thresholds = {model_id: self._threshold(metric) for model_id, metric in examples.items()}
        ordered = sorted(judged, key=lambda pair: self._order(pair[0]))
        return [self._alert(metric, row, thresholds[metric["model_id"]]) for metric, row in ordered]

    def _alert(self, metric: Row, alert: Row, threshold: ThresholdJson) -> AlertJson:
        return {
            "uuid": alert["uuid"],
            "report": self._report["uuid"],
            "iteration": metric["iteration"],
            "benchmark": self._benchmarks[metric["benchmark_id"]],
            "metric": shown.metric_json(metric),
            "threshold": threshold,
            "boundary": shown.boundary_json(metric),
            "limit": alert["boundary_limit"],
            "status": alert["status"],
            "created": from_seconds(self._report["created_ms"] // 1000),
            "modified": from_seconds(alert["modified_ms"] // 1000),
        }

    def _threshold(self, metric: Row) -> ThresholdJson:
        model = self._models[metric["model_id"]]
        return shown.threshold_json(
            self._thresholds[model["threshold_id"]],
            self._project,
            branch=self._surroundings.branch(self._report),
            testbed=self._surroundings.testbed(self._report),
            measure=self._measures[metric["measure_id"]],
            model=model,
        )
