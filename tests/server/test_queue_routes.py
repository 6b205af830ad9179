"""The queue over HTTP: what agents call, what administrators steer, and what submitters see of their jobs."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from agents import until
from queue_world import Runner, new_job, new_project, new_runner, new_spec
from structlog.testing import capture_logs

from server_stub import reports
from server_stub.shapes_of_reports import ReportJson
from server_stub.store import accounts, organizations
from server_stub.store.database import Database
from server_stub.store.tx import Tx

pytestmark = pytest.mark.anyio


@dataclass
class Server:
    """The real application with one runner, one project of nobody and an administrator's token."""

    api: httpx.AsyncClient
    database: Database
    spec: int
    project: tuple[int, int]
    runner: Runner
    admin: dict[str, str]

    async def job(self) -> UUID:
        return await self.database.write(lambda tx: new_job(tx, self.project, self.spec))

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        headers = options.pop("headers", self.runner.headers)
        return await self.api.request(method, f"/v0/runners/{self.runner.slug}/jobs{path}", json=body, headers=headers)

    async def seen(self, job: UUID, **headers: str) -> dict[str, Any]:
        answer = await self.api.get(f"/v0/projects/demo/jobs/{job}", headers=headers)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen


@pytest.fixture
async def server(api: httpx.AsyncClient, database: Database) -> Server:
    spec = await database.write(new_spec)
    project = await database.write(new_project)
    runner = await database.write(lambda tx: new_runner(tx, "Rack 1", spec))
    user = await database.write(lambda tx: accounts.create_user(tx, "Ada", "ada@example.org", admin=True))
    _, token = await database.write(lambda tx: accounts.create_token(tx, user, "tests"))
    return Server(api, database, spec, project, runner, {"authorization": f"Bearer {token}"})


def report(job: str, attempt: int, outcome: str = "completed", **members: Any) -> dict[str, Any]:
    printed = {"number": 0, "exit_code": 0, "stdout": {"text": "{}"}, "stderr": {"text": "warm"}}
    whole = {"job": job, "attempt": attempt, "outcome": outcome, "iterations": [printed]} | members
    return {"attempt": attempt, "report": whole}


async def test_an_agent_speaks_the_whole_protocol(server: Server) -> None:
    uuid = str(await server.job())
    claim = await server.call("POST", "", {"poll_timeout": 1})
    assert (claim.status_code, claim.json()["job"], claim.json()["attempt"]) == (200, uuid, 1)
    progress = {"stage": "iterate", "iteration": 1, "iterations": 3, "tail": "1 of 3"}
    beat = await server.call("POST", f"/{uuid}/heartbeat", {"attempt": 1, "progress": progress})
    assert (beat.status_code, beat.json()) == (200, {"lease_s": 45.0, "cancel": False})
    seen = await server.seen(UUID(uuid))
    assert (seen["status"], seen["runner"], seen["progress"]["tail"]) == ("running", str(server.runner.uuid), "1 of 3")
    fault = {"kind": "exit_code", "stage": "iterate", "message": "exit code 3", "exit_code": 3}
    ended = await server.call("POST", f"/{uuid}/report", report(uuid, 1, "failed", fault=fault))
    assert (ended.status_code, ended.json()) == (200, {"state": "failed"})
    late = await server.call("POST", f"/{uuid}/heartbeat", {"attempt": 1, "progress": progress})
    assert (late.status_code, late.json()["stale"]) == (409, "finished")
    seen = await server.seen(UUID(uuid))
    assert (seen["fault"]["kind"], seen["fault"]["exit_code"], seen["output"]["error"]) == (
        "exit_code",
        3,
        "exit code 3",
    )
    assert [(one["attempt"], one["ending"]) for one in seen["attempts"]] == [(1, "failed")]
    first = seen["output"]["results"][0]
    assert (first["exit_code"], first["stdout"], first["stderr"]) == (0, "{}", "warm")


