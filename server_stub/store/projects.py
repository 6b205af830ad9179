"""Projects, who belongs to them, and the lock under which a project's reports are written one after the other."""

from collections.abc import Mapping
from typing import Any

from server_stub.actors import Role
from server_stub.errors import ConflictError
from server_stub.names import NameId
from server_stub.store.fresh import free_slug, fresh_uuid
from server_stub.store.paging import Page, Where
from server_stub.store.tx import Row, Tx

# `claimed_ms` and `organization` (its UUID) ride along: every project that is shown shows them.
_PROJECT = (
    "SELECT p.*, o.uuid AS organization, (SELECT MIN(m.created_ms) FROM organization_member m"
    " WHERE m.organization_id = p.organization_id) AS claimed_ms"
    " FROM project p JOIN organization o ON o.id = p.organization_id"
)


def find(tx: Tx, wanted: NameId) -> Row | None:
    """A project by UUID or slug, unless it is deleted."""
    return tx.one(f"{_PROJECT} WHERE p.{wanted.kind} = :value AND p.deleted_ms IS NULL", value=wanted.value)


def by_id(tx: Tx, project_id: int) -> Row:
    """A project by id."""
    row = tx.one(f"{_PROJECT} WHERE p.id = :id", id=project_id)
    assert row is not None, "whoever knows the id holds the project"
    return row


def lock(tx: Tx, project_id: int) -> None:
    """Let other writers of the same project wait for this transaction: version numbers and keys need an order.

    SQLite has one writer anyway. The lock leaves readers, and inserts that refer to the project, alone.
    """
    if tx.dialect == "postgresql":
        tx.value("SELECT id FROM project WHERE id = :id FOR NO KEY UPDATE", id=project_id)


def create(tx: Tx, organization_id: int, name: str, slug: str, *, uuid: str | None = None, **columns: Any) -> Row:
    """Make a project. A taken name or slug is a `ConflictError`."""
    now_ms = tx.now_ms()
    _refuse_taken(tx, {"slug": slug}, but_id=0)
    row = {
        "uuid": uuid or fresh_uuid(now_ms),
        "organization_id": organization_id,
        "name": name,
        "slug": slug,
        "visibility": "public",
        "created_ms": now_ms,
        "modified_ms": now_ms,
        **columns,
    }
    made = tx.insert("project", tuple(row), [tuple(row.values())], returning="id")
    return by_id(tx, made[0]["id"])


def free_project_slug(tx: Tx, name: str) -> str:
    """A slug for a project's name."""
    return free_slug(tx, "project", name, "deleted_ms IS NULL")


def free_name(tx: Tx, organization_id: int, name: str) -> str:
    """The name, with ` (n)` behind it where the organization has it already."""
    sql = "SELECT name FROM project WHERE organization_id = :organization AND deleted_ms IS NULL"
    taken = {row["name"] for row in tx.all(sql, organization=organization_id)}
    tried, number = name, 0
    while tried in taken:
        number += 1
        suffix = f" ({number})"
        stem = name.encode()[: 64 - len(suffix)].decode(errors="ignore")
        tried = stem + suffix
    return tried


def join(tx: Tx, project_id: int, user_id: int, role: Role = Role.MAINTAINER) -> None:
    """Make a user a member."""
    columns = ("project_id", "user_id", "role", "created_ms")
    tx.insert("project_member", columns, [(project_id, user_id, role, tx.now_ms())])


def role_of(tx: Tx, project_id: int, user_id: int) -> Role | None:
    """What a user is in a project by himself, his organization left out."""
    sql = "SELECT role FROM project_member WHERE project_id = :project AND user_id = :user"
    role = tx.value(sql, project=project_id, user=user_id)
    return None if role is None else Role(role)


def visible_to(user_id: int | None, key_project_id: int | None) -> Where:
    """The condition on `p` that a caller may see it: a project key's own, else public ones and those of a member."""
    where = Where()
    if key_project_id is not None:
        where.add("p.id = :key_project", key_project=key_project_id)
    else:
        where.add(
            "(p.visibility = 'public'"
            " OR EXISTS (SELECT 1 FROM project_member x WHERE x.project_id = p.id AND x.user_id = :user)"
            " OR EXISTS (SELECT 1 FROM organization_member x"
            " WHERE x.organization_id = p.organization_id AND x.user_id = :user))",
            user=user_id or 0,
        )
    return where


def private_ids_of(tx: Tx, user_id: int, limit: int) -> frozenset[int]:
    """The private projects that a user may see."""
    where = visible_to(user_id, None)
    where.add("p.visibility <> 'public' AND p.deleted_ms IS NULL")
    rows = tx.all(f"SELECT p.id FROM project p WHERE {where.sql} LIMIT :limit", **where.values, limit=limit)
    return frozenset(row["id"] for row in rows)


def page(tx: Tx, where: Where, page: Page) -> tuple[list[Row], int]:
    """Projects that are not deleted, by name."""
    where.add("p.deleted_ms IS NULL")
    order = f"ORDER BY p.name {page.way}, p.id {page.way} LIMIT :limit OFFSET :offset"
    rows = tx.all(f"{_PROJECT} WHERE {where.sql} {order}", **where.values, **page.values)
    return rows, tx.value(f"SELECT COUNT(*) FROM project p WHERE {where.sql}", **where.values)


def change(tx: Tx, project: Row, changes: Mapping[str, Any]) -> None:
    """Change `name`, `slug`, `url` or `visibility`. Raises `ConflictError` on a taken slug."""
    _refuse_taken(tx, changes, but_id=project["id"])
    columns = "".join(f"{column} = :{column}, " for column in changes)
    tx.run(
        f"UPDATE project SET {columns}modified_ms = :now WHERE id = :id", **changes, now=tx.now_ms(), id=project["id"]
    )


def delete(tx: Tx, project: Row, *, hard: bool) -> None:
    """Hide a project and free its slug; or, `hard`, remove it with everything in it."""
    if hard:
        # Reports first: what they refer to cannot go before them.
        tx.run("DELETE FROM report WHERE project_id = :id", id=project["id"])
        tx.run("DELETE FROM project WHERE id = :id", id=project["id"])
    else:
        tx.run("UPDATE project SET deleted_ms = :now WHERE id = :id", now=tx.now_ms(), id=project["id"])


def _refuse_taken(tx: Tx, wanted: Mapping[str, Any], but_id: int) -> None:
    sql = "SELECT 1 FROM project WHERE slug = :slug AND deleted_ms IS NULL AND id <> :id"
    if wanted.get("slug") is not None and tx.value(sql, slug=wanted["slug"], id=but_id) is not None:
        raise ConflictError(f"slug: there is a project with the slug {wanted['slug']!r} already")


def uuid_taken(tx: Tx, uuid: str) -> bool:
    """Whether a project, deleted or not, has the UUID."""
    return tx.value("SELECT 1 FROM project WHERE uuid = :uuid", uuid=uuid) is not None
