"""Runners: who they are, which jobs they may take, and whether they are drained."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from runner_protocol.jobs import Spec
from server_stub.edits import RunnerChange
from server_stub.errors import ConflictError, NotFoundError
from server_stub.store.fresh import free_slug, fresh_uuid
from server_stub.store.runner_keys import add_key, drop_keys
from server_stub.store.tx import Row, Tx

CHANGED = "runner_changed"
"""Channel: a runner was drained, resumed, removed, or given or denied a spec. Payload: its id."""


def create(tx: Tx, name: str, slug: str | None = None) -> tuple[UUID, str]:
    """Make a runner; return its UUID and its key, which is never shown again. A taken slug is a `ConflictError`."""
    now_ms = tx.now_ms()
    if slug is not None and tx.value("SELECT 1 FROM runner WHERE slug = :slug", slug=slug):
        raise ConflictError(f"slug: a runner has the slug {slug!r} already")
    uuid, chosen = fresh_uuid(now_ms), slug or free_slug(tx, "runner", name)
    columns = ("uuid", "name", "slug", "created_ms", "modified_ms")
    made = tx.insert("runner", columns, [(uuid, name, chosen, now_ms, now_ms)], returning="id")
    return UUID(uuid), add_key(tx, made[0]["id"])


def find(tx: Tx, named: str, *, by_name: bool = False) -> Row:
    """A runner's row by its UUID or slug (or, for a person who types it, by its name). Raises `NotFoundError`.

    A removed runner keeps its slug, and gives way to one that bears the same word as its name.
    """
    row = tx.one("SELECT * FROM runner WHERE uuid = :named OR slug = :named", named=named.lower())
    if by_name and (row is None or row["archived_ms"] is not None):
        living = "SELECT * FROM runner WHERE name = :named AND archived_ms IS NULL ORDER BY id"
        row = tx.one(living, named=named) or row
    if row is None:
        raise NotFoundError(f"there is no runner {named!r}")
    return row


def rotate_key(tx: Tx, runner: Row, overlap_ms: int) -> str:
    """A new key; the old one stays valid for `overlap_ms`. Raises `ConflictError` for a removed runner."""
    _refuse_archived(runner)
    return add_key(tx, runner["id"], overlap_ms=overlap_ms)


def update(tx: Tx, runner: Row, changes: Mapping[str, Any]) -> None:
    """Change columns of a runner, and let whoever serves its poll look again."""
    columns = "".join(f"{column} = :{column}, " for column in changes)
    tx.run(f"UPDATE runner SET {columns}modified_ms = :now WHERE id = :id", **changes, now=tx.now_ms(), id=runner["id"])
    tx.notify(CHANGED, str(runner["id"]))


def change(tx: Tx, runner: Row, body: RunnerChange) -> None:
    """Rename, archive or bring back. Raises `ConflictError` on a taken slug."""
    changes: dict[str, Any] = {name: value for name in ("name", "slug") if (value := getattr(body, name)) is not None}
    taken = "SELECT 1 FROM runner WHERE slug = :slug AND id <> :id"
    if body.slug is not None and tx.value(taken, slug=body.slug, id=runner["id"]):
        raise ConflictError(f"slug: a runner has the slug {body.slug!r} already")
    if body.archived is not None:
        changes["archived_ms"] = (runner["archived_ms"] or tx.now_ms()) if body.archived else None
    update(tx, runner, changes)


def drain(tx: Tx, runner: Row, reason: str | None) -> None:
    """Let a runner finish what it holds and hand it nothing more. Raises `ConflictError` for a removed runner."""
    _refuse_archived(runner)
    update(tx, runner, {"drained_ms": runner["drained_ms"] or tx.now_ms(), "drain_reason": reason})


def resume(tx: Tx, runner: Row) -> None:
    """Hand a drained runner work again. Raises `ConflictError` for a removed runner."""
    _refuse_archived(runner)
    update(tx, runner, {"drained_ms": None, "drain_reason": None})


def archive(tx: Tx, runner: Row) -> None:
    """Take a runner out for good: its keys are worthless from now on, and its call for work is refused.

    Raises `ConflictError` where that was done before.
    """
    _refuse_archived(runner)
    drop_keys(tx, runner["id"])
    update(tx, runner, {"archived_ms": tx.now_ms()})


def add_spec(tx: Tx, runner: Row, spec_id: int) -> None:
    """Let a runner take jobs of a spec. Raises `ConflictError` where it may already, and for a removed runner."""
    _refuse_archived(runner)
    if spec_id in spec_ids(tx, runner["id"]):
        raise ConflictError(f"runner {runner['slug']} holds that spec already")
    tx.insert("runner_spec", ("runner_id", "spec_id"), [(runner["id"], spec_id)])
    tx.notify(CHANGED, str(runner["id"]))


def drop_spec(tx: Tx, runner: Row, spec_id: int) -> None:
    """Take a spec away. Raises `NotFoundError` where the runner does not hold it, `ConflictError` for a removed one."""
    _refuse_archived(runner)
    sql = "DELETE FROM runner_spec WHERE runner_id = :runner AND spec_id = :spec"
    if not tx.run(sql, runner=runner["id"], spec=spec_id):
        raise NotFoundError(f"runner {runner['slug']} does not hold that spec")
    tx.notify(CHANGED, str(runner["id"]))


def spec_ids(tx: Tx, runner_id: int) -> list[int]:
    """The specs that a runner takes jobs of."""
    rows = tx.all("SELECT spec_id FROM runner_spec WHERE runner_id = :runner ORDER BY spec_id", runner=runner_id)
    return [row["spec_id"] for row in rows]


def spec_uuids(tx: Tx, runner_id: int) -> list[str]:
    """The same, as the API names them."""
    sql = "SELECT s.uuid FROM runner_spec x JOIN spec s ON s.id = x.spec_id WHERE x.runner_id = :runner ORDER BY s.uuid"
    return [row["uuid"] for row in tx.all(sql, runner=runner_id)]


def spec_slugs(tx: Tx, runner_id: int) -> list[str]:
    """The same, as people call them."""
    sql = "SELECT s.slug FROM runner_spec x JOIN spec s ON s.id = x.spec_id WHERE x.runner_id = :runner ORDER BY s.slug"
    return [row["slug"] for row in tx.all(sql, runner=runner_id)]


def wire_spec(row: Row, prefix: str = "") -> Spec:
    """A spec as the agent reads it, from its row, or from one where the names of its columns begin with `prefix`."""
    members = {name: row[prefix + name] for name in Spec.model_fields}
    return Spec.model_validate(members | {"network": bool(members["network"])})


def _refuse_archived(runner: Row) -> None:
    if runner["archived_ms"] is not None:
        raise ConflictError(f"runner {runner['slug']} is archived")
