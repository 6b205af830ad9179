"""Reports of a project: read, brought in for a branch and testbed that are named, and deleted."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from pydantic import Field
from starlette.responses import Response

from server_stub import reports
from server_stub.access import Scope
from server_stub.actors import Right
from server_stub.api import ReportBody
from server_stub.names import BranchId, ResourceNameId
from server_stub.queries import Direction, Listing
from server_stub.routes.paths import ReportPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes_of_reports import ReportJson
from server_stub.state import state_of
from server_stub.store.reports import Wanted
from server_stub.submit import read_body, submit_report

router = APIRouter(tags=["reports"])
PATH = "/v0/projects/{project}/reports"

Milliseconds = Annotated[int, Field(ge=0, le=2**53)]


class ReportSort(StrEnum):
    """By start time, then end time, then creation."""

    DATE_TIME = "date_time"


class ReportListing(Listing):
    """A list of reports."""

    sort: ReportSort = ReportSort.DATE_TIME
    branch: BranchId | None = None
    testbed: ResourceNameId | None = None
    start_time: Milliseconds | None = Field(default=None, description="Unix milliseconds; not started before.")
    end_time: Milliseconds | None = Field(default=None, description="Unix milliseconds; not ended after.")
    archived: bool = Field(default=False, description="Whether the branch or the testbed is archived.")
    expand: bool = Field(default=False, description="With results and alerts.")

    @property
    def wanted(self) -> Wanted:
        """Which reports."""
        return Wanted(self.branch, self.testbed, self.start_time, self.end_time, self.archived)


@router.get(PATH, **answers(list[ReportJson]))
async def list_reports(call: Call, query: Annotated[ReportListing, Query()]) -> Response:
    """Reports, the newest first; without results and alerts, unless they are asked for."""

    def read(scope: Scope) -> tuple[list[ReportJson], int]:
        part = query.part(Direction.DESC)
        return reports.page(scope.tx, scope.project_id, query.wanted, part, expand=query.expand)

    found, total = await call.read(read)
    return json_reply(found, total=total)


@router.post(PATH, **answers(ReportJson, 201))
async def create_report(request: Request, call: Call, body: Annotated[ReportBody, Body()]) -> Response:
    """Store a report with its results. Branch and testbed are made where they are missing."""
    results = await read_body(body)
    settings = state_of(request).settings
    uuid = await call.write(lambda scope: submit_report(scope, settings, body, results), Right.CREATE)
    return json_reply(await call.read(lambda scope: reports.report_view(scope.tx, uuid)), 201)


@router.get(f"{PATH}/{{report}}", **answers(ReportJson))
async def get_report(call: Call, report: ReportPath) -> Response:
    """One report, with its results and alerts."""
    return json_reply(await call.read(lambda scope: reports.report_view(scope.tx, str(report), scope.project_id)))


@router.delete(f"{PATH}/{{report}}", **answers(None, 204))
async def delete_report(call: Call, report: ReportPath) -> Response:
    """Delete a report with its metrics, alerts and job. With the last report of a version, that goes too."""
    await call.write(lambda scope: reports.remove(scope, str(report)), Right.DELETE, users_only=True)
    return Response(status_code=204)
