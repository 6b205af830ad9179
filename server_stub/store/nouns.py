"""Branches, testbeds, benchmarks and measures: found by UUID, slug or name, or made, one or thousands at a time.

The four have the same columns for that, so the statements are written once. Names of tables and columns are our own
text; what a client sent is a value. An archived one that is used comes back.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from server_stub.errors import ConflictError, NotFoundError
from server_stub.names import IdKind, NameId, slug_of, unique_slug
from server_stub.store.fresh import fresh_uuids
from server_stub.store.tx import Row, Tx

MISSING_SHOWN_MAX = 3


class Noun(StrEnum):
    """What a project holds, by the name of its table."""

    BRANCH = "branch"
    TESTBED = "testbed"
    BENCHMARK = "benchmark"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Something to make. Where `slug` is None, or is only `preferred` and taken, one is made from the name."""

    name: str
    slug: str | None = None
    preferred: bool = False
    columns: dict[str, Any] = field(default_factory=dict)


def fresh_by_key(wanted: NameId) -> Fresh:
    """What a slug or a name that is not there yet asks for: a slug is its own name."""
    return Fresh(wanted.value, wanted.value if wanted.kind is IdKind.SLUG else None)


def find(tx: Tx, noun: Noun, project_id: int, wanted: NameId) -> Row | None:
    """One of a project, archived or not."""
    sql = f"SELECT * FROM {noun} WHERE project_id = :project AND {wanted.kind} = :value"
    return tx.one(sql, project=project_id, value=wanted.value)


def get(tx: Tx, noun: Noun, project_id: int, wanted: NameId) -> Row:
    """The same; raises `NotFoundError` where there is none."""
    row = find(tx, noun, project_id, wanted)
    if row is None:
        raise NotFoundError(f"there is no {noun} {wanted.value!r} in this project")
    return row


def find_or_make(
    tx: Tx,
    noun: Noun,
    project_id: int,
    wanted: Iterable[NameId],
    fresh: Callable[[NameId], Fresh] = fresh_by_key,
) -> dict[NameId, Row]:
    """All of them, those that are missing made by what `fresh` says. At most nine statements, however many there are.

    Raises `NotFoundError` for a UUID that the project does not have, `ConflictError` where a new one's name is taken.
    """
    every = list(dict.fromkeys(wanted))
    found = find_many(tx, noun, project_id, every)
    _unarchive(tx, noun, found.values())
    missing = [key for key in every if key not in found]
    if missing:
        _refuse_uuids(noun, missing)
        found |= _make_missing(tx, noun, project_id, missing, fresh)
    return found


def find_many(tx: Tx, noun: Noun, project_id: int, wanted: Sequence[NameId]) -> dict[NameId, Row]:
    """Those that are there: one statement for each way of naming them."""
    found: dict[NameId, Row] = {}
    for kind in IdKind:
        values = [key.value for key in wanted if key.kind is kind]
        if values:
            sql = f"SELECT * FROM {noun} WHERE project_id = :project AND {kind} {{any:values}}"
            rows = tx.all(sql, project=project_id, values=values)
            found |= {NameId(kind, row[kind]): row for row in rows}
    return found


def make(tx: Tx, noun: Noun, project_id: int, fresh: Fresh) -> Row:
    """Make one. Raises `ConflictError` where its name or slug is taken."""
    return make_many(tx, noun, project_id, [fresh])[0]


def make_many(tx: Tx, noun: Noun, project_id: int, wanted: Sequence[Fresh]) -> list[Row]:
    """Make several with different names, in one statement beside the checks; rows in the same order."""
    _refuse_taken_names(tx, noun, project_id, wanted)
    slugs = _slugs(tx, noun, project_id, wanted)
    now_ms = tx.now_ms()
    own = ("uuid", "project_id", "name", "slug", "created_ms", "modified_ms")
    columns = (*own, *wanted[0].columns)
    rows = [
        (uuid, project_id, one.name, slug, now_ms, now_ms, *one.columns.values())
        for uuid, one, slug in zip(fresh_uuids(now_ms, len(wanted)), wanted, slugs, strict=True)
    ]
    made = {row["name"]: row for row in tx.insert(noun, columns, rows, returning="*")}
    return [made[one.name] for one in wanted]


def _make_missing(
    tx: Tx, noun: Noun, project_id: int, missing: list[NameId], fresh: Callable[[NameId], Fresh]
) -> dict[NameId, Row]:
    """Two keys may ask for the same new name, such as `Latency` and `latency` of a built-in measure: one is made."""
    asked = {key: fresh(key) for key in missing}
    by_name = {one.name: one for one in asked.values()}
    made = {row["name"]: row for row in make_many(tx, noun, project_id, list(by_name.values()))}
    return {key: made[one.name] for key, one in asked.items()}


def _refuse_uuids(noun: Noun, missing: list[NameId]) -> None:
    unknown = [key.value for key in missing if key.kind is IdKind.UUID]
    if unknown:
        raise NotFoundError(f"there is no {noun} {', '.join(unknown[:MISSING_SHOWN_MAX])} in this project")


def _refuse_taken_names(tx: Tx, noun: Noun, project_id: int, wanted: Sequence[Fresh]) -> None:
    """A key that is a slug found nothing by its slug; another one may still have that name."""
    sql = f"SELECT name, slug FROM {noun} WHERE project_id = :project AND name {{any:names}}"
    taken = tx.one(f"{sql} LIMIT 1", project=project_id, names=[one.name for one in wanted])
    if taken is not None:
        raise ConflictError(f"there is a {noun} named {taken['name']!r} already, with the slug {taken['slug']!r}")


def _slugs(tx: Tx, noun: Noun, project_id: int, wanted: Sequence[Fresh]) -> list[str]:
    """A slug for each: the one asked for, else one made from the name, different from all that are taken."""
    candidates = [one.slug or slug_of(one.name) for one in wanted]
    sql = f"SELECT slug FROM {noun} WHERE project_id = :project AND slug {{any:slugs}}"
    taken = {row["slug"] for row in tx.all(sql, project=project_id, slugs=candidates)}
    # Slugs that were asked for go first: one made from a name gives way to them.
    demanded = {one.slug for one in wanted if one.slug is not None and not one.preferred}
    if clash := demanded & taken:
        raise ConflictError(f"slug: there is a {noun} with the slug {min(clash)!r} already")
    taken |= demanded
    now_s = tx.now_ms() // 1000
    return [_slug(one, taken, now_s) for one in wanted]


def _slug(one: Fresh, taken: set[str], now_s: int) -> str:
    if one.slug is not None and not one.preferred:
        return one.slug
    slug = unique_slug(one.slug or one.name, taken, now_s, secrets.randbelow)
    taken.add(slug)
    return slug


def _unarchive(tx: Tx, noun: Noun, rows: Iterable[Row]) -> None:
    archived = [row for row in rows if row["archived_ms"] is not None]
    if archived:
        now_ms = tx.now_ms()
        sql = f"UPDATE {noun} SET archived_ms = NULL, modified_ms = :now WHERE id {{any:ids}}"
        tx.run(sql, now=now_ms, ids=[row["id"] for row in archived])
        for row in archived:
            row |= {"archived_ms": None, "modified_ms": now_ms}
