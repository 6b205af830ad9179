"""Series of metrics for `GET …/perf`: which ones a query asks for, read and put together in at most 20 statements.

A series is a combination of branch (with a head), testbed (with a spec), benchmark and measure. The four lists are
walked in the order in which they were given, the last one fastest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from server_stub.access import Scope
from server_stub.entity_json import (
    alert_state_json,
    benchmark_json,
    branch_json,
    head_json,
    measure_json,
    metric_json,
    project_json,
    testbed_json,
    version_json,
)
from server_stub.names import parse_uuid
from server_stub.shapes import PerfJson, PerfMetricJson, PerfSeriesJson
from server_stub.store import heads, lists, perf
from server_stub.store.nouns import Noun
from server_stub.store.perf import Combination
from server_stub.store.tx import Row
from server_stub.times import from_ms, from_seconds
from server_stub.views import Judged

SERIES_MAX = 255
"""Where the product of the four places (counted from 1) passes this, the walk ends."""
ENTRIES_MAX = 1024
"""Of one list of a query."""
END_OF_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def entries_of(text: str) -> list[str]:
    """Read a list of UUIDs that commas separate; an entry may be empty. Raises `ValueError`."""
    entries = text.split(",")
    if len(entries) > ENTRIES_MAX:
        raise ValueError(f"must have at most {ENTRIES_MAX} entries, has {len(entries)}")
    return [str(parse_uuid(entry)) if entry else "" for entry in entries]


def _gapped(text: str) -> str:
    entries_of(text)
    return text


def _full(text: str) -> str:
    if "" in entries_of(text):
        raise ValueError("must be one or more UUIDs, with commas between them")
    return text


# Texts, not lists: the framework would read a list from a parameter that is repeated.
Uuids = Annotated[str, AfterValidator(_full)]
GappedUuids = Annotated[str, AfterValidator(_gapped)]
Milliseconds = Annotated[int, Field(ge=0, le=END_OF_TIME_MS)]


class PerfQuery(BaseModel):
    """Which series are wanted, and of what time."""

    model_config = ConfigDict(frozen=True)

    branches: Uuids = Field(description="UUIDs, with commas between them.")
    heads: GappedUuids = Field(default="", description="One for each branch; an empty entry: its current head.")
    testbeds: Uuids = Field(description="UUIDs, with commas between them.")
    specs: GappedUuids = Field(default="", description="One for each testbed; an empty entry: any.")
    benchmarks: Uuids = Field(description="UUIDs, with commas between them.")
    measures: Uuids = Field(description="UUIDs, with commas between them.")
    start_time: Milliseconds | None = Field(default=None, description="Reports from this Unix millisecond on.")
    end_time: Milliseconds | None = Field(default=None, description="Reports until this Unix millisecond.")


def combinations(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The places in lists of these sizes, in the order of the walk, until it ends."""
    for places in product(*map(range, sizes)):
        if prod(place + 1 for place in places) > SERIES_MAX:
            return
        yield places


@dataclass(frozen=True, slots=True)
class Lane:
    """One entry of a list, looked up: the row, and beside it the head of a branch or the spec of a testbed."""

    row: Row
    beside: Row | None = None


