"""Changes and deletes branches, testbeds, benchmarks and measures, one at a time."""

from collections.abc import Mapping
from typing import Any

from server_stub.errors import ConflictError
from server_stub.store.nouns import Noun
from server_stub.store.tx import Row, Tx

# Each finds its answer by an index; that of metrics starts with the benchmark.
_USED = {
    Noun.BRANCH: "SELECT 1 FROM report r JOIN head h ON h.id = r.head_id WHERE h.branch_id = :id LIMIT 1",
    Noun.TESTBED: "SELECT 1 FROM report WHERE testbed_id = :id LIMIT 1",
    Noun.BENCHMARK: "SELECT 1 FROM metric WHERE benchmark_id = :id LIMIT 1",
    Noun.MEASURE: (
        "SELECT 1 FROM measure m JOIN benchmark b ON b.project_id = m.project_id JOIN metric x"
        " ON x.benchmark_id = b.id AND x.measure_id = m.id WHERE m.id = :id LIMIT 1"
    ),
}


def change(tx: Tx, noun: Noun, row: Row, changes: Mapping[str, Any]) -> Row:
    """Write `changes` (columns, and `archived` true or false) and the time. Raises `ConflictError` on a taken name."""
    now_ms = tx.now_ms()
    values = dict(changes)
    _refuse_taken(tx, noun, row, values)
    if (archived := values.pop("archived", None)) is not None:
        values["archived_ms"] = (row["archived_ms"] or now_ms) if archived else None
    columns = "".join(f"{column} = :{column}, " for column in values)
    tx.run(f"UPDATE {noun} SET {columns}modified_ms = :now WHERE id = :id", **values, now=now_ms, id=row["id"])
    return row | values | {"modified_ms": now_ms}


def delete(tx: Tx, noun: Noun, row: Row) -> None:
    """Delete one, with its thresholds. Raises `ConflictError` where results refer to it."""
    if tx.value(_USED[noun], id=row["id"]) is not None:
        raise ConflictError(f"{noun} {row['slug']!r} has results: delete their reports first")
    tx.run(f"DELETE FROM {noun} WHERE id = :id", id=row["id"])


def _refuse_taken(tx: Tx, noun: Noun, row: Row, wanted: Mapping[str, Any]) -> None:
    for column in ("name", "slug"):
        sql = f"SELECT 1 FROM {noun} WHERE project_id = :project AND {column} = :value AND id <> :id"
        taken = column in wanted and tx.value(sql, project=row["project_id"], value=wanted[column], id=row["id"])
        if taken:
            raise ConflictError(f"{column}: there is a {noun} with the {column} {wanted[column]!r} already")
