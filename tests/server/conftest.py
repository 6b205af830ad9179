"""Both databases for every test that asks for one: SQLite in a file, and a real PostgreSQL from Debian's package."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from postgresql_server import PostgresServer
from queue_world import World, new_project, new_spec

from server_stub.app import create_app
from server_stub.job_queue import JobQueue
from server_stub.settings import Settings
from server_stub.store.database import Database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the session, on a free loopback port."""
    with PostgresServer.started() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'bench.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgresql")
    with server.fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the newest schema."""
    path = tmp_path_factory.mktemp("template") / "bench.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresServer) -> Iterator[str]:
    """The name of a database with the newest schema."""
    with postgresql.fresh_database() as url:
        Database.open(url).close()
        yield url.rpartition("/")[2]


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with the newest schema and nothing in it, copied from one that was migrated."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "new.db")
            url = f"sqlite:///{path}"
        else:
            server: PostgresServer = request.getfixturevalue("postgresql")
            url = stack.enter_context(server.fresh_database(request.getfixturevalue("postgresql_template")))
        database = Database.open(url, migrated=False)
        yield database
        database.close()


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def api(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application, in this process, on each database in turn."""
    app = create_app(database, Settings(sweep_s=60))  # A sweep at its usual second would be counted as statements.
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            yield client


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    spec = await database.write(new_spec)
    project = await database.write(new_project)
    completed: list[UUID] = []

    async def on_completed(job: UUID) -> None:
        completed.append(job)

    queue = JobQueue(database, Settings(sweep_s=0.05, seen_flush_s=0.2), on_completed)
    async with queue.running():
        world = World(database, queue, spec, project, completed)
        await world.until(lambda: queue.swept is not None)  # It would give time to the leases that tests take away.
        yield world
