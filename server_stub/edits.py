"""The bodies that make and change what is around a run: entities of a project, and the server's runners and specs.

Pure validation. Every change leaves alone what it does not name. Names are those of the public API; the bodies of
runners and specs are for administrators.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from runner_protocol.jobs import Architecture
from server_stub.api import LimitsBody, ModelBody, StartPointBody
from server_stub.bodies import I32_MAX, I64_MAX, Body, Flag, PositiveCount
from server_stub.names import BenchmarkName, BranchId, BranchName, ResourceId, ResourceName, ResourceNameId, Slug, Uuid
from server_stub.thresholds import Model, Test

PLOT_ENTRIES_MAX = 255

Url = Annotated[
    str, Field(strict=True, max_length=1024, pattern=r"^https?://[^\s\x00]+$", examples=["https://a.example"])
]
Bytes = Annotated[int, Field(strict=True, ge=1, le=I64_MAX)]
Uuids = Annotated[list[Uuid], Field(min_length=1, max_length=PLOT_ENTRIES_MAX)]

_SLUG = Field(default=None, description="Absent: made from the name.")
_ARCHIVED = Field(default=None, description="True hides it, false brings it back.")


class NewBranch(Body):
    """A branch to create."""

    name: BranchName
    slug: Slug | None = _SLUG
    start_point: StartPointBody | None = None


class BranchChange(Body):
    """What to change about a branch. A start point goes through the same decision as that of a run."""

    name: BranchName | None = None
    slug: Slug | None = None
    start_point: StartPointBody | None = None
    archived: Flag | None = _ARCHIVED


class NewTestbed(Body):
    """A testbed to create."""

    name: ResourceName
    slug: Slug | None = _SLUG
    spec: ResourceId | None = None


class TestbedChange(Body):
    """What to change about a testbed."""

    __test__ = False  # pytest takes a class of this name for tests.
    removable: ClassVar = frozenset({"spec"})

    name: ResourceName | None = None
    slug: Slug | None = None
    spec: ResourceId | None = Field(default=None, description="Null removes it.")
    archived: Flag | None = _ARCHIVED


class NewBenchmark(Body):
    """A benchmark to create."""

    name: BenchmarkName
    slug: Slug | None = _SLUG


class BenchmarkChange(Body):
    """What to change about a benchmark."""

    name: BenchmarkName | None = None
    slug: Slug | None = None
    archived: Flag | None = _ARCHIVED


class NewMeasure(Body):
    """A measure to create."""

    name: ResourceName
    slug: Slug | None = _SLUG
    units: ResourceName


class MeasureChange(Body):
    """What to change about a measure."""

    name: ResourceName | None = None
    slug: Slug | None = None
    units: ResourceName | None = None
    archived: Flag | None = _ARCHIVED


class NewThreshold(ModelBody):
    """A threshold to create: its place and its first model."""

    branch: BranchId
    testbed: ResourceNameId
    measure: ResourceNameId


class ThresholdChange(LimitsBody):
    """A whole new model, or the removal of the current one: `{"test": null}`."""

    removable: ClassVar = frozenset({"test"})

    test: Test | None = Field(description="Null removes the model; all other members are ignored then.")

    @model_validator(mode="after")
    def _can_work_or_goes(self) -> Self:
        _ = self.model
        return self

    @property
    def model(self) -> Model | None:
        """The new model, or None where it shall be removed."""
        return None if self.test is None else self.under(self.test)


class AlertVerdict(StrEnum):
    """What a person may make of an alert. Only the server silences."""

    ACTIVE = "active"
    DISMISSED = "dismissed"


class AlertChange(Body):
    """What to change about an alert; without `status` only its time of modification."""

    status: AlertVerdict | None = None


class Visibility(StrEnum):
    """Who may see a project."""

    PUBLIC = "public"
    PRIVATE = "private"


class NewProject(Body):
    """A project to create."""

    name: ResourceName
    slug: Slug | None = _SLUG
    url: Url | None = None
    visibility: Visibility = Visibility.PUBLIC


class ProjectChange(Body):
    """What to change about a project."""

    removable: ClassVar = frozenset({"url"})

    name: ResourceName | None = None
    slug: Slug | None = None
    url: Url | None = Field(default=None, description="Null removes it.")
    visibility: Visibility | None = None


class XAxis(StrEnum):
    """What a plot runs along."""

    DATE_TIME = "date_time"
    VERSION = "version"


class YAxis(StrEnum):
    """How a plot's values are scaled."""

    AUTO = "auto"
    LINEAR = "linear"
    LOG = "log"


class NewPlot(Body):
    """A plot to pin to a project."""

    index: Annotated[int, Field(strict=True, ge=0, le=63)] | None = Field(default=None, description="Absent: first.")
    title: ResourceName | None = None
    lower_value: Flag
    upper_value: Flag
    lower_boundary: Flag
    upper_boundary: Flag
    x_axis: XAxis
    y_axis: YAxis = YAxis.AUTO
    window: PositiveCount = Field(description="Seconds to look back.")
    branches: Uuids
    testbeds: Uuids
    benchmarks: Uuids
    measures: Uuids


class PlotChange(Body):
    """What to change about a plot."""

    removable: ClassVar = frozenset({"title"})

    index: Annotated[int, Field(strict=True, ge=0, le=63)] | None = None
    title: ResourceName | None = Field(default=None, description="Null removes it.")
    window: PositiveCount | None = None


class NewKey(Body):
    """A project key or a user's token to make."""

    name: ResourceName
    ttl: PositiveCount | None = Field(default=None, description="Seconds until it expires; absent: about 136 years.")


class KeyChange(Body):
    """What to change about a key."""

    name: ResourceName | None = None


class NewRunner(Body):
    """A runner to create."""

    name: ResourceName
    slug: Slug | None = _SLUG


class RunnerChange(Body):
    """What to change about a runner."""

    name: ResourceName | None = None
    slug: Slug | None = None
    archived: Flag | None = _ARCHIVED


class RunnerSpec(Body):
    """A spec that a runner shall hold."""

    spec: ResourceId


class OperatingSystem(StrEnum):
    """What a spec's machines run."""

    LINUX = "linux"
    MACOS = "macos"
    WINDOWS = "windows"


class NewSpec(Body):
    """A class of machine. Its hardware facts never change."""

    name: ResourceName
    slug: Slug | None = _SLUG
    os: OperatingSystem = OperatingSystem.LINUX
    architecture: Architecture
    sandbox: Slug | None = Field(default=None, description="Engine runtime that the host must offer, such as `runsc`.")
    cpu: Annotated[int, Field(strict=True, ge=1, le=I32_MAX)] = Field(description="CPUs for the benchmark.")
    memory: Bytes = Field(description="Bytes of memory, with no swap on top.")
    disk: Bytes = Field(description="Bytes that a container may write.")
    network: Flag = Field(default=False, description="Whether a container may reach a network.")
    fallback: Flag = Field(default=False, description="Take jobs that name no spec; at most one spec does.")


class SpecChange(Body):
    """What to change about a spec."""

    name: ResourceName | None = None
    slug: Slug | None = None
    fallback: Flag | None = None
    archived: Flag | None = _ARCHIVED

    @model_validator(mode="after")
    def _an_archived_spec_is_no_fallback(self) -> Self:
        if self.archived and self.fallback:
            raise ValueError("fallback: an archived spec cannot be the fallback")
        return self


class NewOrganization(Body):
    """An organization to create; its maker leads it."""

    name: ResourceName
    slug: Slug | None = _SLUG
