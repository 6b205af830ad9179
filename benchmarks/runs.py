"""How many runs a second the server takes in, by their size, and whether history slows them down.

Each run is `POST /v0/run` in this process, through the whole application and durable when answered: SQLite in a file
with its default sync, PostgreSQL as started by the tests (without sync). A run has two measures, each with a t-test
threshold over the newest 64 values. History is put in place by SQL: each report has a value of every series.

    python benchmarks/runs.py [--postgresql] [--seconds 5]
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from postgresql_server import PostgresServer

from server_stub.app import create_app
from server_stub.settings import Settings
from server_stub.store.database import Database
from server_stub.store.fresh import fresh_uuids
from server_stub.store.tx import Tx

SIZES = (1, 100, 1000)
HISTORY = (10, 100, 1000, 10_000)
HISTORY_BENCHMARKS = 100
LENGTHEN_S_MAX = 1200.0
SAMPLE = 64
MODELS = {key: {"test": "t_test", "upper_boundary": 0.999, "max_sample_size": SAMPLE} for key in ("latency", "hits")}
COPIED = (
    "iteration, benchmark_id, measure_id, value, lower_value, upper_value, model_id, baseline, lower_limit,"
    " upper_limit, testbed_id, head_id, spec_id, start_s"
)


def body(benchmarks: int, number: int) -> dict[str, Any]:
    """A run of that many benchmarks."""
    values = {
        f"bench {n}": {"latency": {"value": 100 + (n + number) % 7}, "hits": {"value": 5.0}} for n in range(benchmarks)
    }
    return {
        "project": "demo",
        "context": {},
        "start_time": "2024-05-01T10:00:00Z",
        "end_time": "2024-05-01T10:00:00Z",
        "thresholds": {"models": MODELS},
        "results": [json.dumps(values)],
    }


@asynccontextmanager
async def client_of(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application on a database."""
    app = create_app(database, Settings())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server", timeout=120)
    async with app.router.lifespan_context(app), client:
        yield client


async def measure(api: httpx.AsyncClient, benchmarks: int, seconds: float) -> tuple[float, float]:
    """The median length of a run in milliseconds, one after the other, and how many a second that is."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 3:
        begun = time.perf_counter()
        answer = await api.post("/v0/run", json=body(benchmarks, len(took)))
        answer.raise_for_status()
        took.append(time.perf_counter() - begun)
    return median(took) * 1000, 1 / median(took)


def lengthen(tx: Tx, reports: int) -> None:
    """Repeat the newest report until there are that many: each with a version and metrics of its own."""
    missing = reports - tx.value("SELECT COUNT(*) FROM report")
    last = tx.one("SELECT * FROM report ORDER BY id DESC LIMIT 1")
    assert last is not None
    for _ in range(missing):
        number = tx.value("SELECT MAX(number) FROM version") + 1
        version = tx.insert("version", ("head_id", "number"), [(last["head_id"], number)], returning="id")[0]["id"]
        new = {k: v for k, v in last.items() if k != "id"} | {
            "version_id": version,
            "uuid": fresh_uuids(tx.now_ms(), 1)[0],
        }
        report = tx.insert("report", tuple(new), [tuple(new.values())], returning="id")[0]["id"]
        tx.run(
            f"INSERT INTO metric (uuid, report_id, version_id, {COPIED}) SELECT :stem || CAST(id AS TEXT),"
            f" CAST(:report AS BIGINT), CAST(:version AS BIGINT), {COPIED} FROM metric WHERE report_id = :last",
            stem=secrets.token_hex(8),
            report=report,
            version=version,
            last=last["id"],
        )


async def by_size(url: str, seconds: float) -> None:
    """Print runs a second for each size, each on a database of its own size of history."""
    database = Database.open(url)
    async with client_of(database) as api:
        for size in SIZES:
            took_ms, rate = await measure(api, size, seconds)
            print(f"  {size:5} benchmarks x 2 measures: {took_ms:8.1f} ms a run, {rate:7.1f} runs/s", flush=True)
    database.close()


async def by_history(url: str, seconds: float) -> None:
    """Print the same for one size and more and more history."""
    database = Database.open(url)
    database.answer_s_max = LENGTHEN_S_MAX
    async with client_of(database) as api:
        await measure(api, HISTORY_BENCHMARKS, 0)
        for reports in HISTORY:
            await database.write(lambda tx, reports=reports: lengthen(tx, reports))  # type: ignore[misc]
            took_ms, rate = await measure(api, HISTORY_BENCHMARKS, seconds)
            sized = f"{HISTORY_BENCHMARKS} benchmarks x 2 measures, {reports:6} reports of history"
            print(f"  {sized}: {took_ms:8.1f} ms a run, {rate:7.1f} runs/s", flush=True)
    database.close()


@contextmanager
def databases(postgresql: bool) -> Iterator[tuple[str, str]]:
    """URLs of two empty databases."""
    if postgresql:
        with PostgresServer.started() as server, server.fresh_database() as one, server.fresh_database() as two:
            yield one, two
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/one.db", f"sqlite:///{folder}/two.db"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with databases(options.postgresql) as (one, two):
        print("PostgreSQL" if options.postgresql else "SQLite")
        asyncio.run(by_size(one, options.seconds))
        asyncio.run(by_history(two, options.seconds))


if __name__ == "__main__":
    main()
