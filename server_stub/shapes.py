"""The shapes of what the API shows of a project and all that is in it.

Typed dictionaries: they type what `entity_json` builds, and the OpenAPI page is made from them. Every member is always
there; what is unknown is null. Times are RFC 3339 in UTC.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on.


class ProjectJson(TypedDict):
    """A project. `claimed`: since when its organization has a member."""

    uuid: str
    organization: str
    name: str
    slug: str
    url: str | None
    visibility: Literal["public", "private"]
    created: str
    modified: str
    claimed: str | None


class VersionJson(TypedDict):
    """A commit as one head saw it, counted from 0."""

    number: int
    hash: str | None


class StartPointJson(TypedDict):
    """What a head began from: UUIDs of branch and head, and the version."""

    branch: str
    head: str
    version: VersionJson


class HeadJson(TypedDict):
    """One life of a branch. `version` is only known beside a report."""

    uuid: str
    start_point: StartPointJson | None
    version: VersionJson | None
    created: str
    replaced: str | None


class BranchJson(TypedDict):
    """A branch with one of its heads."""

    uuid: str
    project: str
    name: str
    slug: str
    head: HeadJson
    created: str
    modified: str
    archived: str | None


class SpecJson(TypedDict):
    """A class of machine. Sizes are bytes."""

    uuid: str
    name: str
    slug: str
    os: str
    architecture: str
    sandbox: str | None
    cpu: int
    memory: int
    disk: int
    network: bool
    fallback: str | None
    created: str
    modified: str
    archived: str | None


class TestbedJson(TypedDict):
    """A testbed with its spec, or with that of a report."""

    uuid: str
    project: str
    name: str
    slug: str
    spec: SpecJson | None
    created: str
    modified: str
    archived: str | None


class BenchmarkJson(TypedDict):
    """A benchmark."""

    uuid: str
    project: str
    name: str
    slug: str
    created: str
    modified: str
    archived: str | None


class MeasureJson(TypedDict):
    """A measure and its units."""

    uuid: str
    project: str
    name: str
    slug: str
    units: str
    created: str
    modified: str
    archived: str | None


class ModelJson(TypedDict):
    """One version of a threshold. `window` is seconds."""

    uuid: str
    test: str
    min_sample_size: int | None
    max_sample_size: int | None
    window: int | None
    lower_boundary: float | None
    upper_boundary: float | None
    created: str
    replaced: str | None


class ThresholdModelJson(TypedDict):
    """A threshold beside a metric: with the model that judged it."""

    uuid: str
    project: str
    model: ModelJson
    created: str


class ThresholdJson(TypedDict):
    """A threshold with its place and its current model."""

    uuid: str
    project: str
    branch: BranchJson
    testbed: TestbedJson
    measure: MeasureJson
    model: ModelJson | None
    created: str
    modified: str


class MetricJson(TypedDict):
    """A measured value, in the units of its measure."""

    uuid: str
    value: float
    lower_value: float | None
    upper_value: float | None


class BoundaryJson(TypedDict):
    """What a value was held against. All null: there was no test to run yet."""

    baseline: float | None
    lower_limit: float | None
    upper_limit: float | None


class AlertJson(TypedDict):
    """A value beyond a limit."""

    uuid: str
    report: str
    iteration: int
    benchmark: BenchmarkJson
    metric: MetricJson
    threshold: ThresholdJson
    boundary: BoundaryJson
    limit: Literal["lower", "upper"]
    status: Literal["active", "dismissed", "silenced"]
    created: str
    modified: str


class AlertStateJson(TypedDict):
    """An alert beside its own metric."""

    uuid: str
    limit: Literal["lower", "upper"]
    status: Literal["active", "dismissed", "silenced"]
    modified: str


class UserJson(TypedDict):
    """A user, without the e-mail address."""

    uuid: str
    name: str
    slug: str


class PlotJson(TypedDict):
    """A pinned plot. `window` is seconds; the lists hold UUIDs."""

    uuid: str
    project: str
    title: str | None
    lower_value: bool
    upper_value: bool
    lower_boundary: bool
    upper_boundary: bool
    x_axis: str
    y_axis: str
    window: int
    branches: list[str]
    testbeds: list[str]
    benchmarks: list[str]
    measures: list[str]
    created: str
    modified: str


class OneMetricJson(TypedDict):
    """A metric with all that belongs to it. `uuid` is the metric's."""

    uuid: str
    report: str
    iteration: int
    start_time: str
    end_time: str
    branch: BranchJson
    testbed: TestbedJson
    benchmark: BenchmarkJson
    measure: MeasureJson
    metric: MetricJson
    threshold: ThresholdModelJson | None
    boundary: BoundaryJson | None
    alert: AlertStateJson | None


class PerfMetricJson(TypedDict):
    """One point of a series."""

    report: str
    iteration: int
    start_time: str
    end_time: str
    version: VersionJson
    metric: MetricJson
    threshold: ThresholdModelJson | None
    boundary: BoundaryJson | None
    alert: AlertStateJson | None


class PerfSeriesJson(TypedDict):
    """The metrics of one combination, the oldest version first."""

    branch: BranchJson
    testbed: TestbedJson
    benchmark: BenchmarkJson
    measure: MeasureJson
    metrics: list[PerfMetricJson]


class PerfJson(TypedDict):
    """Series of metrics. The times are those that were asked for."""

    project: ProjectJson
    start_time: str | None
    end_time: str | None
    results: list[PerfSeriesJson]


class AllowedJson(TypedDict):
    """Whether the caller has a permission."""

    allowed: bool


class ProjectKeyJson(TypedDict):
    """A project key, without the key."""

    uuid: str
    project: str
    name: str
    creation: str
    expiration: str
    revoked: NotRequired[str]


class NewProjectKeyJson(ProjectKeyJson):
    """A project key that was just made. The key is not shown again."""

    key: str


class TokenJson(TypedDict):
    """An API token or a user key, without its text."""

    uuid: str
    user: str
    name: str
    creation: str
    expiration: str
    revoked: NotRequired[str]


class NewTokenJson(TokenJson):
    """An API token that was just made. It is not shown again."""

    token: str


class AccountJson(UserJson):
    """A user, as he and administrators see him."""

    email: str
    admin: bool
    locked: bool
    created: str


class OrganizationJson(TypedDict):
    """An organization. `claimed`: since when it has a member."""

    uuid: str
    name: str
    slug: str
    created: str
    claimed: str | None
