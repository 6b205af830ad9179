"""Commits and branches: which version a report gets, and what a start point takes over."""

from typing import Any

import httpx
import pytest
from server_runs import HASHES, PROJECT, get, head, latency, number, only, run, sign_in

from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

MODEL = {"test": "percentage", "upper_boundary": 0.1}
STATIC = {"test": "static", "upper_boundary": 1000.0}


def watched(**models: dict[str, Any]) -> dict[str, Any]:
    """Thresholds of a run."""
    return {"models": models}


async def models_of(api: httpx.AsyncClient, branch: str) -> dict[str, str | None]:
    """The test of each threshold of a branch, by the measure's slug."""
    found = await get(api, f"{PROJECT}/thresholds", branch=branch, per_page=255)
    return {one["measure"]["slug"]: one["model"] and one["model"]["test"] for one in found}


async def test_one_hash_is_one_version_with_many_reports(api: httpx.AsyncClient) -> None:
    """Row 24."""
    reports = [await run(api, hash=HASHES[0]) for _ in range(2)]
    assert [number(report) for report in reports] == [0, 0]
    assert reports[0]["uuid"] != reports[1]["uuid"]
    assert number(await run(api, hash=HASHES[1])) == 1
    assert number(await run(api, hash=HASHES[0])) == 0


async def test_without_a_hash_every_report_is_a_version(api: httpx.AsyncClient) -> None:
    """Row 25."""
    assert [number(await run(api)) for _ in range(3)] == [0, 1, 2]


async def test_hashes_differ_by_case(api: httpx.AsyncClient) -> None:
    assert number(await run(api, hash="a" * 40)) == 0
    assert number(await run(api, hash="A" * 40)) == 1


async def test_an_unknown_start_point_is_ignored(api: httpx.AsyncClient) -> None:
    """Row 26."""
    report = await run(api, branch="topic", start_point={"branch": "nowhere"})
    assert report["branch"]["head"]["start_point"] is None
    assert number(report) == 0


async def test_a_hash_that_is_not_there_starts_from_the_newest_version(api: httpx.AsyncClient) -> None:
    """Row 27."""
    for commit in HASHES[:3]:
        await run(api, hash=commit)
    found = await run(api, branch="a", start_point={"branch": "main", "hash": HASHES[1]})
    missing = await run(api, branch="b", start_point={"branch": "main", "hash": HASHES[7]})
    starts = [report["branch"]["head"]["start_point"]["version"] for report in (found, missing)]
    assert starts == [{"number": 1, "hash": HASHES[1]}, {"number": 2, "hash": HASHES[2]}]
    assert [number(found), number(missing)] == [2, 3]


async def test_a_head_stays_until_its_base_moves(api: httpx.AsyncClient) -> None:
    """Row 28."""
    base = await run(api, hash=HASHES[0])
    from_main = {"branch": "main"}
    first = await run(api, branch="topic", start_point=from_main)
    same = await run(api, branch="topic", start_point=from_main)
    await run(api, hash=HASHES[1])
    pinned = await run(api, branch="topic", start_point={"branch": "main", "hash": HASHES[0]})
    moved = await run(api, branch="topic", start_point=from_main)
    assert first["branch"]["head"]["start_point"] == {
        "branch": base["branch"]["uuid"],
        "head": head(base),
        "version": {"number": 0, "hash": HASHES[0]},
    }
    assert head(first) == head(same) == head(pinned) != head(moved)
    assert [number(one) for one in (first, same, pinned, moved)] == [1, 2, 3, 2]


async def test_a_reset_begins_anew(api: httpx.AsyncClient) -> None:
    old = await run(api, hash=HASHES[0])
    new = await run(api, hash=HASHES[0], start_point={"reset": True})
    assert head(new) != head(old)
    assert (number(new), new["branch"]["head"]["start_point"]) == (0, None)
    again = await get(api, f"{PROJECT}/reports/{old['uuid']}")
    assert head(again) == head(old)
    assert again["branch"]["head"]["replaced"] is not None


async def test_a_new_head_silences_the_alerts_of_the_old_one(api: httpx.AsyncClient, database: Database) -> None:
    """Row 29: dismissed ones, too."""
    await sign_in(database, api)
    await run(api, latency(1), thresholds=watched(latency=MODEL))
    alarmed = await run(api, latency(9), latency(99))
    first, second = alarmed["alerts"]
    answer = await api.patch(f"{PROJECT}/alerts/{first['uuid']}", json={"status": "dismissed"})
    assert answer.json()["status"] == "dismissed"
    await run(api, start_point={"reset": True})
    after = await get(api, f"{PROJECT}/reports/{alarmed['uuid']}")
    assert [one["status"] for one in after["alerts"]] == ["silenced", "silenced"]
    assert after["counts"]["alerts"] == {"total": 2, "active": 0}
    assert second["status"] == "active"


