"""Thresholds of a project: listed, shown, made, given another model, and deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import threshold_edits
from server_stub.actors import Right
from server_stub.edits import NewThreshold, ThresholdChange
from server_stub.queries import ModelQuery, ThresholdListing
from server_stub.routes.paths import ThresholdPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import ThresholdJson

router = APIRouter(prefix="/v0/projects/{project}/thresholds", tags=["thresholds"])


@router.get("", **answers(list[ThresholdJson]))
async def list_thresholds(call: Call, query: Annotated[ThresholdListing, Query()]) -> Response:
    """Thresholds of a project, each with its place and its current model."""
    rows, total = await call.read(lambda scope: threshold_edits.listed(scope, query))
    return json_reply(rows, total=total)


@router.post("", **answers(ThresholdJson, 201))
async def create_threshold(call: Call, body: NewThreshold) -> Response:
    """Make a threshold for a branch, a testbed and a measure that are there."""
    return json_reply(await call.write(lambda scope: threshold_edits.make(scope, body), Right.CREATE), 201)


@router.get("/{threshold}", **answers(ThresholdJson))
async def get_threshold(call: Call, threshold: ThresholdPath, query: Annotated[ModelQuery, Query()]) -> Response:
    """One threshold, with a model that it had where the query names it."""
    return json_reply(await call.read(lambda scope: threshold_edits.show(scope, threshold, query.model)))


@router.put("/{threshold}", **answers(ThresholdJson))
async def change_threshold(call: Call, threshold: ThresholdPath, body: ThresholdChange) -> Response:
    """Replace the model, or remove it with `{"test": null}`. What was judged stays as it was."""
    return json_reply(await call.write(lambda scope: threshold_edits.change(scope, threshold, body), Right.EDIT))


@router.delete("/{threshold}", **answers(None, 204))
async def delete_threshold(call: Call, threshold: ThresholdPath) -> Response:
    """Delete a threshold with the boundaries and alerts that came of it."""
    await call.write(lambda scope: threshold_edits.delete(scope, threshold), Right.DELETE, users_only=True)
    return Response(status_code=204)
