"""Heads of branches and their history: versions of their own, and ranges taken over from a start point.

A version belongs to the head that made it. What another head takes over is a range of version ids in `head_lineage`,
so that a new head on ten thousand versions costs a few rows. Within a head's lineage a greater id is a greater number.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from server_stub.branches import StartPoint
from server_stub.names import NameId
from server_stub.store.fresh import fresh_uuid
from server_stub.store.tx import Row, Tx

OPEN_END = 2**62
"""Last version of a head's own range: it grows."""

# A head with what it began from, as it is shown.
_HEAD = (
    "SELECT h.*, b.uuid AS start_branch, s.uuid AS start_head, v.number AS start_number, v.hash AS start_hash"
    " FROM head h LEFT JOIN head s ON s.id = h.start_head_id LEFT JOIN branch b ON b.id = s.branch_id"
    " LEFT JOIN version v ON v.id = h.start_version_id"
)
_LINEAGE = (
    " FROM head_lineage l JOIN version v ON v.head_id = l.origin_head_id"
    " AND v.id BETWEEN l.first_version_id AND l.last_version_id WHERE l.head_id = :head"
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A start point that was found: a version in the history of a branch's current head."""

    branch_id: int
    branch_uuid: str
    head_id: int
    version_id: int
    hash: str | None

    @property
    def start_point(self) -> StartPoint:
        """What of it bears on the decision."""
        return StartPoint(UUID(self.branch_uuid), self.hash)


def shown(tx: Tx, head_id: int) -> Row:
    """A head with `start_branch`, `start_head`, `start_number` and `start_hash` beside its own columns."""
    row = tx.one(f"{_HEAD} WHERE h.id = :id", id=head_id)
    assert row is not None, "a head stays as long as anything that refers to it"
    return row


def shown_many(tx: Tx, head_ids: list[int]) -> dict[int, Row]:
    """The same of many, by id."""
    return {row["id"]: row for row in tx.all(f"{_HEAD} WHERE h.id {{any:ids}}", ids=head_ids)}


def resolve(tx: Tx, project_id: int, wanted: NameId, commit: str | None) -> Resolved | None:
    """Where a start point leads: the newest version with that hash, else the newest of all; None where nowhere."""
    sql = f"SELECT id, uuid, head_id FROM branch WHERE project_id = :project AND {wanted.kind} = :value"
    branch = tx.one(sql, project=project_id, value=wanted.value)
    if branch is None or branch["head_id"] is None:
        return None
    version = _newest_of(tx, branch["head_id"], commit) or newest(tx, branch["head_id"])
    if version is None:
        return None
    return Resolved(branch["id"], branch["uuid"], branch["head_id"], version["id"], version["hash"])


def newest(tx: Tx, head_id: int) -> Row | None:
    """The newest version in a head's history. Looks at one version of each range, however long the history is."""
    return tx.one(
        "SELECT * FROM version WHERE id = (SELECT MAX(ranged.id) FROM (SELECT (SELECT MAX(v.id) FROM version v"
        " WHERE v.head_id = l.origin_head_id AND v.id BETWEEN l.first_version_id AND l.last_version_id) AS id"
        " FROM head_lineage l WHERE l.head_id = :head) AS ranged)",
        head=head_id,
    )


def _newest_of(tx: Tx, head_id: int, commit: str | None) -> Row | None:
    if commit is None:
        return None
    return tx.one(f"SELECT v.*{_LINEAGE} AND v.hash = :hash ORDER BY v.id DESC LIMIT 1", head=head_id, hash=commit)


def create(tx: Tx, branch_id: int, start: Resolved | None, max_versions: int) -> Row:
    """Make a head the current one of its branch, with the newest `max_versions` versions up to its start point."""
    now_ms = tx.now_ms()
    row: dict[str, Any] = {
        "uuid": fresh_uuid(now_ms),
        "branch_id": branch_id,
        "start_head_id": start and start.head_id,
        "start_version_id": start and start.version_id,
        "created_ms": now_ms,
    }
    head = tx.insert("head", tuple(row), [tuple(row.values())], returning="*")[0]
    ranges = [(head["id"], 0, OPEN_END)]
    if start is not None and max_versions:
        ranges += _ranges(tx, start, max_versions)
    columns = ("head_id", "position", "origin_head_id", "first_version_id", "last_version_id")
    tx.insert("head_lineage", columns, [(head["id"], position, *one) for position, one in enumerate(ranges)])
    tx.run(
        "UPDATE branch SET head_id = :head, modified_ms = :now WHERE id = :id",
        head=head["id"],
        now=now_ms,
        id=branch_id,
    )
    return head


def _ranges(tx: Tx, start: Resolved, max_versions: int) -> list[tuple[int, int, int]]:
    """The ranges of the start point's history that a new head takes over, newest first."""
    rows = tx.all(
        f"SELECT origin, MIN(id) AS first, MAX(id) AS last FROM (SELECT v.head_id AS origin, v.id{_LINEAGE}"
        " AND v.id <= :last ORDER BY v.id DESC LIMIT :count) AS taken GROUP BY origin ORDER BY MAX(id) DESC",
        head=start.head_id,
        last=start.version_id,
        count=max_versions,
    )
    return [(row["origin"], row["first"], row["last"]) for row in rows]


def retire(tx: Tx, head_id: int) -> None:
    """A newer head takes a head's place: it is marked replaced, and all its alerts fall silent."""
    now_ms = tx.now_ms()
    tx.run("UPDATE head SET replaced_ms = :now WHERE id = :id", now=now_ms, id=head_id)
    tx.run(
        "UPDATE alert SET status = 'silenced', modified_ms = :now WHERE status <> 'silenced'"
        " AND report_id IN (SELECT id FROM report WHERE head_id = :id)",
        now=now_ms,
        id=head_id,
    )


def lineage(tx: Tx, head_id: int) -> list[Row]:
    """The ranges of a head's history, its own first."""
    return tx.all("SELECT * FROM head_lineage WHERE head_id = :head ORDER BY position", head=head_id)


def version_for(tx: Tx, head_id: int, commit: str | None) -> int:
    """The version of a new report: that of an earlier one of this head with the same hash, else the next.

    The project must be locked: two reports at once would get one number.
    """
    if commit is not None:
        sql = "SELECT id FROM version WHERE head_id = :head AND hash = :hash ORDER BY id DESC LIMIT 1"
        known: int | None = tx.value(sql, head=head_id, hash=commit)
        if known is not None:
            return known
    before = newest(tx, head_id)
    number = 0 if before is None else before["number"] + 1
    version_id: int = tx.insert("version", ("head_id", "number", "hash"), [(head_id, number, commit)], returning="id")[
        0
    ]["id"]
    return version_id


def drop_version_if_unused(tx: Tx, version_id: int) -> None:
    """Delete a version that has no report any more: in every history that had it, later ones count one less."""
    if tx.value("SELECT 1 FROM report WHERE version_id = :id LIMIT 1", id=version_id) is not None:
        return
    tx.run(
        "UPDATE version SET number = number - 1 WHERE id IN (SELECT v.id FROM version dead"
        " JOIN head_lineage mine ON mine.origin_head_id = dead.head_id"
        " AND dead.id BETWEEN mine.first_version_id AND mine.last_version_id"
        " JOIN head_lineage l ON l.head_id = mine.head_id"
        " JOIN version v ON v.head_id = l.origin_head_id AND v.id BETWEEN l.first_version_id AND l.last_version_id"
        " WHERE dead.id = :id AND v.id > dead.id)",
        id=version_id,
    )
    tx.run("UPDATE head SET start_head_id = NULL, start_version_id = NULL WHERE start_version_id = :id", id=version_id)
    tx.run("DELETE FROM version WHERE id = :id", id=version_id)
