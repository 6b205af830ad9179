"""Plots that are pinned to a project, in their order from 0 on without gaps."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from server_stub.errors import LimitError, NotFoundError
from server_stub.queries import PlotListing, PlotSort
from server_stub.store.fresh import fresh_uuid
from server_stub.store.lists import Part, exactly, find_in, part
from server_stub.store.paging import Where
from server_stub.store.tx import Row, Tx

PLOTS_MAX = 64
"""Of a project."""


def page(tx: Tx, project_id: int, query: PlotListing) -> Part:
    """Plots in their order, or by title."""
    where = Where()
    where.add("project_id = :project", project=project_id)
    exactly(where, "title", query.title)
    find_in(where, query.search, "title", "uuid")
    wanted = query.part()
    column = "position" if query.sort is PlotSort.INDEX else "title"
    return part(tx, "*", "plot", where, f"{column} {wanted.way}, id {wanted.way}", wanted)


def get(tx: Tx, project_id: int, uuid: UUID) -> Row:
    """One plot. Raises `NotFoundError`."""
    row = tx.one("SELECT * FROM plot WHERE uuid = :uuid AND project_id = :project", uuid=str(uuid), project=project_id)
    if row is None:
        raise NotFoundError(f"there is no plot {uuid} in this project")
    return row


def create(tx: Tx, project_id: int, at: int, columns: Mapping[str, Any], elements: Mapping[str, Sequence[str]]) -> Row:
    """Make a plot at a place of the order. Raises `LimitError` where the project has as many as it may."""
    order = _order(tx, project_id)
    if len(order) >= PLOTS_MAX:
        raise LimitError(f"a project may have at most {PLOTS_MAX} plots")
    now_ms = tx.now_ms()
    row = {
        "uuid": fresh_uuid(now_ms),
        "project_id": project_id,
        "position": len(order),
        **columns,
        "elements": json.dumps(elements),
        "created_ms": now_ms,
        "modified_ms": now_ms,
    }
    made = tx.insert("plot", tuple(row), [tuple(row.values())], returning="*")[0]
    _place(tx, order, made["id"], at)
    return made


def change(tx: Tx, plot: Row, values: Mapping[str, Any], at: int | None) -> None:
    """Change columns of a plot, and its place in the order."""
    columns = "".join(f"{column} = :{column}, " for column in values)
    tx.run(f"UPDATE plot SET {columns}modified_ms = :now WHERE id = :id", **values, now=tx.now_ms(), id=plot["id"])
    if at is not None:
        _place(tx, [one for one in _order(tx, plot["project_id"]) if one != plot["id"]], plot["id"], at)


def delete(tx: Tx, plot: Row) -> None:
    """Delete a plot; those behind it move up."""
    tx.run("DELETE FROM plot WHERE id = :id", id=plot["id"])
    tx.run(
        "UPDATE plot SET position = position - 1 WHERE project_id = :project AND position > :position",
        project=plot["project_id"],
        position=plot["position"],
    )


def _order(tx: Tx, project_id: int) -> list[int]:
    rows = tx.all("SELECT id FROM plot WHERE project_id = :project ORDER BY position, id", project=project_id)
    return [row["id"] for row in rows]


def _place(tx: Tx, others: list[int], plot_id: int, at: int) -> None:
    """Put one plot among the others; there are few, so each is written."""
    for position, one in enumerate([*others[:at], plot_id, *others[at:]]):
        tx.run("UPDATE plot SET position = :position WHERE id = :id", position=position, id=one)
