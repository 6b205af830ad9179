"""The query parameters of lists: which part, in which order, and what has to hold. Pure validation.

`page` counts from 1, and 0 means 1. A list without `archived` shows only what is not archived; with `archived=true`,
only what is.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from runner_protocol.states import JobState
from server_stub.bodies import U32_MAX
from server_stub.names import BranchId, ResourceNameId, Text, Uuid
from server_stub.store.paging import Page

PER_PAGE_DEFAULT = 8
PER_PAGE_MAX = 255


class Direction(StrEnum):
    """Up or down."""

    ASC = "asc"
    DESC = "desc"


class Listing(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(frozen=True)

    page: Annotated[int, Field(ge=0, le=U32_MAX, description="Which part, from 1 on.")] = 1
    per_page: Annotated[int, Field(ge=0, le=PER_PAGE_MAX, description="How many to a part.")] = PER_PAGE_DEFAULT
    direction: Direction | None = None

    def part(self, default: Direction = Direction.ASC) -> Page:
        """The part that is asked for; in the direction `default` where none is."""
        descending = (self.direction or default) is Direction.DESC
        return Page(self.per_page, (max(self.page, 1) - 1) * self.per_page, descending)


class NameSort(StrEnum):
    """By name."""

    NAME = "name"


class NamedListing(Listing):
    """A list of things with names."""

    sort: NameSort = NameSort.NAME
    name: Text | None = Field(default=None, description="Exactly this name.")
    search: Text | None = Field(default=None, description="Part of a name, slug or UUID.")


class EntityListing(NamedListing):
    """A list of branches, testbeds, benchmarks or measures."""

    archived: bool = False


class MachineSort(StrEnum):
    """By name, or by age."""

    NAME = "name"
    CREATED = "created"


class MachineListing(NamedListing):
    """A list of runners or specs."""

    sort: MachineSort = MachineSort.NAME  # type: ignore[assignment]  # It takes one order more.
    archived: bool = False


class JobSort(StrEnum):
    """By age."""

    CREATED = "created"


class JobListing(Listing):
    """A list of jobs."""

    sort: JobSort = JobSort.CREATED
    status: JobState | None = Field(default=None, description="Only jobs in this state.")


class TimeSort(StrEnum):
    """By a time."""

    CREATED = "created"
    MODIFIED = "modified"


class ThresholdListing(Listing):
    """A list of thresholds."""

    sort: TimeSort = TimeSort.CREATED
    branch: BranchId | None = None
    testbed: ResourceNameId | None = None
    measure: ResourceNameId | None = None
    archived: bool = Field(default=False, description="Whether the branch, testbed or measure is archived.")


class AlertStatus(StrEnum):
    """What became of an alert."""

    ACTIVE = "active"
    DISMISSED = "dismissed"
    SILENCED = "silenced"


class AlertListing(Listing):
    """A list of alerts."""

    sort: TimeSort = TimeSort.MODIFIED
    status: AlertStatus | None = None
    archived: bool = Field(default=False, description="Whether the branch, testbed, benchmark or measure is archived.")


class PlotSort(StrEnum):
    """By place or by title."""

    INDEX = "index"
    TITLE = "title"


class PlotListing(Listing):
    """A list of plots."""

    sort: PlotSort = PlotSort.INDEX
    title: Text | None = Field(default=None, description="Exactly this title.")
    search: Text | None = Field(default=None, description="Part of a title or UUID.")


class KeySort(StrEnum):
    """By name or by age."""

    NAME = "name"
    CREATED = "created"


class KeyListing(Listing):
    """A list of keys or tokens."""

    sort: KeySort = KeySort.NAME
    name: Text | None = Field(default=None, description="Exactly this name.")
    search: Text | None = Field(default=None, description="Part of a name or UUID.")
    revoked: bool = Field(default=False, description="Those that were revoked instead.")


class HeadQuery(BaseModel):
    """Which head of a branch to show."""

    head: Uuid | None = Field(default=None, description="Absent: the current one.")


class SpecQuery(BaseModel):
    """Which spec to show a testbed with."""

    spec: Uuid | None = Field(default=None, description="Absent: its own.")


class ModelQuery(BaseModel):
    """Which model to show a threshold with."""

    model: Uuid | None = Field(default=None, description="Absent: the current one.")


class HardQuery(BaseModel):
    """How much of a project to delete."""

    hard: bool = Field(default=False, description="With everything in it, for good. Only for administrators.")
