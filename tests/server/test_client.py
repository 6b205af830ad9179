"""The command line of the API, call by call: what it sends before, with and after a run, and how it tries again.

The program itself is no part of these tests, so its calls are spelled out here: a question for the version
before each one, its headers, members that it always sends, and the members that it reads.
"""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from queue_world import Runner, new_runner, new_spec
from server_runs import TIMES, latency, sign_in

from server_stub.app import create_app
from server_stub.settings import Settings
from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

VERSION = "0.6.12"
CONTEXT = {
    "bencher.dev/v0/repo/name": "My Project",
    "bencher.dev/v0/repo/hash": "a" * 40,
    "bencher.dev/v0/branch/ref": "refs/heads/feature/x",
    "bencher.dev/v0/branch/ref/name": "feature/x",
    "bencher.dev/v0/branch/hash": "b" * 40,
    "bencher.dev/v0/testbed/os": "Linux",
    "bencher.dev/v0/testbed/fingerprint": "1a2b3c4d5e6f7",
}
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "Content-Type, Authorization",
    "access-control-expose-headers": "X-Total-Count",
}


class CommandLine:
    """`bencher run`, as far as a server sees it."""

    def __init__(self, api: httpx.AsyncClient, **headers: str) -> None:
        self._api = api
        self._headers = {"accept": "application/json", "api-version": VERSION, **headers}

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One call, after the question for the version without which nothing goes on."""
        version = await self._api.get("/v0/server/version", headers=self._headers)
        assert (version.status_code, version.json()) == (200, {"version": VERSION})
        return await self._api.request(method, path, json=body, headers=self._headers)

    async def run(self, *results: str, key: str | None = None, **members: Any) -> httpx.Response:
        """Send a run; a server that fails for the moment is asked again with the same key."""
        always = {"idempotency_key": key or str(uuid.uuid4()), "context": CONTEXT, "settings": {"adapter": "magic"}}
        body = always | {"results": list(results)} | TIMES | members
        for _ in range(35):
            answer = await self.call("POST", "/v0/run", body)
            if answer.status_code < 500:
                return answer
            assert {"request_id", "message"} <= set(answer.json())
        raise AssertionError("the server stayed away")

    async def links(self) -> str:
        """Where the report is looked at: without an answer the command fails."""
        url: str = (await self.call("GET", "/v0/server/config/console")).json()["url"]
        return url


@pytest.fixture
async def rack(database: Database) -> Runner:
    """A runner that takes jobs of the fallback spec."""
    spec = await database.write(lambda tx: new_spec(tx, "rack", fallback=True))
    return await database.write(lambda tx: new_runner(tx, "Rack 1", spec))


async def test_a_local_run_of_an_unmodified_client(api: httpx.AsyncClient, database: Database) -> None:
    await sign_in(database, api)
    line = CommandLine(api)
    start_point = {"branch": "main", "max_versions": 255, "clone_thresholds": True, "reset": False}
    thresholds = {"models": {"latency": {"test": "t_test", "max_sample_size": 64, "upper_boundary": 0.99}}}
    answer = await line.run(latency(1), start_point=start_point, thresholds=thresholds | {"reset": True})
    report = answer.json()
    assert (answer.status_code, report["counts"]["alerts"]["total"]) == (201, 0)
    assert (report["branch"]["name"], report["branch"]["head"]["version"]["hash"]) == ("feature/x", "b" * 40)
    assert (report["testbed"]["slug"], report["project"]["slug"]) == ("linux", "my-project-aaaaaaa-1a2b3c4d5e6f7")
    assert CORS.items() <= dict(answer.headers).items()
    assert (answer.headers["access-control-allow-methods"], answer.headers["x-total-count"]) == ("POST", "1")
    assert (await line.links()).startswith("http")


async def test_a_remote_run_is_polled_until_its_report_is_there(
    api: httpx.AsyncClient, database: Database, rack: Runner
) -> None:
    await sign_in(database, api)
    line = CommandLine(api)
    job = {"image": "registry.example/bench:v1", "entrypoint": ["/bench"], "cmd": ["--all"], "iter": 2, "timeout": 60}
    report = (await line.run(project="my-project", job=job)).json()
    project, path = report["project"]["slug"], f"/v0/runners/{rack.slug}/jobs"
    job_path = f"/v0/projects/{project}/jobs/{report['job']}"
    seen = [(await line.call("GET", job_path)).json()["status"]]
    await api.post(path, json={"poll_timeout": 1}, headers=rack.headers)
    seen.append((await line.call("GET", job_path)).json()["status"])
    printed = [
        {"number": n, "exit_code": 0, "stdout": {"text": latency(n)}, "stderr": {"text": "warm"}} for n in (0, 1)
    ]
    sent = {"job": report["job"], "attempt": 1, "outcome": "completed", "iterations": printed}
    await api.post(f"{path}/{report['job']}/report", json={"attempt": 1, "report": sent}, headers=rack.headers)
    while (ended := (await line.call("GET", job_path)).json())["status"] in ("running", "completed"):
        pass
    assert (*seen, ended["status"]) == ("pending", "claimed", "processed")
    assert [(one["stdout"], one["stderr"]) for one in ended["output"]["results"]] == [
        (latency(n), "warm") for n in (0, 1)
    ]
    final = (await line.call("GET", f"/v0/projects/{project}/reports/{report['uuid']}")).json()
    assert [iteration[0]["measures"][0]["metric"]["value"] for iteration in final["results"]] == [0.0, 1.0]
    assert (await line.links()).startswith("http")


async def test_a_server_that_is_away_for_a_moment_is_asked_again_with_the_same_key(
    api: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is lost after the run was taken in: the second one is that run's report."""
    taken: list[str] = []
    line, send = CommandLine(api), api._transport.handle_async_request

    async def lossy(request: httpx.Request) -> httpx.Response:
        answer = await send(request)
        if request.url.path == "/v0/run" and not taken:
            taken.append((await answer.aread()).decode())
            return httpx.Response(503, json={"request_id": str(uuid.uuid4()), "message": "away"})
        return answer

    monkeypatch.setattr(api._transport, "handle_async_request", lossy)
    answer = await line.run(latency(1))
    assert (answer.status_code, answer.text) == (201, taken[0])


