"""Users with their tokens, and organizations with their projects."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from server_stub import people, projects
from server_stub.access import user_of
from server_stub.edits import NewKey, NewOrganization, NewProject
from server_stub.queries import KeyListing, NamedListing
from server_stub.routes.caller import Caller
from server_stub.routes.paths import OrganizationPath, TokenPath, UserPath
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import (
    AccountJson,
    NewTokenJson,
    OrganizationJson,
    ProjectJson,
    TokenJson,
)
from server_stub.state import state_of
from server_stub.store.tx import Tx

users = APIRouter(prefix="/v0/users", tags=["users"])
organizations = APIRouter(prefix="/v0/organizations", tags=["organizations"])


@users.get("/{user}", **answers(AccountJson))
async def get_user(request: Request, caller: Caller, user: UserPath) -> Response:
    """A user: oneself, or for administrators anyone."""
    return json_reply(await state_of(request).database.read(lambda tx: people.show_user(tx, caller, user)))


@users.get("/{user}/tokens", **answers(list[TokenJson]))
async def list_tokens(
    request: Request, caller: Caller, user: UserPath, query: Annotated[KeyListing, Query()]
) -> Response:
    """A user's API tokens and keys, without their texts."""

    def read(tx: Tx) -> tuple[list[TokenJson], int]:
        return people.tokens(tx, people.open_user(tx, caller, user), query)

    rows, total = await state_of(request).database.read(read)
    return json_reply(rows, total=total)


@users.post("/{user}/tokens", **answers(NewTokenJson, 201))
async def create_token(request: Request, caller: Caller, user: UserPath, body: NewKey) -> Response:
    """Make an API token. Its text is in the answer and nowhere else."""

    def write(tx: Tx) -> NewTokenJson:
        return people.make_token(tx, people.open_user(tx, caller, user), body)

    return json_reply(await state_of(request).database.write(write), 201)


@users.get("/{user}/tokens/{token}", **answers(TokenJson))
async def get_token(request: Request, caller: Caller, user: UserPath, token: TokenPath) -> Response:
    """One API token or key, without its text."""

    def read(tx: Tx) -> TokenJson:
        return people.token(tx, people.open_user(tx, caller, user), token)

    return json_reply(await state_of(request).database.read(read))


@users.delete("/{user}/tokens/{token}", **answers(None, 204))
async def revoke_token(request: Request, caller: Caller, user: UserPath, token: TokenPath) -> Response:
    """Make an API token or key worthless from now on."""

    def write(tx: Tx) -> None:
        people.revoke_token(tx, people.open_user(tx, caller, user), token)

    await state_of(request).database.write(write)
    return Response(status_code=204)


@users.post("/{user}/keys", **answers(NewTokenJson, 201))
async def create_user_key(request: Request, caller: Caller, user: UserPath, body: NewKey) -> Response:
    """Make a user key, which does all that an API token does and is shorter. It is listed among the tokens."""

    def write(tx: Tx) -> NewTokenJson:
        return people.make_user_key(tx, people.open_user(tx, caller, user), body)

    return json_reply(await state_of(request).database.write(write), 201)


@organizations.get("", **answers(list[OrganizationJson]))
async def list_organizations(request: Request, caller: Caller, query: Annotated[NamedListing, Query()]) -> Response:
    """The organizations that the caller belongs to; all of them for an administrator."""
    rows, total = await state_of(request).database.read(lambda tx: people.organizations_of(tx, caller, query))
    return json_reply(rows, total=total)


@organizations.post("", **answers(OrganizationJson, 201))
async def create_organization(request: Request, caller: Caller, body: NewOrganization) -> Response:
    """Make an organization that the caller leads."""
    made = await state_of(request).database.write(lambda tx: people.make_organization(tx, caller, body))
    return json_reply(made, 201)


@organizations.get("/{organization}", **answers(OrganizationJson))
async def get_organization(request: Request, caller: Caller, organization: OrganizationPath) -> Response:
    """One organization of the caller's."""
    shown = await state_of(request).database.read(lambda tx: people.show_organization(tx, caller, organization))
    return json_reply(shown)


@organizations.post("/{organization}/claim", **answers(OrganizationJson))
async def claim_organization(request: Request, caller: Caller, organization: OrganizationPath) -> Response:
    """Become the leader of an organization without members, such as one that an anonymous run has made."""
    shown = await state_of(request).database.write(lambda tx: people.claim_organization(tx, caller, organization))
    return json_reply(shown)


@organizations.post("/{organization}/projects", **answers(ProjectJson, 201))
async def create_project(
    request: Request, caller: Caller, organization: OrganizationPath, body: NewProject
) -> Response:
    """Make a project in an organization that the caller leads."""

    def write(tx: Tx) -> ProjectJson:
        actor = user_of(tx, caller)
        return projects.make(tx, actor, people.open_organization(tx, actor, organization, leading=True), body)

    return json_reply(await state_of(request).database.write(write), 201)