async def test_a_call_whose_body_is_cut_off_is_no_mistake_of_ours(server: Server) -> None:
    app = server.api._transport.app  # type: ignore[attr-defined]  # The client would send all of it.
    path, answered = f"/v0/runners/{server.runner.slug}/jobs", list[Any]()
    hears: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b'{"poll', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, Any]:
        return next(hears)

    async def send(message: dict[str, Any]) -> None:
        answered.append(message.get("status"))

    with capture_logs() as lines:
        await app({"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}, receive, send)
    assert (answered, lines) == ([400, None], [])


@pytest.mark.parametrize("kind", ["sqlite"])  # PostgreSQL spreads the word through a connection of its own, later.
async def test_an_idle_agent_has_its_job_before_the_submission_reads_its_report_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.call("POST", "", {"poll_timeout": 1})  # What happens once is over.
    states = []

    def report_view(tx: Tx, uuid: str) -> ReportJson:
        states.append(tx.value("SELECT state FROM job j JOIN report r ON r.id = j.report_id WHERE r.uuid = :r", r=uuid))
        return reports.report_view(tx, uuid)

    monkeypatch.setattr("server_stub.routes.run.report_view", report_view)
    poll = asyncio.create_task(server.call("POST", "", {"poll_timeout": 60}))
    waiters = server.api._transport.app.state.shared.queue.waiters  # type: ignore[attr-defined]  # No other sign of it.
    await until(lambda: bool(waiters.specs_wanted()))
    now = "2026-01-01T00:00:00Z"
    run = {"project": "demo", "branch": "main", "testbed": "rack", "start_time": now, "end_time": now, "results": []}
    answer = await server.api.post("/v0/run", json=run | {"job": {"image": "localhost/bench:v1", "spec": "small"}})
    assert answer.status_code == 201, answer.text
    assert (states, (await poll).json()["job"]) == (["claimed"], answer.json()["job"])


async def test_a_poll_without_work_is_answered_with_204_and_a_wrong_one_with_400(server: Server) -> None:
    """Row 74: our polls are requests, refused with 400 where the reference drops a connection."""
    assert (await server.call("POST", "", {"poll_timeout": 1})).status_code == 204
    for wrong in (0, 901, "soon"):
        refused = await server.call("POST", "", {"poll_timeout": wrong})
        assert refused.status_code == 400
        assert refused.json()["message"].startswith("poll_timeout: ")


async def test_a_runner_needs_its_own_key_and_nothing_else_opens(server: Server) -> None:
    """Row 69."""
    other = await server.database.write(lambda tx: new_runner(tx, "Rack 2"))
    for headers in ({}, server.admin, other.headers, {"authorization": "Basic abc"}):
        assert (await server.call("POST", "", {}, headers=headers)).status_code == 401
    assert (await server.api.get("/v0/runners", headers=server.runner.headers)).status_code in (400, 401)


async def test_a_waiting_poll_is_handed_the_job_that_is_queued(server: Server) -> None:
    poll = asyncio.create_task(server.call("POST", "", {"poll_timeout": 60}))
    await asyncio.sleep(0.2)
    uuid = await server.job()
    answer = await asyncio.wait_for(poll, 10)
    assert answer.json()["job"] == str(uuid)


async def test_a_pending_job_says_why_it_waits_and_where_it_stands(server: Server) -> None:
    lonely = await server.database.write(lambda tx: new_spec(tx, "huge"))
    first, second = await server.job(), await server.job()
    third = await server.database.write(lambda tx: new_job(tx, server.project, lonely))
    waiting = (await server.seen(third))["waiting"]
    expected = {"reason": "no_runner", "message": "no runner holds the spec huge", "position": 1, "runners": 0}
    assert waiting == expected
    assert (await server.seen(second))["waiting"]["reason"] == "runners_lost"
    await server.call("POST", "", {"poll_timeout": 1})
    assert (await server.seen(first))["status"] == "claimed"
    assert (await server.seen(second))["waiting"]["position"] == 1


async def test_anybody_cancels_where_nobody_claimed_the_project(server: Server) -> None:
    first, second = await server.job(), await server.job()
    canceled = await server.api.post(f"/v0/projects/demo/jobs/{first}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert (await server.api.delete(f"/v0/projects/demo/jobs/{second}")).status_code == 204
    assert (await server.seen(second))["status"] == "canceled"
    assert (await server.api.post(f"/v0/projects/demo/jobs/{uuid4()}/cancel")).status_code == 404


async def test_on_a_claimed_project_a_stranger_sees_the_job_but_not_its_output_and_cannot_cancel(
    server: Server,
) -> None:
    """Rows 67, 68."""
    owner = await server.database.write(lambda tx: accounts.create_user(tx, "Bob", "bob@example.org"))
    await server.database.write(lambda tx: organizations.join(tx, server.project[0], owner["id"]))
    uuid, waiting = await server.job(), await server.job()
    await server.call("POST", "", {"poll_timeout": 1})
    await server.call("POST", f"/{uuid}/report", report(str(uuid), 1, "failed"))
    assert "output" not in await server.seen(uuid)
    assert "output" in await server.seen(uuid, **server.admin)
    assert (await server.api.post(f"/v0/projects/demo/jobs/{waiting}/cancel")).status_code == 401
    allowed = await server.api.post(f"/v0/projects/demo/jobs/{waiting}/cancel", headers=server.admin)
    assert allowed.json()["status"] == "canceled"


async def test_jobs_are_listed_in_pages_newest_first_and_by_state(server: Server) -> None:
    """Row 66."""
    queued = [await server.job() for _ in range(3)]
    await server.call("POST", "", {"poll_timeout": 1})
    page = await server.api.get("/v0/projects/demo/jobs", params={"per_page": 2})
    assert [job["uuid"] for job in page.json()] == [str(queued[2]), str(queued[1])]
    assert page.headers["x-total-count"] == "3"
    claimed = await server.api.get("/v0/projects/demo/jobs", params={"status": "claimed", "direction": "asc"})
    assert [job["uuid"] for job in claimed.json()] == [str(queued[0])]
    assert not {"output", "config"} & set(claimed.json()[0])
    assert (await server.api.get("/v0/projects/demo/jobs", params={"status": "asleep"})).status_code == 400


async def test_an_administrator_makes_a_runner_gives_it_a_spec_and_rotates_its_key(server: Server) -> None:
    """Row 82."""
    call = server.api.request
    made = await call("POST", "/v0/runners", json={"name": "Rack 9"}, headers=server.admin)
    assert made.status_code == 201 and made.json()["key"].startswith("bencher_runner_")
    path = "/v0/runners/rack-9"
    assert (await call("POST", f"{path}/specs", json={"spec": "small"}, headers=server.admin)).status_code == 201
    assert (await call("POST", f"{path}/specs", json={"spec": "small"}, headers=server.admin)).status_code == 409
    specs = await call("GET", f"{path}/specs", headers=server.admin)
    assert [spec["slug"] for spec in specs.json()] == ["small"]
    assert (await call("DELETE", f"{path}/specs/small", headers=server.admin)).status_code == 204
    assert (await call("DELETE", f"{path}/specs/small", headers=server.admin)).status_code == 404
    assert (await call("POST", f"{path}/key", headers=server.admin)).status_code == 201
    drained = await call("POST", f"{path}/drain", params={"reason": "new disk"}, headers=server.admin)
    assert (drained.json()["state"], drained.json()["drain_reason"]) == ("drained", "new disk")
    assert (await call("POST", f"{path}/resume", headers=server.admin)).json()["state"] == "never_seen"
    archived = await call("PATCH", path, json={"archived": True}, headers=server.admin)
    assert archived.json()["archived"] is not None
    assert (await call("POST", f"{path}/key", headers=server.admin)).status_code == 409
    listed = await call("GET", "/v0/runners", headers=server.admin)
    assert ([one["slug"] for one in listed.json()], listed.headers["x-total-count"]) == (["rack-1"], "1")


async def test_runners_and_specs_are_for_administrators(server: Server) -> None:
    user = await server.database.write(lambda tx: accounts.create_user(tx, "Eve", "eve@example.org"))
    _, token = await server.database.write(lambda tx: accounts.create_token(tx, user, "tests"))
    for path in ("/v0/runners", "/v0/specs", "/v0/runners/rack-1", "/v0/specs/small"):
        assert (await server.api.get(path)).status_code == 400
        assert (await server.api.get(path, headers={"authorization": f"Bearer {token}"})).status_code == 403
        assert (await server.api.get(path, headers=server.admin)).status_code == 200


async def test_there_is_one_fallback_spec_and_a_spec_in_use_cannot_be_deleted(server: Server) -> None:
    call = server.api.request
    new = {"architecture": "x86_64", "cpu": 2, "memory": 1024, "disk": 1024, "fallback": True}
    for name in ("one", "two"):
        assert (await call("POST", "/v0/specs", json=new | {"name": name}, headers=server.admin)).status_code == 201
    assert (await call("POST", "/v0/specs", json=new | {"name": "one"}, headers=server.admin)).status_code == 409
    fallbacks = [(await call("GET", f"/v0/specs/{s}", headers=server.admin)).json()["fallback"] for s in ("one", "two")]
    assert fallbacks[0] is None and fallbacks[1] is not None
    archived = await call("PATCH", "/v0/specs/two", json={"archived": True}, headers=server.admin)
    assert (archived.json()["fallback"], archived.json()["archived"] is None) == (None, False)
    assert (await call("DELETE", "/v0/specs/small", headers=server.admin)).status_code == 409
    assert (await call("DELETE", "/v0/specs/one", headers=server.admin)).status_code == 204
    assert (await call("GET", "/v0/specs/one", headers=server.admin)).status_code == 404


async def test_the_process_says_whether_it_lives_and_what_it_counts(server: Server) -> None:
    assert (await server.api.get("/healthz")).text == "ok\n"
    assert (await server.api.get("/readyz")).text == "ready\n"
    await server.job()
    await server.job()
    await server.call("POST", "", {"poll_timeout": 1})
    page = (await server.api.get("/metrics")).text
    for line in (
        'bench_claims_total{spec="small"} 1.0',
        'bench_queue_jobs{spec="small",state="pending"} 1.0',
        'bench_queue_jobs{spec="small",state="leased"} 1.0',
        'bench_runners{state="busy"} 1.0',
        'bench_job_wait_seconds_count{spec="small"} 1.0',
        'bench_request_seconds_count{method="POST",route="/v0/runners/{runner}/jobs",status="200"} 1.0',
    ):
        assert line in page.splitlines()


async def test_jobs_of_a_private_project_are_not_there_for_a_stranger(server: Server) -> None:
    """Rows 67, 68: nor is the output of a job that still runs there for anybody."""
    uuid = await server.job()
    await server.call("POST", "", {"poll_timeout": 1})
    assert "output" not in await server.seen(uuid, **server.admin)
    await server.database.write(lambda tx: tx.run("UPDATE project SET visibility = 'private'"))
    paths = ("/v0/projects/demo/jobs", f"/v0/projects/demo/jobs/{uuid}")
    assert [(await server.api.get(path)).status_code for path in paths] == [404, 404]
    assert [(await server.api.get(path, headers=server.admin)).status_code for path in paths] == [200, 200]


async def test_an_archived_runner_and_one_without_specs_are_handed_nothing(server: Server) -> None:
    """Rows 69, 73."""
    await server.job()
    bare = await server.database.write(lambda tx: new_runner(tx, "Rack 3"))
    poll = ("POST", f"/v0/runners/{bare.slug}/jobs")
    assert (await server.api.request(*poll, json={"poll_timeout": 1}, headers=bare.headers)).status_code == 204
    await server.api.patch(f"/v0/runners/{bare.slug}", json={"archived": True}, headers=server.admin)
    assert (await server.api.request(*poll, json={"poll_timeout": 1}, headers=bare.headers)).status_code == 401


async def test_a_report_ends_a_job_that_never_said_it_runs_and_is_final(server: Server) -> None:
    """Rows 75, 77, 81; where we differ: a report needs no heartbeat before it, and what comes too late is told so."""
    first, second = str(await server.job()), str(await server.job())
    await server.call("POST", "", {"poll_timeout": 1})
    failed = await server.call("POST", f"/{first}/report", report(first, 1, "failed"))
    assert failed.json() == {"state": "failed"}
    late = await server.call("POST", f"/{first}/report", report(first, 1))
    assert (late.status_code, late.json()["stale"]) == (409, "finished")
    await server.api.post(f"/v0/projects/demo/jobs/{second}/cancel")
    canceled = await server.call("POST", f"/{second}/report", report(second, 1))
    assert canceled.status_code == 409
    assert (await server.seen(UUID(second)))["status"] == "canceled"
    other = await server.database.write(lambda tx: new_runner(tx, "Rack 4", server.spec))
    third = str(await server.job())
    await server.call("POST", "", {"poll_timeout": 1})
    path = f"/v0/runners/{other.slug}/jobs/{third}/report"
    foreign = await server.api.post(path, json=report(third, 1), headers=other.headers)
    assert foreign.status_code == 409
    assert (await server.seen(UUID(third)))["status"] == "claimed"