Lanes4 = tuple[Lane, Lane, Lane, Lane]
"""The branch, testbed, benchmark and measure of one series."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """The four lists, looked up. None stands for what this project does not have: its series stay empty."""

    branches: list[Lane | None]
    testbeds: list[Lane | None]
    benchmarks: list[Lane | None]
    measures: list[Lane | None]

    def walk(self) -> Iterator[Lanes4]:
        """The combinations whose four parts are all there."""
        every = (self.branches, self.testbeds, self.benchmarks, self.measures)
        for b, t, n, m in combinations([len(one) for one in every]):
            branch, testbed, benchmark, measure = (
                self.branches[b],
                self.testbeds[t],
                self.benchmarks[n],
                self.measures[m],
            )
            if branch and testbed and benchmark and measure:
                yield branch, testbed, benchmark, measure


def read(scope: Scope, query: PerfQuery) -> PerfJson:
    """All series that have metrics; UUIDs of other projects have none. Raises `BadRequestError` for too many."""
    found = gather(scope, query)
    judged = Judged.of(scope, (row["model_id"] for _, rows in found for row in rows))
    return {
        "project": project_json(scope.project),
        "start_time": from_ms(query.start_time),
        "end_time": from_ms(query.end_time),
        "results": [_series(scope, *lanes, rows, judged) for lanes, rows in found],
    }


def gather(scope: Scope, query: PerfQuery) -> list[tuple[Lanes4, list[Row]]]:
    """What a query asks for, as it is stored: each series that has metrics, with their rows."""
    lanes = list(_lanes(scope, query).walk())
    wanted = [_combination(*each) for each in lanes]
    since_s = (query.start_time or 0) // 1000
    until_s = (END_OF_TIME_MS if query.end_time is None else query.end_time) // 1000
    found = perf.metrics(scope.tx, wanted, since_s, until_s)
    return [(each, rows) for each, rows in zip(lanes, found, strict=True) if rows]


def _lanes(scope: Scope, query: PerfQuery) -> Lanes:
    return Lanes(
        branches=_branches(scope, entries_of(query.branches), entries_of(query.heads)),
        testbeds=_testbeds(scope, entries_of(query.testbeds), entries_of(query.specs)),
        benchmarks=_plain(scope, Noun.BENCHMARK, entries_of(query.benchmarks)),
        measures=_plain(scope, Noun.MEASURE, entries_of(query.measures)),
    )


def _plain(scope: Scope, noun: Noun, uuids: list[str]) -> list[Lane | None]:
    rows = lists.rows_of(scope.tx, noun, scope.project_id, uuids)
    return [Lane(rows[uuid]) if uuid in rows else None for uuid in uuids]


def _branches(scope: Scope, uuids: list[str], head_uuids: list[str]) -> list[Lane | None]:
    """A head of another branch counts as unknown."""
    found = _plain(scope, Noun.BRANCH, uuids)
    named = lists.ids_by_uuid(scope.tx, "head", head_uuids)
    asked = [named.get(uuid, 0) if uuid else None for uuid in _as_long(head_uuids, uuids)]
    ids = [lane and (lane.row["head_id"] if head is None else head) for lane, head in zip(found, asked, strict=True)]
    shown = heads.shown_many(scope.tx, [one for one in ids if one])
    return [
        Lane(lane.row, shown[head_id]) if lane and head_id in shown and _of(shown[head_id], lane.row) else None
        for lane, head_id in zip(found, ids, strict=True)
    ]


def _of(head: Row, branch: Row) -> bool:
    return bool(head["branch_id"] == branch["id"])


def _testbeds(scope: Scope, uuids: list[str], spec_uuids: list[str]) -> list[Lane | None]:
    named = lists.ids_by_uuid(scope.tx, "spec", spec_uuids)
    specs = lists.by_ids(scope.tx, "spec", named.values())
    return [
        lane and (Lane(lane.row, specs.get(named.get(spec, 0))) if not spec or spec in named else None)
        for lane, spec in zip(_plain(scope, Noun.TESTBED, uuids), _as_long(spec_uuids, uuids), strict=True)
    ]


def _as_long(entries: list[str], others: list[str]) -> list[str]:
    return (entries + [""] * len(others))[: len(others)]


def _combination(branch: Lane, testbed: Lane, benchmark: Lane, measure: Lane) -> Combination:
    assert branch.beside is not None, "a branch comes with a head"
    spec_id = None if testbed.beside is None else testbed.beside["id"]
    return Combination(branch.beside["id"], testbed.row["id"], benchmark.row["id"], measure.row["id"], spec_id)


def _series(
    scope: Scope, branch: Lane, testbed: Lane, benchmark: Lane, measure: Lane, rows: list[Row], judged: Judged
) -> PerfSeriesJson:
    project = scope.project_uuid
    assert branch.beside is not None, "a branch comes with a head"
    return {
        "branch": branch_json(branch.row, project, head_json(branch.beside)),
        "testbed": testbed_json(testbed.row, project, testbed.beside),
        "benchmark": benchmark_json(benchmark.row, project),
        "measure": measure_json(measure.row, project),
        "metrics": [_metric(row, judged, project) for row in rows],
    }


def _metric(row: Row, judged: Judged, project: str) -> PerfMetricJson:
    alerted = row["alert_uuid"] is not None
    return {
        "report": row["report"],
        "iteration": row["iteration"],
        "start_time": from_seconds(row["start_s"]),
        "end_time": from_seconds(row["end_s"]),
        "version": version_json(row["number"], row["hash"]),
        "metric": metric_json(row),
        "threshold": judged.threshold(row["model_id"], project),
        "boundary": judged.boundary(row),
        "alert": alert_state_json(row | {"uuid": row["alert_uuid"]}) if alerted else None,
    }
