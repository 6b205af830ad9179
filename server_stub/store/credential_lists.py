"""Keys of projects and tokens of users: listed, found and renamed. How they are made and looked up is `accounts`."""

from typing import Literal
from uuid import UUID

from server_stub.errors import NotFoundError
from server_stub.queries import KeyListing, KeySort
from server_stub.store.lists import Part, exactly, find_in, part
from server_stub.store.paging import Where
from server_stub.store.tx import Row, Tx

Table = Literal["project_key", "user_token"]
_OWNER = {"project_key": "project_id", "user_token": "user_id"}


def page(tx: Tx, table: Table, owner_id: int, query: KeyListing) -> Part:
    """Those of one project or user, by name or age."""
    where = Where()
    where.add(f"{_OWNER[table]} = :owner", owner=owner_id)
    where.add(f"revoked_ms IS {'NOT ' if query.revoked else ''}NULL")
    exactly(where, "name", query.name)
    find_in(where, query.search, "name", "uuid")
    wanted = query.part()
    column = "name" if query.sort is KeySort.NAME else "created_ms"
    return part(tx, "*", table, where, f"{column} {wanted.way}, id {wanted.way}", wanted)


def get(tx: Tx, table: Table, owner_id: int, uuid: UUID) -> Row:
    """One of them, revoked or not. Raises `NotFoundError`."""
    row = tx.one(
        f"SELECT * FROM {table} WHERE uuid = :uuid AND {_OWNER[table]} = :owner", uuid=str(uuid), owner=owner_id
    )
    if row is None:
        raise NotFoundError(f"there is no {table.replace('_', ' ')} {uuid}")
    return row


def rename(tx: Tx, table: Table, row: Row, name: str) -> Row:
    """Give one another name."""
    tx.run(f"UPDATE {table} SET name = :name WHERE id = :id", name=name, id=row["id"])
    return row | {"name": name}
