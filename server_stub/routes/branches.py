"""Branches of a project: listed, shown, made, changed and deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import entities, views
from server_stub.actors import Right
from server_stub.edits import BranchChange, NewBranch
from server_stub.queries import EntityListing, HeadQuery
from server_stub.routes.paths import BranchPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import BranchJson
from server_stub.store.nouns import Noun

router = APIRouter(prefix="/v0/projects/{project}/branches", tags=["branches"])


@router.get("", **answers(list[BranchJson]))
async def list_branches(call: Call, query: Annotated[EntityListing, Query()]) -> Response:
    """Branches of a project, each with its current head."""
    rows, total = await call.read(lambda scope: entities.listed(scope, Noun.BRANCH, query, views.branches))
    return json_reply(rows, total=total)


@router.post("", **answers(BranchJson, 201))
async def create_branch(call: Call, body: NewBranch) -> Response:
    """Make a branch. Runs make branches by themselves."""
    return json_reply(await call.write(lambda scope: entities.make_branch(scope, body), Right.CREATE), 201)


@router.get("/{branch:path}", **answers(BranchJson))
async def get_branch(call: Call, branch: BranchPath, query: Annotated[HeadQuery, Query()]) -> Response:
    """One branch, with a head that it had where the query names it."""
    return json_reply(await call.read(lambda scope: entities.show_branch(scope, branch, query.head)))


@router.patch("/{branch:path}", **answers(BranchJson))
async def change_branch(call: Call, branch: BranchPath, body: BranchChange) -> Response:
    """Rename, archive or bring back a branch. A start point goes through the same decision as that of a run."""
    return json_reply(await call.write(lambda scope: entities.change_branch(scope, branch, body), Right.EDIT))


@router.delete("/{branch:path}", **answers(None, 204))
async def delete_branch(call: Call, branch: BranchPath) -> Response:
    """Delete a branch that no results refer to, with its thresholds."""
    await call.write(lambda scope: entities.delete(scope, Noun.BRANCH, branch), Right.DELETE, users_only=True)
    return Response(status_code=204)
