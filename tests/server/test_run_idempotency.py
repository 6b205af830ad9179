"""A key makes a run happen once: also when it is sent twice at the same moment, and not before it has succeeded."""

import asyncio

import httpx
import pytest
from server_runs import CONTEXT, PROJECT, get, latency, refused, rows, run, run_body

from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

KEYS = ["3b9e7a52-4d0f-4c84-9f0b-0c5b7a1e2d11", "3b9e7a52-4d0f-4c84-9f0b-0c5b7a1e2d12"]


async def test_a_key_gives_one_report(api: httpx.AsyncClient) -> None:
    """Row 4: the second body is not even looked at."""
    first = await run(api, latency(1), idempotency_key=KEYS[0])
    same = await run(api, latency(2), idempotency_key=KEYS[0].upper().replace("-", ""), branch="other")
    unreadable = await run(api, "not results", idempotency_key=KEYS[0])
    assert first == same == unreadable
    others = [
        await run(api, latency(1), idempotency_key=KEYS[1]),
        await run(api, latency(1)),
        await run(api, latency(1)),
    ]
    assert len({report["uuid"] for report in (first, *others)}) == 4


async def test_a_key_is_of_its_project(api: httpx.AsyncClient) -> None:
    first = await run(api, idempotency_key=KEYS[0])
    other = await run(api, idempotency_key=KEYS[0], project="other", context=CONTEXT)
    assert first["uuid"] != other["uuid"]


async def test_a_refused_run_does_not_use_its_key_up(api: httpx.AsyncClient) -> None:
    """Row 5, where we differ: the reference answers the repeated run with an empty report."""
    await refused(api, 400, "not results", idempotency_key=KEYS[0])
    report = await run(api, latency(1), idempotency_key=KEYS[0])
    assert len(report["results"]) == 1


async def test_a_repeated_run_is_answered_with_the_report_as_it_is_now(
    api: httpx.AsyncClient, database: Database
) -> None:
    await run(api, latency(1))
    threshold = {"models": {"latency": {"test": "static", "upper_boundary": 5}}}
    first = await run(api, latency(9), thresholds=threshold, idempotency_key=KEYS[0])
    await run(api, start_point={"reset": True})
    again = await run(api, idempotency_key=KEYS[0])
    assert [report["alerts"][0]["status"] for report in (first, again)] == ["active", "silenced"]


async def test_runs_at_the_same_moment_get_one_report(api: httpx.AsyncClient, database: Database) -> None:
    """The reference answers all but one with 409. The project is new, so that its creation is raced for, too."""
    body = run_body(latency(1), idempotency_key=KEYS[0])
    answers = await asyncio.gather(*(api.post("/v0/run", json=body) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["uuid"] for answer in answers}) == 1
    assert (await rows(database, "report"), await rows(database, "project")) == (1, 1)


async def test_runs_at_the_same_moment_get_their_own_versions(api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(api.post("/v0/run", json=run_body(latency(1))) for _ in range(8)))
    assert sorted(answer.json()["branch"]["head"]["version"]["number"] for answer in answers) == list(range(8))
    assert len(await get(api, f"{PROJECT}/reports", per_page=255)) == 8
