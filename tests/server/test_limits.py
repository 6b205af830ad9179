"""What a server may be told to bound: how much is made in a project within a day."""

from collections.abc import AsyncIterator

import httpx
import pytest
from server_runs import PROJECT, TIMES, bmf, everything, latency, refused, run, sign_in

from server_stub.app import create_app
from server_stub.settings import Settings
from server_stub.store.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bounded(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that takes two new things of a kind a day where anybody may write, and three elsewhere."""
    app = create_app(database, Settings(unclaimed_per_day_max=2, claimed_per_day_max=3, sweep_s=60))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    async with app.router.lifespan_context(app), client:
        yield client


async def test_a_day_has_so_many_reports_and_a_run_beyond_them_leaves_nothing(
    bounded: httpx.AsyncClient, database: Database
) -> None:
    for value in (1, 2):
        await run(bounded, latency(value))
    before = await everything(database)
    message = await refused(bounded, 429, latency(3), branch="new", testbed="new")
    assert message == "project demo: no more than 2 new of a kind a day, here: report"
    assert await everything(database) == before
    await database.write(lambda tx: tx.run("UPDATE report SET created_ms = created_ms - 86400001"))
    await run(bounded, latency(3))


async def test_benchmarks_count_like_everything_that_is_made(bounded: httpx.AsyncClient, database: Database) -> None:
    message = await refused(bounded, 429, bmf(a={"latency": 1}, b={"latency": 1}, c={"latency": 1}))
    assert message.endswith("here: benchmark")
    assert await everything(database) == dict.fromkeys(await everything(database), 0)


async def test_a_claimed_project_has_a_bound_of_its_own(bounded: httpx.AsyncClient, database: Database) -> None:
    await sign_in(database, bounded)
    for value in (1, 2, 3):
        await run(bounded, latency(value))
    assert (await refused(bounded, 429, latency(4))).startswith("project demo: no more than 3 new")
    body = {"branch": "main", "testbed": "localhost", "results": [], **TIMES}
    assert (await bounded.post(f"{PROJECT}/reports", json=body)).status_code == 429
