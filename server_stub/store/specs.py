"""Specs: the classes of machine that jobs ask for and runners offer, global to the server. At most one is fallback."""

from collections.abc import Mapping
from typing import Any

from server_stub.edits import NewSpec
from server_stub.errors import ConflictError, NotFoundError
from server_stub.queries import MachineListing
from server_stub.store.fresh import free_slug, fresh_uuid
from server_stub.store.lists import Part, machines
from server_stub.store.tx import Row, Tx


def create(tx: Tx, body: NewSpec) -> Row:
    """Make a spec. Raises `ConflictError` on a taken name or slug."""
    now_ms = tx.now_ms()
    _refuse_taken(tx, {"name": body.name, "slug": body.slug}, but_id=0)
    if body.fallback:
        _clear_fallback(tx)
    row: dict[str, Any] = {
        "uuid": fresh_uuid(now_ms),
        "name": body.name,
        "slug": body.slug or free_slug(tx, "spec", body.name),
        "os": body.os,
        "architecture": body.architecture,
        "sandbox": body.sandbox,
        "cpu": body.cpu,
        "memory": body.memory,
        "disk": body.disk,
        "network": body.network,
        "fallback_ms": now_ms if body.fallback else None,
        "created_ms": now_ms,
        "modified_ms": now_ms,
    }
    made = tx.insert("spec", tuple(row), [tuple(row.values())], returning="id")
    return row | {"id": made[0]["id"], "archived_ms": None}


def find(tx: Tx, named: str) -> Row:
    """A spec's row by its UUID or slug. Raises `NotFoundError`."""
    row = tx.one("SELECT * FROM spec WHERE uuid = :named OR slug = :named", named=named.lower())
    if row is None:
        raise NotFoundError(f"there is no spec {named!r}")
    return row


def by_id(tx: Tx, spec_id: int) -> Row:
    """The row of a spec that a job or a report refers to."""
    row = tx.one("SELECT * FROM spec WHERE id = :id", id=spec_id)
    assert row is not None, "a spec that something refers to cannot be deleted"
    return row


def everything(tx: Tx) -> list[Row]:
    """All specs that are not archived, by name."""
    return tx.all("SELECT * FROM spec WHERE archived_ms IS NULL ORDER BY name")


def page(tx: Tx, query: MachineListing) -> Part:
    """One page of specs, and how many there are."""
    return machines(tx, "spec", query)


def update(tx: Tx, spec: Row, changes: Mapping[str, Any]) -> Row:
    """Change a spec: `name`, `slug`, `fallback` and `archived` (true or false)."""
    now_ms = tx.now_ms()
    _refuse_taken(tx, changes, but_id=spec["id"])
    values = {name: changes[name] for name in ("name", "slug") if changes.get(name) is not None}
    for name in ("fallback", "archived"):
        if changes.get(name) is not None:
            values[f"{name}_ms"] = (spec[f"{name}_ms"] or now_ms) if changes[name] else None
    if values.get("fallback_ms"):
        _clear_fallback(tx)
    if values.get("archived_ms"):
        values["fallback_ms"] = None
        tx.run("UPDATE testbed SET spec_id = NULL WHERE spec_id = :id", id=spec["id"])
    columns = "".join(f"{column} = :{column}, " for column in values)
    tx.run(f"UPDATE spec SET {columns}modified_ms = :now WHERE id = :id", **values, now=now_ms, id=spec["id"])
    return spec | values | {"modified_ms": now_ms}


def delete(tx: Tx, spec: Row) -> None:
    """Delete a spec. Raises `ConflictError` where a runner, a job, a testbed or a report refers to it."""
    tx.run("DELETE FROM spec WHERE id = :id", id=spec["id"])


def _clear_fallback(tx: Tx) -> None:
    tx.run("UPDATE spec SET fallback_ms = NULL WHERE fallback_ms IS NOT NULL")


def _refuse_taken(tx: Tx, wanted: Mapping[str, Any], but_id: int) -> None:
    for column in ("name", "slug"):
        sql = f"SELECT 1 FROM spec WHERE {column} = :value AND id <> :id"
        if wanted.get(column) is not None and tx.value(sql, value=wanted[column], id=but_id):
            raise ConflictError(f"{column}: a spec has the {column} {wanted[column]!r} already")
