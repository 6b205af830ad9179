"""Alerts of a project, and single metrics."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import alerts
from server_stub.actors import Right
from server_stub.edits import AlertChange
from server_stub.queries import AlertListing
from server_stub.routes.paths import AlertPath, MetricPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import AlertJson, OneMetricJson

router = APIRouter(prefix="/v0/projects/{project}", tags=["alerts"])


@router.get("/alerts", **answers(list[AlertJson]))
async def list_alerts(call: Call, query: Annotated[AlertListing, Query()]) -> Response:
    """Alerts of a project, the active ones first, the latest changed first."""
    rows, total = await call.read(lambda scope: alerts.listed(scope, query))
    return json_reply(rows, total=total)


@router.get("/alerts/{alert}", **answers(AlertJson))
async def get_alert(call: Call, alert: AlertPath) -> Response:
    """One alert."""
    return json_reply(await call.read(lambda scope: alerts.show(scope, alert)))


@router.patch("/alerts/{alert}", **answers(AlertJson))
async def change_alert(call: Call, alert: AlertPath, body: AlertChange) -> Response:
    """Dismiss an alert or make it active again. Only the server silences."""
    return json_reply(await call.write(lambda scope: alerts.change(scope, alert, body), Right.EDIT))


@router.get("/metrics/{metric}", tags=["metrics"], **answers(OneMetricJson))
async def get_metric(call: Call, metric: MetricPath) -> Response:
    """One metric with its place, threshold, boundary and alert."""
    return json_reply(await call.read(lambda scope: alerts.metric(scope, metric)))
