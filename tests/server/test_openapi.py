"""The OpenAPI page is true: whatever a client makes of it, no answer is a defect of ours or one that it does not list.

Every operation is called with bodies, queries and paths that its schema allows, and with some that it does not. A real
server answers on loopback. How many calls: `OPENAPI_EXAMPLES`, by default few enough for every run of the tests.
Another `OPENAPI_SEED` makes other ones.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from processes import Server
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server_runs import latency, run_body

from server_stub.routes import ROUTERS
from server_stub.store import accounts
from server_stub.store.database import Database
from server_stub.store.tx import Tx

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "4"))
SEED = int(os.environ.get("OPENAPI_SEED", "61016"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
THRESHOLD = {"models": {"latency": {"test": "percentage", "upper_boundary": 0.1}}}
SPEC = {"name": "small", "architecture": "x86_64", "cpu": 1, "memory": 1 << 30, "disk": 1 << 30, "fallback": True}
PLOT = dict.fromkeys(("lower_value", "upper_value", "lower_boundary", "upper_boundary"), True) | {
    "x_axis": "version",
    "window": 60,
}
_numbers = count(1)


def operations() -> list[tuple[str, str]]:
    """Every method and path of the page."""
    app = fastapi.FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return [(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item]


@dataclass
class Site:
    """A running server, an administrator's headers, and its page."""

    url: str
    headers: dict[str, str]
    schema: Any
    session: requests.Session
    shared: dict[str, str] | None = None

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make something that must be allowed."""
        answer = self.session.post(self.url + path, json=body, headers=self.headers, timeout=60)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
        return made

    def world(self, *, changed: bool) -> dict[str, str]:
        """A world for one operation; those that change nothing share one."""
        if changed:
            return new_world(self)
        self.shared = self.shared or new_world(self)
        return self.shared


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server on a free loopback port, on each database in turn."""
    folder = tmp_path_factory.mktemp("openapi")
    if request.param == "sqlite":
        yield from _serve(folder, f"sqlite:///{folder / 'bench.db'}")
        return
    with request.getfixturevalue("postgresql").fresh_database() as url:
        yield from _serve(folder, url)


def _serve(folder: Path, database_url: str) -> Iterator[Site]:
    """In a process of its own: Hypothesis wants nobody else to draw from this one's random numbers."""
    database = Database.open(database_url)
    token = database.wait(_administrator)
    database.close()
    server = Server(folder, database_url, settings={})
    server.start()
    try:
        schema = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/v0/server/spec", timeout=60).json())
        with requests.Session() as session:
            yield Site(server.url, {"authorization": f"Bearer {token}"}, schema, session)
    finally:
        server.kill()


def _administrator(tx: Tx) -> str:
    user = accounts.create_user(tx, "Admin", "admin@example.com", admin=True)
    return accounts.create_token(tx, user, "test")[1]


def new_world(site: Site) -> dict[str, str]:
    """Something real for every parameter of a path: a new project with all that it can hold."""
    slug = f"demo-{next(_numbers)}"
    members = {"project": slug, "branch": "main", "testbed": "ci", "thresholds": THRESHOLD}
    site.post("/v0/run", run_body(latency(10), **members))
    report = site.post("/v0/run", run_body(latency(99), **members))
    alert, project = report["alerts"][0], f"/v0/projects/{slug}"
    elements = {"branches": [report["branch"]["uuid"]], "testbeds": [report["testbed"]["uuid"]]}
    elements |= {"benchmarks": [alert["benchmark"]["uuid"]], "measures": [alert["threshold"]["measure"]["uuid"]]}
    spec = site.post("/v0/specs", SPEC | {"name": slug})["uuid"]
    return {
        "project": slug,
        "branch": "main",
        "testbed": "ci",
        "benchmark": "parse",
        "measure": "latency",
        "report": report["uuid"],
        "threshold": alert["threshold"]["uuid"],
        "alert": alert["uuid"],
        "metric": alert["metric"]["uuid"],
        "plot": site.post(f"{project}/plots", PLOT | elements)["uuid"],
        "key": site.post(f"{project}/keys", {"name": "key"})["uuid"],
        "token": site.post("/v0/users/admin/tokens", {"name": "spare"})["uuid"],
        "user": "admin",
        "organization": report["project"]["organization"],
        "runner": site.post("/v0/runners", {"name": slug})["uuid"],
        "spec": spec,
        "job": site.post("/v0/run", run_body(job={"image": "a/b:c", "spec": spec}, project=slug))["job"],
    }


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_answer_is_one_that_the_page_lists(site: Site, method: str, path: str) -> None:
    world = site.world(changed=method != "GET")
    operation = site.schema[path][method]
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    refused = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=allowed | refused, real=st.integers(0, 3))
    def each(case: schemathesis.Case[Any], real: int) -> None:
        if real:  # Three of four calls are about something that is there.
            case.path_parameters = {
                name: world.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        case.call_and_validate(site.url, session=site.session, headers=site.headers, checks=CHECKS, timeout=60)

    each()
