"""Projects by themselves, their keys, and what a caller may do with them. Each function is part of one transaction.

A run makes projects as well, see `resolve`.
"""

from enum import StrEnum
from uuid import UUID

from server_stub.access import Scope, actor_of, rights_in
from server_stub.actors import Actor, Credential, Right
from server_stub.edits import KeyChange, NewKey, NewProject, ProjectChange
from server_stub.entity_json import project_json
from server_stub.errors import ForbiddenError
from server_stub.key_json import new_project_key_json, project_key_json
from server_stub.queries import KeyListing, NamedListing
from server_stub.shapes import NewProjectKeyJson, ProjectJson, ProjectKeyJson
from server_stub.store import accounts, credential_lists, projects
from server_stub.store.lists import exactly, find_in
from server_stub.store.paging import Where
from server_stub.store.tx import Row, Tx


def listed(tx: Tx, credential: Credential, query: NamedListing) -> tuple[list[ProjectJson], int]:
    """The projects that a caller may see; a project key sees only its own."""
    actor = actor_of(tx, credential)
    where = Where() if actor.admin else projects.visible_to(actor.user_id, actor.project_id)
    exactly(where, "p.name", query.name)
    find_in(where, query.search, "p.name", "p.slug", "p.uuid")
    rows, total = projects.page(tx, where, query.part())
    return [project_json(row) for row in rows], total


def make(tx: Tx, actor: Actor, organization: Row, body: NewProject) -> ProjectJson:
    """Make a project in an organization; its maker maintains it. Raises `ConflictError` on a taken name or slug."""
    slug = body.slug or projects.free_project_slug(tx, body.name)
    row = projects.create(tx, organization["id"], body.name, slug, url=body.url, visibility=body.visibility)
    if actor.user is not None:
        projects.join(tx, row["id"], actor.user["id"])
    return project_json(row)


def change(scope: Scope, body: ProjectChange) -> ProjectJson:
    """Change a project's name, slug, URL or visibility."""
    wanted = body.model_dump(include={"name", "slug", "visibility"}, exclude_none=True)
    if "url" in body.model_fields_set:
        wanted["url"] = body.url
    projects.change(scope.tx, scope.project, wanted)
    return project_json(projects.by_id(scope.tx, scope.project_id))


def delete(scope: Scope, *, hard: bool) -> None:
    """Hide a project and free its slug. `hard`: remove all that is in it, which only an administrator may."""
    if hard and not scope.actor.admin:
        raise ForbiddenError("hard: only an administrator may delete a project for good")
    projects.delete(scope.tx, scope.project, hard=hard)


class Permission(StrEnum):
    """What a caller may ask about."""

    VIEW = "view"
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    MANAGE = "manage"
    VIEW_ROLE = "view_role"
    CREATE_ROLE = "create_role"
    EDIT_ROLE = "edit_role"
    DELETE_ROLE = "delete_role"

    @property
    def right(self) -> Right:
        """The right that it takes: whoever sees a project sees its roles, whoever manages it gives them."""
        if self is Permission.VIEW_ROLE:
            return Right.VIEW
        return Right.MANAGE if self.endswith("_role") else Right(self)


def allowed(scope: Scope, permission: Permission) -> bool:
    """Whether the caller has a permission."""
    return permission.right in rights_in(scope.tx, scope.actor, scope.project)


def keys(scope: Scope, query: KeyListing) -> tuple[list[ProjectKeyJson], int]:
    """The keys of a project, without their texts."""
    rows, total = credential_lists.page(scope.tx, "project_key", scope.project_id, query)
    return [project_key_json(row, scope.project_uuid) for row in rows], total


def key(scope: Scope, uuid: UUID) -> ProjectKeyJson:
    """One key."""
    return project_key_json(_key(scope, uuid), scope.project_uuid)


def make_key(scope: Scope, body: NewKey) -> NewProjectKeyJson:
    """Make a key. Its text is in the answer and nowhere else."""
    row, text = accounts.create_project_key(scope.tx, scope.project, body.name, body.ttl)
    return new_project_key_json(row, scope.project_uuid, text)


def change_key(scope: Scope, uuid: UUID, body: KeyChange) -> ProjectKeyJson:
    """Rename a key."""
    row = _key(scope, uuid)
    if body.name is not None:
        row = credential_lists.rename(scope.tx, "project_key", row, body.name)
    return project_key_json(row, scope.project_uuid)


def revoke_key(scope: Scope, uuid: UUID) -> None:
    """Make a key worthless from now on."""
    accounts.revoke(scope.tx, "project_key", _key(scope, uuid))


def _key(scope: Scope, uuid: UUID) -> Row:
    return credential_lists.get(scope.tx, "project_key", scope.project_id, uuid)
