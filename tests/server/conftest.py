"""Both databases for every test that asks for one: SQLite in a file, and a real PostgreSQL from Debian's package."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from postgresql_server import PostgresServer

from server_stub.app import create_app
from server_stub.settings import Settings
from server_stub.store.database import Database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session, on a free loopback port."""
    with PostgresServer.started() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'bench.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgresql")
    with server.fresh_database() as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database with the newest schema."""
    database = Database.open(database_url)
    yield database
    database.close()


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def api(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application, in this process, on each database in turn."""
    app = create_app(database, Settings())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            yield client
