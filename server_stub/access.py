"""Who a credential belongs to, and which project that one may use for what. Each function is part of one transaction.

Two kinds of endpoints differ in what they answer to a credential that is not one:

| | no or malformed header | project key |
| --- | --- | --- |
| for anybody (`actor_of`) | anonymous · 401 | its project |
| for users only (`user_of`) | 400 | 400 |

A token whose signature or time is wrong is 400 on both, its user being unknown 404, locked 403; whatever else is wrong
with a key or token is 401, with one message for all.
"""

from dataclasses import dataclass

from server_stub.actors import KEY_RIGHTS, RIGHTS, Actor, Credential, CredentialKind, Right, Role, well_formed
from server_stub.errors import (
    ApiError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)
from server_stub.names import NameId
from server_stub.store import accounts, organizations, projects
from server_stub.store.tx import Row, Tx
from server_stub.tokens import verify

PUBLIC_RIGHTS = frozenset({Right.VIEW})


@dataclass(frozen=True, slots=True)
class Scope:
    """A project opened for someone, within one transaction."""

    tx: Tx
    actor: Actor
    project: Row

    @property
    def project_id(self) -> int:
        """The id of the project's row."""
        return int(self.project["id"])

    @property
    def project_uuid(self) -> str:
        """What every entity shows of its project."""
        return str(self.project["uuid"])

    def refuse_key(self, why: str) -> None:
        """Raise `ForbiddenError` where a project key asks: `why` says what it may not do."""
        if self.actor.project_id is not None:
            raise ForbiddenError(f"a project key {why}")


def actor_of(tx: Tx, credential: Credential) -> Actor:
    """Who asks. Nobody in particular without a credential."""
    match well_formed(credential).kind:
        case CredentialKind.PROJECT_KEY:
            return Actor(project_id=_living(tx, accounts.project_key(tx, credential.secret))["project_id"])
        case CredentialKind.USER_KEY:
            return Actor(user=_user_of_key(tx, credential.secret))
        case CredentialKind.TOKEN:
            return Actor(user=_user_of_token(tx, credential.secret))
        case _:
            return Actor()


def user_of(tx: Tx, credential: Credential) -> Actor:
    """The user who asks, where only users may."""
    if credential.kind not in (CredentialKind.USER_KEY, CredentialKind.TOKEN):
        raise BadRequestError("a user is asked for here: an API token or a user key")
    return actor_of(tx, credential)


def admin_of(tx: Tx, credential: Credential) -> Actor:
    """The administrator who asks, where only administrators may."""
    actor = user_of(tx, credential)
    if not actor.admin:
        raise ForbiddenError("only an administrator may do this")
    return actor


def open_project(tx: Tx, actor: Actor, named: NameId, right: Right = Right.VIEW) -> Row:
    """The project's row, where `actor` has that right to it.

    Raises `NotFoundError` where there is none or the caller may not know of it, `UnauthorizedError` for anybody without
    a credential, `ForbiddenError` for others.
    """
    project = projects.find(tx, named)
    if project is None:
        raise _no_project(named)
    held = rights_in(tx, actor, project)
    if right not in held:
        raise _refusal(actor, project, named, held)
    return project


def rights_in(tx: Tx, actor: Actor, project: Row) -> frozenset[Right]:
    """All that a caller may do with a project, its organization left unclaimed or not."""
    if actor.admin:
        return RIGHTS[Role.LEADER]
    if actor.project_id is not None:
        # A key is for one project and nothing else, not even for what anybody may see.
        return KEY_RIGHTS if actor.project_id == project["id"] else frozenset()
    held = PUBLIC_RIGHTS if project["visibility"] == "public" else frozenset()
    if actor.user is not None:
        roles = (
            projects.role_of(tx, project["id"], actor.user["id"]),
            organizations.role_of(tx, project["organization_id"], actor.user["id"]),
        )
        held = held.union(*(RIGHTS[role] for role in roles if role is not None))
    return held


def unclaimed(tx: Tx, project: Row) -> bool:
    """Whether a project's organization has no members: then anybody may submit there."""
    return organizations.claimed_ms(tx, project["organization_id"]) is None


def may_submit(tx: Tx, actor: Actor, project: Row) -> bool:
    """Whether a caller may submit to a project, and so cancel there and run again."""
    return Right.CREATE in rights_in(tx, actor, project) or (actor.anonymous and unclaimed(tx, project))


def may_read_output(tx: Tx, actor: Actor, project: Row) -> bool:
    """Whether a caller who sees a project also sees what its jobs print."""
    return not actor.anonymous or unclaimed(tx, project)


def open_for_jobs(tx: Tx, actor: Actor, named: NameId) -> Row:
    """The project's row, where `actor` may submit to it. Raises as `open_project` does."""
    project = open_project(tx, actor, named)
    return project if may_submit(tx, actor, project) else open_project(tx, actor, named, Right.CREATE)


def _refusal(actor: Actor, project: Row, named: NameId, held: frozenset[Right]) -> ApiError:
    if project["visibility"] != "public" and not held:
        return _no_project(named)
    if actor.anonymous:
        return UnauthorizedError("a credential is needed to change this project")
    return ForbiddenError("this credential does not allow that for this project")


def _no_project(named: NameId) -> NotFoundError:
    return NotFoundError(f"there is no project {named.value!r}")


def _user_of_key(tx: Tx, secret: str) -> Row:
    user = accounts.user_of(tx, _living(tx, accounts.user_token(tx, secret))["user_id"])
    if user["locked"]:
        raise UnauthorizedError("invalid credential")
    return user


def _user_of_token(tx: Tx, secret: str) -> Row:
    user = accounts.user_by_email(tx, _subject(tx, secret))
    if user is None:
        raise NotFoundError("the API token's user is unknown")
    if user["locked"]:
        raise ForbiddenError("this user is locked")
    _living(tx, accounts.user_token(tx, secret))
    return user


def _subject(tx: Tx, token: str) -> str:
    signing = accounts.find_secret(tx)
    if signing is None:
        raise BadRequestError("invalid credential: no API token was ever made here")
    try:
        return verify(signing, token, tx.now_ms() // 1000)
    except ValueError as error:
        raise BadRequestError(f"invalid credential: {error}") from error


def _living(tx: Tx, row: Row | None) -> Row:
    if row is None or not accounts.alive(tx, row):
        raise UnauthorizedError("invalid credential")
    return row
