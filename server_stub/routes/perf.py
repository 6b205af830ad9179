"""Series of metrics of a project."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import perf
from server_stub.perf import PerfQuery
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import PerfJson

router = APIRouter(prefix="/v0/projects/{project}/perf", tags=["perf"])


@router.get("", **answers(PerfJson))
async def get_perf(call: Call, query: Annotated[PerfQuery, Query()]) -> Response:
    """Series of metrics, one for each combination of the lists that has any; 255 combinations at most are looked at."""
    return json_reply(await call.read(lambda scope: perf.read(scope, query)))
