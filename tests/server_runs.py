"""Runs as a client sends them, for the tests of the server."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from server_stub.store import accounts
from server_stub.store.database import Database
from server_stub.store.tx import Row

HASHES = [f"{number:040x}" for number in range(1, 10)]
TIMES = {"start_time": "2024-05-01T10:00:00Z", "end_time": "2024-05-01T10:00:09.500Z"}
CONTEXT = {"bencher.dev/v0/repo/name": "Demo"}
PROJECT = "/v0/projects/demo"


def bmf(**benchmarks: Mapping[str, float]) -> str:
    """A BMF document: benchmark → measure → value."""
    document = {name: {key: {"value": value} for key, value in of.items()} for name, of in benchmarks.items()}
    return json.dumps(document)


def latency(value: float) -> str:
    """One benchmark's latency."""
    return bmf(parse={"latency": value})


def run_body(*results: str, **members: Any) -> dict[str, Any]:
    """A run of the project `demo`, which its context names."""
    return {"context": CONTEXT, "results": list(results), **TIMES, **members}


async def run(api: httpx.AsyncClient, *results: str, **members: Any) -> dict[str, Any]:
    """Send a run that must be taken in; return its report."""
    answer = await api.post("/v0/run", json=run_body(*results, **members))
    assert answer.status_code == 201, answer.text
    report: dict[str, Any] = answer.json()
    return report


async def refused(api: httpx.AsyncClient, status: int, *results: str, **members: Any) -> str:
    """Send a run that must be refused; return what the server says."""
    answer = await api.post("/v0/run", json=run_body(*results, **members))
    assert answer.status_code == status, answer.text
    message: str = answer.json()["message"].splitlines()[0]
    return message


async def get(api: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """Read something that must be there."""
    answer = await api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def head(report: dict[str, Any]) -> str:
    """The UUID of the head that a report was made on."""
    uuid: str = report["branch"]["head"]["uuid"]
    return uuid


def number(report: dict[str, Any]) -> int:
    """The number of a report's version."""
    version: int = report["branch"]["head"]["version"]["number"]
    return version


def only(report: dict[str, Any]) -> dict[str, Any]:
    """The one measure of the one benchmark of a report's one iteration."""
    [[result]] = report["results"]
    [measure] = result["measures"]
    assert isinstance(measure, dict)
    return measure


async def add_user(database: Database, name: str, *, admin: bool = False) -> Row:
    """A user."""
    return await database.write(lambda tx: accounts.create_user(tx, name, f"{name.lower()}@example.com", admin=admin))


async def token_of(database: Database, user: Row) -> dict[str, str]:
    """Headers that prove a user by an API token."""
    _, token = await database.write(lambda tx: accounts.create_token(tx, user, "test"))
    return {"authorization": f"Bearer {token}"}


async def sign_in(database: Database, api: httpx.AsyncClient, name: str = "Ada", *, admin: bool = False) -> Row:
    """Let a client speak for a new user from now on."""
    user = await add_user(database, name, admin=admin)
    api.headers.update(await token_of(database, user))
    return user


async def rows(database: Database, table: str) -> int:
    """How many rows a table has."""
    count: int = await database.read(lambda tx: tx.value(f"SELECT COUNT(*) FROM {table}"))
    return count


TABLES = (
    "organization",
    "project",
    "branch",
    "head",
    "version",
    "testbed",
    "benchmark",
    "measure",
    "threshold",
    "report",
)


async def everything(database: Database) -> dict[str, int]:
    """How many rows all tables have that a run writes to."""
    return {table: await rows(database, table) for table in TABLES}
