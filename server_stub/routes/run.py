"""`POST /v0/run`: one request brings a benchmark's results, or a job that will produce them."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from server_stub.api import RunBody
from server_stub.reports import report_view
from server_stub.routes.caller import Address, Caller
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes_of_reports import ReportJson
from server_stub.state import state_of
from server_stub.submit import submit

router = APIRouter(tags=["run"])


@router.post("/v0/run", **answers(ReportJson, 201))
async def run(request: Request, body: Annotated[RunBody, Body()], caller: Caller, address: Address) -> Response:
    """Store a report with its results, or queue its job.

    Everything that is named and missing is made: project, branch, testbed, benchmarks, measures. A run that is refused
    leaves nothing behind.
    """
    state = state_of(request)
    uuid = await submit(state.database, state.settings, body, credential=caller, source_ip=address)
    if body.job is not None:
        await state.queue.waiters.all_looked()  # To read the report back takes as long as to hand the job over.
    return json_reply(await state.database.read(partial(report_view, uuid=uuid)), status=201)
