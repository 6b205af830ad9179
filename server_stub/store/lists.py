"""Reads many rows: a part of a list with its total, and what other rows refer to, by id. One statement each."""

from collections.abc import Iterable
from typing import Literal
from uuid import UUID

from server_stub.queries import MachineListing, MachineSort
from server_stub.store.nouns import Noun
from server_stub.store.paging import Page, Where, like
from server_stub.store.tx import Row, Tx

Part = tuple[list[Row], int]
"""Some rows of a list, and how many the whole list has."""


def by_ids(tx: Tx, table: str, ids: Iterable[int | None]) -> dict[int, Row]:
    """Rows of a table by id; ids that are None are left out."""
    wanted = sorted({one for one in ids if one is not None})
    return (
        {row["id"]: row for row in tx.all(f"SELECT * FROM {table} WHERE id {{any:ids}}", ids=wanted)} if wanted else {}
    )


def part(tx: Tx, select: str, source: str, where: Where, order: str, page: Page) -> Part:
    """Rows of `SELECT … FROM source WHERE … ORDER BY order`, and the total."""
    sql = f"SELECT {select} FROM {source} WHERE {where.sql} ORDER BY {order} LIMIT :limit OFFSET :offset"
    rows = tx.all(sql, **where.values, **page.values)
    return rows, tx.value(f"SELECT COUNT(*) FROM {source} WHERE {where.sql}", **where.values)


def find_in(where: Where, text: str | None, *columns: str) -> None:
    """Ask for rows that hold `text` in one of the columns, in whichever case."""
    if text is not None:
        shown = " OR ".join(f"LOWER({column}) LIKE LOWER(:search) ESCAPE '!'" for column in columns)
        where.add(f"({shown})", search=like(text))


def exactly(where: Where, column: str, value: object) -> None:
    """Ask for a value of a column, where one is wanted."""
    if value is not None:
        where.add(f"{column} = :{column.rpartition('.')[2]}", **{column.rpartition(".")[2]: value})


def nouns(
    tx: Tx, noun: Noun, project_id: int, page: Page, *, name: str | None, search: str | None, archived: bool
) -> Part:
    """Branches, testbeds, benchmarks or measures of a project, by name."""
    where = Where()
    where.add("project_id = :project", project=project_id)
    where.add(f"archived_ms IS {'NOT ' if archived else ''}NULL")
    exactly(where, "name", name)
    find_in(where, search, "name", "slug", "uuid")
    return part(tx, "*", noun, where, f"name {page.way}, id {page.way}", page)


def machines(tx: Tx, table: Literal["runner", "spec"], query: MachineListing) -> Part:
    """Runners or specs, by name or by age."""
    where = Where()
    where.add(f"archived_ms IS {'NOT ' if query.archived else ''}NULL")
    exactly(where, "name", query.name)
    find_in(where, query.search, "name", "slug", "uuid")
    page = query.part()
    column = "created_ms" if query.sort is MachineSort.CREATED else "name"
    return part(tx, "*", table, where, f"{column} {page.way}, id", page)


def rows_of(tx: Tx, noun: Noun, project_id: int, uuids: Iterable[str]) -> dict[str, Row]:
    """Rows of a project's own, by UUID; those of other projects are not there."""
    sql = f"SELECT * FROM {noun} WHERE project_id = :project AND uuid {{any:uuids}}"
    return {row["uuid"]: row for row in tx.all(sql, project=project_id, uuids=list(uuids))}


def ids_by_uuid(tx: Tx, table: str, uuids: Iterable[str]) -> dict[str, int]:
    """The ids of rows of any owner, by UUID; empty ones are left out."""
    wanted = [uuid for uuid in uuids if uuid]
    rows = tx.all(f"SELECT id, uuid FROM {table} WHERE uuid {{any:uuids}}", uuids=wanted) if wanted else []
    return {row["uuid"]: row["id"] for row in rows}


def id_within(tx: Tx, table: str, uuid: UUID, owner: str, owner_id: int) -> int | None:
    """The id of a row that belongs to an owner, by its UUID."""
    sql = f"SELECT id FROM {table} WHERE uuid = :uuid AND {owner} = :owner"
    found: int | None = tx.value(sql, uuid=str(uuid), owner=owner_id)
    return found
