"""A database of the first schema comes up to date with everything that was in it, and is then like a new one."""

from typing import Any

import pytest
from queue_world import new_job, new_project, new_report, new_spec

from server_stub.store.database import Database
from server_stub.store.migrate import migrate, migrations
from server_stub.store.tx import Tx

METRIC = (
    "uuid",
    "report_id",
    "iteration",
    "benchmark_id",
    "measure_id",
    "value",
    "testbed_id",
    "head_id",
    "version_id",
)


def filled(tx: Tx) -> None:
    """A report with a metric, as the first schema has them."""
    project = new_project(tx)[1]
    report = tx.one("SELECT * FROM report WHERE id = :id", id=new_report(tx, project))
    assert report is not None
    named = ("uuid", "project_id", "name", "slug", "created_ms", "modified_ms")
    benchmark = tx.insert("benchmark", named, [("b", project, "parse", "parse", 1, 1)], returning="id")[0]["id"]
    row = ("m", project, "Latency", "latency", 1, 1, "nanoseconds (ns)")
    measure = tx.insert("measure", (*named, "units"), [row], returning="id")[0]["id"]
    place = (report["testbed_id"], report["head_id"], report["version_id"], report["start_s"])
    tx.insert("metric", (*METRIC, "start_s"), [("x", report["id"], 0, benchmark, measure, 0.1, *place)])


def contents(tx: Tx) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables that the first schema has data in."""
    tables = (
        "organization",
        "project",
        "branch",
        "testbed",
        "benchmark",
        "measure",
        "head",
        "version",
        "report",
        "metric",
    )
    return {table: tx.all(f"SELECT * FROM {table} ORDER BY id") for table in tables}


def shape(tx: Tx) -> list[dict[str, Any]]:
    """Every table with its columns, and every index with what it holds."""
    if tx.dialect == "sqlite":
        return tx.all("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    columns = "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
    own = "table_schema = 'public' ORDER BY table_name, ordinal_position"
    return [
        *tx.all(f"{columns} WHERE {own}"),
        *tx.all("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"),
    ]


@pytest.mark.anyio
async def test_each_schema_becomes_the_newest_with_its_data(database_url: str, database: Database) -> None:
    old = Database.open(database_url, migrated=False)
    await old.write(lambda tx: migrate(tx, up_to=1))
    await old.write(filled)
    before = await old.read(contents)
    assert all(before.values())
    for migration in migrations()[1:]:
        done = await old.write(lambda tx, number=migration.number: migrate(tx, up_to=number))  # type: ignore[misc]
        assert done == [f"{migration.number:04}_{migration.name}"]
    after = await old.read(contents)
    kept = {
        table: [{name: row[name] for name in was} for was, row in zip(rows, after[table], strict=True)]
        for table, rows in before.items()
    }
    assert kept == before
    assert await old.read(shape) == await database.read(shape)
    spec = await old.write(new_spec)
    job = await old.write(lambda tx: new_job(tx, (after["organization"][0]["id"], after["project"][0]["id"]), spec))
    assert await old.read(lambda tx: tx.value("SELECT uuid FROM job")) == str(job)
    old.close()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=pytest.mark.postgres)])
async def test_what_is_rewritten_has_room_in_its_pages(database: Database) -> None:
    """PostgreSQL's heap-only tuples need it; SQLite rewrites in place."""
    options = "SELECT relname FROM pg_class WHERE reloptions = '{fillfactor=70}' ORDER BY relname"
    rows = await database.read(lambda tx: tx.all(options))
    assert [row["relname"] for row in rows] == ["job", "job_attempt", "runner_heard"]