async def test_every_path_says_which_methods_it_takes(api: httpx.AsyncClient) -> None:
    answer = await api.options("/v0/projects/demo/reports", headers={"origin": "https://example.org"})
    assert (answer.status_code, answer.json()) == (200, ["GET", "OPTIONS", "POST"])
    assert CORS.items() <= dict(answer.headers).items()
    wrong = await api.put("/v0/run", json={})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert {"request_id", "message"} <= set(wrong.json())
    absent = await api.get("/v0/nothing")
    assert (absent.status_code, absent.headers["x-request-id"]) == (404, absent.json()["request_id"])
    assert "Authorization: Bearer" in absent.json()["message"]


async def test_a_body_needs_no_content_type_but_may_not_have_another(api: httpx.AsyncClient) -> None:
    body = b'{"project": "demo", "context": {}, "results": [], "start_time": "2024-05-01T10:00:00Z",'
    body += b' "end_time": "2024-05-01T10:00:00Z"}'
    request = api.build_request("POST", "/v0/run", content=body)
    assert "content-type" not in request.headers
    assert (await api.send(request)).status_code == 201
    for kind, status in (("application/json; charset=utf-8", 201), ("text/plain", 400), ("application/xml", 400)):
        answer = await api.post("/v0/run", content=body, headers={"content-type": kind})
        assert (kind, answer.status_code) == (kind, status)


async def test_a_body_over_the_bound_is_refused_before_all_of_it_has_come(database: Database) -> None:
    """Row 20: of a body without end no more is taken than the bound and the piece that passes it."""
    app = create_app(database, Settings(sweep_s=60))
    pieces = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pieces
        while True:
            pieces += 1
            assert pieces <= 70, "the server goes on reading"
            yield b" " * (64 << 10)

    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    async with app.router.lifespan_context(app), client:
        answer = await client.post("/v0/run", content=endless())
    assert (answer.status_code, answer.json()["message"]) == (400, "body: larger than 4194304 bytes")
