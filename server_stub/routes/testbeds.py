"""Testbeds of a project: listed, shown, made, changed and deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import entities, views
from server_stub.actors import Right
from server_stub.edits import NewTestbed, TestbedChange
from server_stub.queries import EntityListing, SpecQuery
from server_stub.routes.paths import TestbedPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import TestbedJson
from server_stub.store.nouns import Noun

router = APIRouter(prefix="/v0/projects/{project}/testbeds", tags=["testbeds"])


@router.get("", **answers(list[TestbedJson]))
async def list_testbeds(call: Call, query: Annotated[EntityListing, Query()]) -> Response:
    """Testbeds of a project, each with its spec."""
    rows, total = await call.read(lambda scope: entities.listed(scope, Noun.TESTBED, query, views.testbeds))
    return json_reply(rows, total=total)


@router.post("", **answers(TestbedJson, 201))
async def create_testbed(call: Call, body: NewTestbed) -> Response:
    """Make a testbed. Runs make testbeds by themselves."""
    return json_reply(await call.write(lambda scope: entities.make_testbed(scope, body), Right.CREATE), 201)


@router.get("/{testbed:path}", **answers(TestbedJson))
async def get_testbed(call: Call, testbed: TestbedPath, query: Annotated[SpecQuery, Query()]) -> Response:
    """One testbed, with another spec where the query names it."""
    return json_reply(await call.read(lambda scope: entities.show_testbed(scope, testbed, query.spec)))


@router.patch("/{testbed:path}", **answers(TestbedJson))
async def change_testbed(call: Call, testbed: TestbedPath, body: TestbedChange) -> Response:
    """Rename, archive or bring back a testbed, give it a spec, or take it away with null."""
    return json_reply(await call.write(lambda scope: entities.change_testbed(scope, testbed, body), Right.EDIT))


@router.delete("/{testbed:path}", **answers(None, 204))
async def delete_testbed(call: Call, testbed: TestbedPath) -> Response:
    """Delete a testbed that no results refer to, with its thresholds."""
    await call.write(lambda scope: entities.delete(scope, Noun.TESTBED, testbed), Right.DELETE, users_only=True)
    return Response(status_code=204)
