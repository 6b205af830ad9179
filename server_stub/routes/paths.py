"""What stands in the path of an entity: read by the rule of its noun, refused by the parameter's name.

Dependencies, since the framework takes no parameter of a path that becomes a record. A name may hold slashes, as those
of branches often do: routes end in `{name:path}`.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Path

from server_stub.errors import BadRequestError
from server_stub.names import (
    NameId,
    parse_benchmark_id,
    parse_branch_id,
    parse_resource_id,
    parse_resource_name_id,
    parse_uuid,
)

T = TypeVar("T")

_NAMED = "UUID, slug or name."
_UUID = Path(description="UUID.", json_schema_extra={"format": "uuid"})


def _read(parameter: str, text: str, parse: Callable[[object], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise BadRequestError(f"{parameter}: {error}") from error


async def _branch(branch: Annotated[str, Path(description=_NAMED, min_length=1, max_length=256)]) -> NameId:
    return _read("branch", branch, parse_branch_id)


async def _testbed(testbed: Annotated[str, Path(description=_NAMED, min_length=1, max_length=64)]) -> NameId:
    return _read("testbed", testbed, parse_resource_name_id)


async def _benchmark(benchmark: Annotated[str, Path(description=_NAMED, min_length=1, max_length=1024)]) -> NameId:
    return _read("benchmark", benchmark, parse_benchmark_id)


async def _measure(measure: Annotated[str, Path(description=_NAMED, min_length=1, max_length=64)]) -> NameId:
    return _read("measure", measure, parse_resource_name_id)


async def _organization(
    organization: Annotated[str, Path(description="UUID or slug.", min_length=1, max_length=64)],
) -> NameId:
    return _read("organization", organization, parse_resource_id)


async def _user(user: Annotated[str, Path(description="UUID or slug.", min_length=1, max_length=64)]) -> NameId:
    return _read("user", user, parse_resource_id)


async def _threshold(threshold: Annotated[str, _UUID]) -> UUID:
    return _read("threshold", threshold, parse_uuid)


async def _alert(alert: Annotated[str, _UUID]) -> UUID:
    return _read("alert", alert, parse_uuid)


async def _metric(metric: Annotated[str, _UUID]) -> UUID:
    return _read("metric", metric, parse_uuid)


async def _report(report: Annotated[str, _UUID]) -> UUID:
    return _read("report", report, parse_uuid)


async def _plot(plot: Annotated[str, _UUID]) -> UUID:
    return _read("plot", plot, parse_uuid)


async def _key(key: Annotated[str, _UUID]) -> UUID:
    return _read("key", key, parse_uuid)


async def _token(token: Annotated[str, _UUID]) -> UUID:
    return _read("token", token, parse_uuid)


BranchPath = Annotated[NameId, Depends(_branch)]
TestbedPath = Annotated[NameId, Depends(_testbed)]
BenchmarkPath = Annotated[NameId, Depends(_benchmark)]
MeasurePath = Annotated[NameId, Depends(_measure)]
OrganizationPath = Annotated[NameId, Depends(_organization)]
UserPath = Annotated[NameId, Depends(_user)]
ThresholdPath = Annotated[UUID, Depends(_threshold)]
AlertPath = Annotated[UUID, Depends(_alert)]
MetricPath = Annotated[UUID, Depends(_metric)]
ReportPath = Annotated[UUID, Depends(_report)]
PlotPath = Annotated[UUID, Depends(_plot)]
KeyPath = Annotated[UUID, Depends(_key)]
TokenPath = Annotated[UUID, Depends(_token)]
