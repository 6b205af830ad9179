"""Counts what was made within the last day, where a server bounds that."""

from server_stub.store.tx import Row, Tx

DAY_MS = 86_400_000
_IN_PROJECT = ("report", "branch", "testbed", "benchmark", "measure", "threshold")
_COUNTS = " UNION ALL ".join(
    [
        f"SELECT '{table}' AS kind, COUNT(*) AS made FROM {table} WHERE project_id = :project AND created_ms >= :since"
        for table in _IN_PROJECT
    ]
    + ["SELECT 'project', COUNT(*) FROM project WHERE organization_id = :organization AND created_ms >= :since"]
)


def most_made(tx: Tx, project: Row) -> tuple[str, int]:
    """Of which kind most was made within 24 hours in a project and its organization, and how many."""
    row = tx.one(
        f"SELECT * FROM ({_COUNTS}) AS counted ORDER BY made DESC, kind LIMIT 1",
        project=project["id"],
        organization=project["organization_id"],
        since=tx.now_ms() - DAY_MS,
    )
    assert row is not None, "a count is there for every kind"
    return row["kind"], row["made"]
