"""The pair on each database in turn."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pairs import Pair, paired
from postgresql_server import PostgresServer

from server_stub.store.database import Database


@pytest.fixture
def anyio_backend() -> str:
    """Both sides run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session, on a free loopback port."""
    with PostgresServer.started() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        yield from opened(f"sqlite:///{tmp_path / 'bench.db'}")
        return
    server: PostgresServer = request.getfixturevalue("postgresql")
    with server.fresh_database() as url:
        yield from opened(url)


def opened(url: str) -> Iterator[Database]:
    database = Database.open(url)
    yield database
    database.close()


@pytest.fixture
async def pair(database: Database) -> AsyncIterator[Pair]:
    """Server, submitter and runner; beats are quick, so that tests are."""
    async with paired(database, heartbeat_s=0.1, lease_s=30, sweep_s=0.1) as pair:
        yield pair
