"""Projects, their keys, and what a caller may do with them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from server_stub import projects
from server_stub.access import Scope
from server_stub.actors import Right
from server_stub.edits import KeyChange, NewKey, ProjectChange
from server_stub.entity_json import project_json
from server_stub.queries import HardQuery, KeyListing, NamedListing
from server_stub.routes.caller import Caller
from server_stub.routes.paths import KeyPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import AllowedJson, NewProjectKeyJson, ProjectJson, ProjectKeyJson
from server_stub.state import state_of

router = APIRouter(prefix="/v0/projects", tags=["projects"])
one = APIRouter(prefix="/v0/projects/{project}", tags=["projects"])
"""What is about one project."""


@router.get("", **answers(list[ProjectJson]))
async def list_projects(request: Request, caller: Caller, query: Annotated[NamedListing, Query()]) -> Response:
    """Projects that the caller may see."""
    rows, total = await state_of(request).database.read(lambda tx: projects.listed(tx, caller, query))
    return json_reply(rows, total=total)


@one.get("", **answers(ProjectJson))
async def get_project(call: Call) -> Response:
    """One project."""
    return json_reply(await call.read(lambda scope: project_json(scope.project)))


@one.patch("", **answers(ProjectJson))
async def change_project(call: Call, body: ProjectChange) -> Response:
    """Change a project's name, slug, URL or visibility."""
    return json_reply(await call.write(lambda scope: projects.change(scope, body), Right.EDIT, users_only=True))


@one.delete("", **answers(None, 204))
async def delete_project(call: Call, query: Annotated[HardQuery, Query()]) -> Response:
    """Hide a project and free its name and slug; an administrator may delete it for good."""
    await call.write(lambda scope: projects.delete(scope, hard=query.hard), Right.DELETE, users_only=True)
    return Response(status_code=204)


@one.get("/allowed/{permission}", **answers(AllowedJson))
async def get_allowed(call: Call, permission: projects.Permission) -> Response:
    """Whether the caller has a permission."""
    return json_reply({"allowed": await call.read(lambda scope: projects.allowed(scope, permission))})


@one.get("/keys", tags=["keys"], **answers(list[ProjectKeyJson]))
async def list_keys(call: Call, query: Annotated[KeyListing, Query()]) -> Response:
    """The keys of a project, without their texts."""

    def read(scope: Scope) -> tuple[list[ProjectKeyJson], int]:
        return projects.keys(scope, query)

    rows, total = await call.read(read, right=Right.MANAGE, users_only=True)
    return json_reply(rows, total=total)


@one.post("/keys", tags=["keys"], **answers(NewProjectKeyJson, 201))
async def create_key(call: Call, body: NewKey) -> Response:
    """Make a key for continuous integration. Its text is in the answer and nowhere else."""
    made = await call.write(lambda scope: projects.make_key(scope, body), Right.MANAGE, users_only=True)
    return json_reply(made, 201)


@one.get("/keys/{key}", tags=["keys"], **answers(ProjectKeyJson))
async def get_key(call: Call, key: KeyPath) -> Response:
    """One key."""
    return json_reply(await call.read(lambda scope: projects.key(scope, key), right=Right.MANAGE, users_only=True))


@one.patch("/keys/{key}", tags=["keys"], **answers(ProjectKeyJson))
async def change_key(call: Call, key: KeyPath, body: KeyChange) -> Response:
    """Rename a key."""
    changed = await call.write(lambda scope: projects.change_key(scope, key, body), Right.MANAGE, users_only=True)
    return json_reply(changed)


@one.delete("/keys/{key}", tags=["keys"], **answers(None, 204))
async def revoke_key(call: Call, key: KeyPath) -> Response:
    """Make a key worthless from now on. It stays to be listed."""
    await call.write(lambda scope: projects.revoke_key(scope, key), Right.MANAGE, users_only=True)
    return Response(status_code=204)
