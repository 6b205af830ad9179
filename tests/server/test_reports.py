"""Reports read back: one, a list of them, and none any more."""

import json
from typing import Any

import httpx
import pytest
from server_runs import HASHES, PROJECT, bmf, get, latency, rows, run, run_body, sign_in

from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

UNKNOWN = "018f3f0e-8c1a-7000-8000-000000000000"
REPORTS = f"{PROJECT}/reports"


async def uuids(api: httpx.AsyncClient, **query: Any) -> list[str]:
    """Which reports a list shows."""
    return [report["uuid"] for report in await get(api, REPORTS, **query)]


async def test_a_list_leaves_results_out_and_counts_them(api: httpx.AsyncClient) -> None:
    """Rows 50, 51."""
    report = await run(api, bmf(a={"latency": 1}, b={"latency": 2}))
    [listed] = await get(api, REPORTS)
    assert listed["counts"] == {"results": [{"benchmarks": 2, "measures": 1}], "alerts": {"total": 0, "active": 0}}
    assert listed == {name: value for name, value in report.items() if name not in ("results", "alerts")}
    assert await get(api, REPORTS, expand=True) == [report]


async def test_a_list_is_the_newest_first_in_parts(api: httpx.AsyncClient) -> None:
    starts = [f"2024-05-0{day}T00:00:00Z" for day in (3, 1, 2)]
    by_start = [(start, (await run(api, start_time=start))["uuid"]) for start in starts]
    newest_first = [uuid for _, uuid in sorted(by_start, reverse=True)]
    assert await uuids(api) == newest_first
    assert await uuids(api, direction="asc") == newest_first[::-1]
    assert await uuids(api, per_page=2, page=2) == newest_first[2:]
    assert await uuids(api, per_page=2, page=0) == newest_first[:2]
    answer = await api.get(REPORTS, params={"per_page": 1})
    assert (len(answer.json()), answer.headers["x-total-count"]) == (1, "3")
    assert (await api.get(REPORTS, params={"per_page": 256})).status_code == 400


async def test_a_list_can_be_narrowed(api: httpx.AsyncClient, database: Database) -> None:
    first = await run(api, branch="Topic/One", testbed="a", start_time="2024-01-01T00:00:00Z")
    second = await run(api, branch="main", testbed="b", start_time="2024-01-02T00:00:00Z")
    assert await uuids(api, branch="topic-one") == await uuids(api, branch="Topic/One") == [first["uuid"]]
    assert await uuids(api, testbed=second["testbed"]["uuid"]) == [second["uuid"]]
    day = 1_704_153_600_000
    assert await uuids(api, start_time=day) == [second["uuid"]]
    assert await uuids(api, start_time=day + 1) == []
    await database.write(lambda tx: tx.run("UPDATE branch SET archived_ms = 1 WHERE name = 'main'"))
    assert await uuids(api) == [first["uuid"]]
    assert await uuids(api, archived=True) == [second["uuid"]]


async def test_a_report_is_named_by_its_uuid_within_its_project(api: httpx.AsyncClient) -> None:
    report = await run(api)
    await run(api, project="other")
    assert (await api.get(f"{REPORTS}/{UNKNOWN}")).status_code == 404
    assert (await api.get(f"/v0/projects/other/reports/{report['uuid']}")).status_code == 404
    assert (await api.get(f"{REPORTS}/no-uuid")).status_code == 400


async def test_a_report_is_deleted_with_all_that_is_in_it(api: httpx.AsyncClient, database: Database) -> None:
    """Row 52: also one of many benchmarks."""
    await sign_in(database, api)
    threshold = {"models": {"latency": {"test": "static", "upper_boundary": 5}}}
    await run(api, latency(1))
    many = json.dumps({f"b{number}": {"latency": {"value": number}} for number in range(2048)})
    report = await run(api, many, latency(9), thresholds=threshold, hash=HASHES[0])
    assert len(report["alerts"]) == 1
    for status in (204, 404):
        assert (await api.delete(f"{REPORTS}/{report['uuid']}")).status_code == status
    assert [await rows(database, table) for table in ("report", "metric", "alert", "version")] == [1, 1, 0, 1]


async def test_only_members_delete(api: httpx.AsyncClient, database: Database) -> None:
    report = await run(api)
    assert (await api.delete(f"{REPORTS}/{report['uuid']}")).status_code == 400
    await sign_in(database, api)
    assert (await api.delete(f"{REPORTS}/{report['uuid']}")).status_code == 403
    await run(api)
    assert (await api.delete(f"{REPORTS}/{report['uuid']}")).status_code == 204


async def test_a_report_can_be_brought_in_for_a_named_place(api: httpx.AsyncClient, database: Database) -> None:
    await sign_in(database, api)
    await run(api)
    body = run_body(latency(3), branch="main", testbed="ci", hash=HASHES[0]) | {"context": None}
    answer = await api.post(REPORTS, json=body)
    assert answer.status_code == 201, answer.text
    report = answer.json()
    assert (report["testbed"]["name"], report["branch"]["head"]["version"]["hash"]) == ("ci", HASHES[0])
    assert report["results"][0][0]["measures"][0]["metric"]["value"] == 3.0
    assert (await api.post(REPORTS, json=body | {"branch": None})).status_code == 400
    assert (await api.post(REPORTS, json=body | {"results": ["x"]})).status_code == 400
    assert (await api.post("/v0/projects/absent/reports", json=body)).status_code == 404


async def test_what_every_client_asks_first_is_answered(api: httpx.AsyncClient) -> None:
    assert (await api.get("/")).json() is None
    assert await get(api, "/v0/server/version") == {"version": "0.6.12"}
    assert (await get(api, "/v0/server/config/console"))["url"].startswith("http")
    assert (await get(api, "/v0/server/spec"))["paths"]["/v0/run"]["post"]["tags"] == ["run"]