@pytest.mark.parametrize(("max_versions", "numbered", "baseline"), [(0, 0, None), (2, 5, 35.0), (None, 5, 20.0)])
async def test_history_is_taken_over_as_far_as_asked(
    api: httpx.AsyncClient, max_versions: int | None, numbered: int, baseline: float | None
) -> None:
    """Row 30: `main` has 0, 10, 20, 30, 40; a mean over the two newest is 35, over all 20."""
    for value in range(0, 50, 10):
        await run(api, latency(value))
    start = {"branch": "main"} | ({} if max_versions is None else {"max_versions": max_versions})
    report = await run(api, latency(1), branch="topic", start_point=start, thresholds=watched(latency=MODEL))
    assert number(report) == numbered
    assert only(report)["boundary"]["baseline"] == baseline
    assert report["branch"]["head"]["start_point"]["version"]["number"] == 4


async def test_history_goes_on_through_several_branches(api: httpx.AsyncClient) -> None:
    """What `a` took from `main`, and its own, is what `b` takes from `a`; what `main` got later is not."""
    await run(api, latency(10))
    await run(api, latency(20), branch="a", start_point={"branch": "main"})
    await run(api, latency(1000))
    await run(api, latency(30), branch="b", start_point={"branch": "a"})
    await run(api, latency(1000), branch="a")
    report = await run(api, latency(1), branch="b", thresholds=watched(latency=MODEL))
    assert number(report) == 3
    assert only(report)["boundary"]["baseline"] == 20.0
    newest_two = MODEL | {"max_sample_size": 2}
    report = await run(api, latency(1), branch="c", start_point={"branch": "b"}, thresholds=watched(latency=newest_two))
    assert only(report)["boundary"]["baseline"] == 15.5


async def test_a_branch_may_start_from_itself(api: httpx.AsyncClient) -> None:
    old = await run(api, latency(10), hash=HASHES[0])
    new = await run(api, latency(20), start_point={"branch": "main", "reset": True}, thresholds=watched(latency=MODEL))
    assert head(new) != head(old)
    assert (number(new), only(new)["boundary"]["baseline"]) == (1, 10.0)


async def test_thresholds_are_cloned_and_then_changed_by_the_run(api: httpx.AsyncClient) -> None:
    """Row 31: the request's own are applied last, so that its reset strips what was cloned."""
    await run(api, thresholds=watched(latency=MODEL, throughput=MODEL))
    start = {"branch": "main", "clone_thresholds": True}
    await run(api, branch="a", start_point=start)
    await run(api, branch="b", start_point=start, thresholds={**watched(latency=STATIC), "reset": True})
    assert await models_of(api, "a") == {"latency": "percentage", "throughput": "percentage"}
    assert await models_of(api, "b") == {"latency": "static", "throughput": None}
    await run(api, branch="b", start_point={**start, "reset": True})
    assert await models_of(api, "b") == {"latency": "percentage", "throughput": "percentage"}


async def test_the_last_report_of_a_version_takes_its_number_along(api: httpx.AsyncClient, database: Database) -> None:
    """Row 32, in every history that had the version; a start point on it is forgotten."""
    await sign_in(database, api)
    reports = [await run(api, latency(value), hash=HASHES[value]) for value in range(4)]
    twin = await run(api, latency(1), hash=HASHES[1])
    topic = await run(api, branch="topic", start_point={"branch": "main", "hash": HASHES[1]})
    early = await run(api, branch="early", start_point={"branch": "main", "hash": HASHES[0]})
    await delete(api, twin)
    assert [number(await again(api, one)) for one in (*reports, topic, early)] == [0, 1, 2, 3, 2, 1]
    await delete(api, reports[1])
    assert [number(await again(api, one)) for one in (reports[0], *reports[2:], topic, early)] == [0, 1, 2, 1, 1]
    assert (await again(api, topic))["branch"]["head"]["start_point"] is None
    assert number(await run(api)) == 3


async def delete(api: httpx.AsyncClient, report: dict[str, Any]) -> None:
    """Delete a report that is there."""
    answer = await api.delete(f"{PROJECT}/reports/{report['uuid']}")
    assert (answer.status_code, answer.headers["x-total-count"]) == (204, "0")


async def again(api: httpx.AsyncClient, report: dict[str, Any]) -> dict[str, Any]:
    """A report as it is now."""
    found: dict[str, Any] = await get(api, f"{PROJECT}/reports/{report['uuid']}")
    return found
