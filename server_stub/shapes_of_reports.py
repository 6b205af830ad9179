"""The shapes of a report and what is in it, as the API shows them."""

from typing import NotRequired

from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on.

from server_stub.shapes import (
    AlertJson,
    BenchmarkJson,
    BoundaryJson,
    BranchJson,
    MeasureJson,
    MetricJson,
    ProjectJson,
    TestbedJson,
    ThresholdModelJson,
    UserJson,
)


class ReportMeasureJson(TypedDict):
    """One value of a benchmark, and what it was held against."""

    measure: MeasureJson
    metric: MetricJson
    threshold: ThresholdModelJson | None
    boundary: BoundaryJson | None


class ResultJson(TypedDict):
    """One benchmark of an iteration."""

    iteration: int
    benchmark: BenchmarkJson
    measures: list[ReportMeasureJson]


class IterationCountsJson(TypedDict):
    """How many benchmarks and measures an iteration has."""

    benchmarks: int
    measures: int


class AlertCountsJson(TypedDict):
    """How many alerts a report has, and how many are active."""

    total: int
    active: int


class CountsJson(TypedDict):
    """A report in numbers."""

    results: list[IterationCountsJson]
    alerts: AlertCountsJson


class ReportJson(TypedDict):
    """A report. `results` and `alerts` are left out of a list, `job` where there is none."""

    uuid: str
    user: UserJson | None
    project: ProjectJson
    branch: BranchJson
    testbed: TestbedJson
    start_time: str
    end_time: str
    adapter: str
    results: NotRequired[list[list[ResultJson]]]
    alerts: NotRequired[list[AlertJson]]
    counts: CountsJson
    job: NotRequired[str]
    created: str
