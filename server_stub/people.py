"""Users and organizations: minimal, for there is no web sign-up. Each function is part of one transaction.

A user sees himself, an administrator everyone. Users are made on the command line (`server-stub user create`).
"""

from uuid import UUID

from server_stub.access import user_of
from server_stub.actors import Actor, Credential, Role
from server_stub.edits import NewKey, NewOrganization
from server_stub.errors import ConflictError, ForbiddenError, NotFoundError
from server_stub.key_json import account_json, new_token_json, organization_json, token_json
from server_stub.names import NameId
from server_stub.queries import KeyListing, NamedListing
from server_stub.shapes import AccountJson, NewTokenJson, OrganizationJson, TokenJson
from server_stub.store import accounts, credential_lists, organizations
from server_stub.store.tx import Row, Tx

LEADING = (Role.LEADER, Role.MAINTAINER)


def open_user(tx: Tx, credential: Credential, named: NameId) -> Row:
    """The user that a path names, where the caller is that one or an administrator. Raises `ForbiddenError`."""
    actor = user_of(tx, credential)
    assert actor.user is not None, "only users get here"
    if named.value in (actor.user["uuid"], actor.user["slug"]):
        return actor.user
    if not actor.admin:
        raise ForbiddenError("only an administrator may see other users")
    return accounts.find_user(tx, named.value)


def show_user(tx: Tx, credential: Credential, named: NameId) -> AccountJson:
    """A user."""
    return account_json(open_user(tx, credential, named))


def tokens(tx: Tx, user: Row, query: KeyListing) -> tuple[list[TokenJson], int]:
    """A user's API tokens and keys, without their texts."""
    rows, total = credential_lists.page(tx, "user_token", user["id"], query)
    return [token_json(row, user["uuid"]) for row in rows], total


def token(tx: Tx, user: Row, uuid: UUID) -> TokenJson:
    """One of them."""
    return token_json(credential_lists.get(tx, "user_token", user["id"], uuid), user["uuid"])


def make_token(tx: Tx, user: Row, body: NewKey) -> NewTokenJson:
    """Make an API token. Its text is in the answer and nowhere else."""
    row, text = accounts.create_token(tx, user, body.name, body.ttl)
    return new_token_json(row, user["uuid"], text)


def make_user_key(tx: Tx, user: Row, body: NewKey) -> NewTokenJson:
    """Make a user key, which does all that a token does and is shorter."""
    row, text = accounts.create_user_key(tx, user, body.name, body.ttl)
    return new_token_json(row, user["uuid"], text)


def revoke_token(tx: Tx, user: Row, uuid: UUID) -> None:
    """Make a token or key worthless from now on."""
    accounts.revoke(tx, "user_token", credential_lists.get(tx, "user_token", user["id"], uuid))


def organizations_of(tx: Tx, credential: Credential, query: NamedListing) -> tuple[list[OrganizationJson], int]:
    """The organizations that a user belongs to; all of them for an administrator."""
    actor = user_of(tx, credential)
    rows, total = organizations.page(
        tx, query.part(), user_id=None if actor.admin else actor.user_id, name=query.name, search=query.search
    )
    return [organization_json(row) for row in rows], total


def open_organization(tx: Tx, actor: Actor, named: NameId, *, leading: bool = False) -> Row:
    """An organization of the caller's. Raises `NotFoundError` where he is no member, `ForbiddenError` no leader."""
    row = organizations.find(tx, named)
    role = None if row is None or actor.user is None else organizations.role_of(tx, row["id"], actor.user["id"])
    if row is None or (role is None and not actor.admin):
        raise NotFoundError(f"there is no organization {named.value!r}")
    if leading and not actor.admin and role not in LEADING:
        raise ForbiddenError("only a leader of the organization may do this")
    return row


def make_organization(tx: Tx, credential: Credential, body: NewOrganization) -> OrganizationJson:
    """Make an organization that the caller leads. Raises `ConflictError` on a taken slug."""
    actor = user_of(tx, credential)
    if body.slug is not None and organizations.by_slug(tx, body.slug) is not None:
        raise ConflictError(f"slug: there is an organization with the slug {body.slug!r} already")
    row = organizations.create(tx, body.name, slug=body.slug)
    assert actor.user is not None, "only users get here"
    organizations.join(tx, row["id"], actor.user["id"])
    return organization_json(row | {"claimed_ms": organizations.claimed_ms(tx, row["id"])})


def claim_organization(tx: Tx, credential: Credential, named: NameId) -> OrganizationJson:
    """Make the caller the leader of an organization without members. Raises `ConflictError` where it has one."""
    actor = user_of(tx, credential)
    row = organizations.find(tx, named)
    if row is None or actor.user is None:
        raise NotFoundError(f"there is no organization {named.value!r}")
    if row["claimed_ms"] is not None:
        raise ConflictError("this organization is claimed already")
    organizations.claim(tx, row["id"], actor.user["id"])
    return organization_json(row | {"claimed_ms": organizations.claimed_ms(tx, row["id"])})


def show_organization(tx: Tx, credential: Credential, named: NameId) -> OrganizationJson:
    """One organization of the caller's."""
    return organization_json(open_organization(tx, user_of(tx, credential), named))
