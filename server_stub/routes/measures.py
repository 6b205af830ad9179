"""Measures of a project: listed, shown, made, changed and deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import entities, views
from server_stub.access import Scope
from server_stub.actors import Right
from server_stub.edits import MeasureChange, NewMeasure
from server_stub.queries import EntityListing
from server_stub.routes.paths import MeasurePath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import MeasureJson
from server_stub.store.nouns import Noun

router = APIRouter(prefix="/v0/projects/{project}/measures", tags=["measures"])


@router.get("", **answers(list[MeasureJson]))
async def list_measures(call: Call, query: Annotated[EntityListing, Query()]) -> Response:
    """Measures of a project, each with its units."""
    rows, total = await call.read(lambda scope: entities.listed(scope, Noun.MEASURE, query, views.measures))
    return json_reply(rows, total=total)


@router.post("", **answers(MeasureJson, 201))
async def create_measure(call: Call, body: NewMeasure) -> Response:
    """Make a measure. Runs make measures by themselves."""
    return json_reply(await call.write(lambda scope: entities.make_measure(scope, body), Right.CREATE), 201)


@router.get("/{measure:path}", **answers(MeasureJson))
async def get_measure(call: Call, measure: MeasurePath) -> Response:
    """One measure."""

    def read(scope: Scope) -> MeasureJson:
        return views.measures(scope, [entities.get(scope, Noun.MEASURE, measure)])[0]

    return json_reply(await call.read(read))


@router.patch("/{measure:path}", **answers(MeasureJson))
async def change_measure(call: Call, measure: MeasurePath, body: MeasureChange) -> Response:
    """Rename, archive or bring back a measure, or change its units."""
    return json_reply(await call.write(lambda scope: entities.change_measure(scope, measure, body), Right.EDIT))


@router.delete("/{measure:path}", **answers(None, 204))
async def delete_measure(call: Call, measure: MeasurePath) -> Response:
    """Delete a measure that no results refer to, with its thresholds."""
    await call.write(lambda scope: entities.delete(scope, Noun.MEASURE, measure), Right.DELETE, users_only=True)
    return Response(status_code=204)
