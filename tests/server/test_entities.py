"""Branches, testbeds, benchmarks and measures by themselves: listed, shown, made, changed and deleted."""

from typing import Any

import httpx
import pytest
from server_runs import HASHES, PROJECT, add_user, bmf, get, head, latency, run, sign_in

from server_stub.edits import NewSpec
from server_stub.store import specs
from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

UNKNOWN = "018f3f0e-8c1a-7000-8000-000000000000"
NOUNS = ("branches", "testbeds", "benchmarks", "measures")


async def ready(api: httpx.AsyncClient, database: Database) -> None:
    """The project `demo`, empty but for one report, and its owner signed in."""
    await sign_in(database, api)
    await run(api, latency(1), branch="main", testbed="ci")


def body_of(noun: str, name: str, **members: Any) -> dict[str, Any]:
    """What makes one of a noun."""
    return {"name": name, **({"units": "seconds (s)"} if noun == "measures" else {}), **members}


async def make(api: httpx.AsyncClient, noun: str, name: str, **members: Any) -> dict[str, Any]:
    answer = await api.post(f"{PROJECT}/{noun}", json=body_of(noun, name, **members))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def status(api: httpx.AsyncClient, method: str, path: str, **body: Any) -> int:
    return (await api.request(method, f"{PROJECT}/{path}", json=body or None)).status_code


@pytest.mark.parametrize("noun", NOUNS)
async def test_what_is_made_can_be_read_by_uuid_slug_and_name(
    api: httpx.AsyncClient, database: Database, noun: str
) -> None:
    await ready(api, database)
    made = await make(api, noun, "Über.Fast")
    assert (made["name"], made["slug"], made["archived"]) == ("Über.Fast", "uber-fast", None)
    for named in (made["uuid"], made["uuid"].replace("-", ""), made["slug"], "Über.Fast"):
        assert await get(api, f"{PROJECT}/{noun}/{named}") == made


@pytest.mark.parametrize("noun", NOUNS)
async def test_a_taken_name_or_slug_is_refused(api: httpx.AsyncClient, database: Database, noun: str) -> None:
    """Row 60."""
    await ready(api, database)
    await make(api, noun, "First")
    await make(api, noun, "Second")
    assert await status(api, "POST", noun, **body_of(noun, "First")) == 409
    assert await status(api, "POST", noun, **body_of(noun, "Third", slug="first")) == 409
    assert await status(api, "PATCH", f"{noun}/second", name="First") == 409
    assert await status(api, "PATCH", f"{noun}/second", slug="first") == 409
    assert await status(api, "PATCH", f"{noun}/second", name="Second", slug="second") == 200


@pytest.mark.parametrize("noun", NOUNS)
async def test_a_slug_that_is_taken_gets_eight_more_characters(
    api: httpx.AsyncClient, database: Database, noun: str
) -> None:
    await ready(api, database)
    slugs = [(await make(api, noun, name))["slug"] for name in ("a.b", "a-b", "a+b")]
    assert slugs[0] == "a-b"
    assert [len(slug) for slug in slugs[1:]] == [12, 12]
    assert all(slug.startswith("a-b-") for slug in slugs[1:])
    assert len(set(slugs)) == 3


@pytest.mark.parametrize("noun", NOUNS)
async def test_an_archived_one_is_hidden_from_the_list_and_a_run_brings_it_back(
    api: httpx.AsyncClient, database: Database, noun: str
) -> None:
    await ready(api, database)
    [known] = await get(api, f"{PROJECT}/{noun}")
    archived = await api.patch(f"{PROJECT}/{noun}/{known['slug']}", json={"archived": True})
    assert archived.json()["archived"] is not None
    assert await get(api, f"{PROJECT}/{noun}") == []
    assert await get(api, f"{PROJECT}/{noun}", archived=True) == [archived.json()]
    await run(api, latency(2), branch="main", testbed="ci")
    [back] = await get(api, f"{PROJECT}/{noun}")
    assert (back["uuid"], back["archived"]) == (known["uuid"], None)
    again = await api.patch(f"{PROJECT}/{noun}/{known['slug']}", json={"archived": False, "name": "renamed"})
    assert (again.json()["name"], again.json()["archived"]) == ("renamed", None)


@pytest.mark.parametrize("noun", NOUNS)
async def test_one_with_results_stays_and_one_without_goes(
    api: httpx.AsyncClient, database: Database, noun: str
) -> None:
    await ready(api, database)
    [known] = await get(api, f"{PROJECT}/{noun}")
    await make(api, noun, "spare")
    assert await status(api, "DELETE", f"{noun}/{known['slug']}") == 409
    assert await status(api, "DELETE", f"{noun}/spare") == 204
    assert await status(api, "GET", f"{noun}/spare") == 404
    assert await status(api, "DELETE", f"{noun}/spare") == 404
    [report] = await get(api, f"{PROJECT}/reports")
    assert await status(api, "DELETE", f"reports/{report['uuid']}") == 204
    assert await status(api, "DELETE", f"{noun}/{known['slug']}") == 204


@pytest.mark.parametrize("noun", NOUNS)
async def test_a_list_comes_in_parts_with_its_total_in_a_header(
    api: httpx.AsyncClient, database: Database, noun: str
) -> None:
    await ready(api, database)
    for number in range(9):
        await make(api, noun, f"x{number}")

    async def part(**query: Any) -> tuple[str, list[str]]:
        answer = await api.get(f"{PROJECT}/{noun}", params=query)
        return answer.headers["x-total-count"], [one["name"] for one in answer.json()]

    first = await part()
    assert (first[0], len(first[1])) == ("10", 8)
    assert await part(page=0) == first
    assert await part(per_page=0) == ("10", [])
    assert (await part(page=2, direction="desc", per_page=4))[1] == ["x4", "x3", "x2", "x1"]
    assert (await part(page=5))[1] == []
    assert await part(name="x3") == ("1", ["x3"])
    assert await part(search="X3") == ("1", ["x3"])
    assert await part(search="%") == ("0", [])
    for query in ({"per_page": 256}, {"page": -1}, {"direction": "up"}, {"sort": "created"}, {"archived": "perhaps"}):
        assert (await api.get(f"{PROJECT}/{noun}", params=query)).status_code == 400, query


@pytest.mark.parametrize("noun", NOUNS)
async def test_names_are_sorted_by_bytes(api: httpx.AsyncClient, database: Database, noun: str) -> None:
    await ready(api, database)
    [known] = await get(api, f"{PROJECT}/{noun}")
    await status(api, "PATCH", f"{noun}/{known['slug']}", name="z")
    for name in ("b", "B", "a", "é"):
        await make(api, noun, name)
    assert [one["name"] for one in await get(api, f"{PROJECT}/{noun}")] == ["B", "a", "b", "z", "é"]


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": None}, {"name": "x\x00y"}, {"name": 7}, {"name": "ok", "slug": "Not A Slug"}, []],
)
async def test_a_body_that_breaks_a_rule_makes_nothing(
    api: httpx.AsyncClient, database: Database, noun: str, body: Any
) -> None:
    await ready(api, database)
    answer = await api.post(f"{PROJECT}/{noun}", json=body)
    assert answer.status_code == 400
    assert sorted(answer.json()) == ["message", "request_id"]
    assert len(await get(api, f"{PROJECT}/{noun}")) == 1


# Branches


async def test_a_branch_with_slashes_in_its_name_is_found_by_it(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    made = await make(api, "branches", "feature/fast/er")
    for path in ("feature%2Ffast%2Fer", "feature/fast/er", "feature-fast-er"):
        assert (await api.get(f"{PROJECT}/branches/{path}")).json() == made


async def test_a_branch_is_shown_with_a_head_that_it_had_but_not_with_anothers(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 59."""
    await ready(api, database)
    old = head(await run(api, latency(1), branch="main", testbed="ci"))
    new = head(await run(api, latency(1), branch="main", testbed="ci", start_point={"reset": True}))
    other = head(await run(api, latency(1), branch="other", testbed="ci"))
    branch = f"{PROJECT}/branches/main"
    assert (await get(api, branch))["head"]["uuid"] == new
    shown = (await get(api, branch, head=old))["head"]
    assert (shown["uuid"], shown["version"], shown["replaced"] is None) == (old, None, False)
    assert [(await api.get(branch, params={"head": one})).status_code for one in (other, UNKNOWN, "x")] == [
        404,
        404,
        400,
    ]


async def test_a_branch_made_from_a_start_point_has_its_history(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    report = await run(api, latency(1), branch="main", testbed="ci", hash=HASHES[0])
    made = await make(api, "branches", "feature", start_point={"branch": "main"})
    assert made["head"]["start_point"] == {
        "branch": report["branch"]["uuid"],
        "head": head(report),
        "version": {"number": 1, "hash": HASHES[0]},
    }
    unknown = await make(api, "branches", "lonely", start_point={"branch": "nowhere"})
    assert unknown["head"]["start_point"] is None


async def test_a_patched_start_point_goes_through_the_decision_of_a_run(
    api: httpx.AsyncClient, database: Database
) -> None:
    await ready(api, database)
    await run(api, latency(1), branch="main", testbed="ci", hash=HASHES[0])
    made = await make(api, "branches", "feature", start_point={"branch": "main"})

    async def patched(**start: Any) -> Any:
        answer = await api.patch(f"{PROJECT}/branches/feature", json={"start_point": start})
        return answer.json()["head"]["uuid"]

    assert await patched(branch="main") == made["head"]["uuid"]
    assert await patched(branch="nowhere") == made["head"]["uuid"]
    moved = await patched(branch="main", reset=True)
    assert moved != made["head"]["uuid"]
    await run(api, latency(1), branch="main", testbed="ci", hash=HASHES[1])
    assert await patched(branch="main") != moved


# Testbeds and their specs


async def spec(database: Database, name: str) -> str:
    """A spec's UUID."""
    body = NewSpec.model_validate(
        {"name": name, "architecture": "x86_64", "cpu": 1, "memory": 1 << 30, "disk": 1 << 30}
    )
    row = await database.write(lambda tx: specs.create(tx, body))
    return str(row["uuid"])


async def test_a_testbed_is_given_a_spec_and_loses_it_by_null(api: httpx.AsyncClient, database: Database) -> None:
    """Row 61."""
    await ready(api, database)
    small, large = await spec(database, "small"), await spec(database, "large")
    made = await make(api, "testbeds", "rack", spec="small")
    assert (made["spec"]["uuid"], made["spec"]["network"]) == (small, False)
    path = f"{PROJECT}/testbeds/rack"
    assert (await get(api, path, spec=large))["spec"]["uuid"] == large
    assert (await get(api, path))["spec"]["uuid"] == small
    assert (await api.get(path, params={"spec": UNKNOWN})).status_code == 404
    untouched = (await api.patch(path, json={"archived": None})).json()
    changed = (await api.patch(path, json={"spec": large})).json()
    cleared = (await api.patch(path, json={"spec": None})).json()
    assert [one["spec"] and one["spec"]["uuid"] for one in (untouched, changed, cleared)] == [small, large, None]
    assert await status(api, "PATCH", "testbeds/rack", spec="absent") == 404


# Measures and benchmarks


async def test_the_units_of_a_measure_can_be_changed(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    changed = await api.patch(f"{PROJECT}/measures/latency", json={"units": "ticks"})
    assert (changed.json()["name"], changed.json()["units"]) == ("Latency", "ticks")


async def test_a_benchmark_is_named_by_a_thousand_bytes(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    name = "b" * 1024
    report = await run(api, bmf(**{name: {"latency": 1.0}}), branch="main", testbed="ci")
    benchmark = report["results"][0][0]["benchmark"]
    assert (benchmark["name"], len(benchmark["slug"])) == (name, 64)
    assert await get(api, f"{PROJECT}/benchmarks/{name}") == benchmark


# Projects


async def test_a_project_is_renamed_and_its_url_removed_by_null(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    changed = (await api.patch(PROJECT, json={"name": "Fast", "slug": "fast", "url": "https://a.example"})).json()
    assert (changed["name"], changed["slug"], changed["url"]) == ("Fast", "fast", "https://a.example")
    assert (await api.get(PROJECT)).status_code == 404
    assert (await api.patch("/v0/projects/fast", json={"url": None})).json()["url"] is None


async def test_a_deleted_project_is_hidden_and_its_slug_is_free(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    assert (await api.delete(PROJECT, params={"hard": True})).status_code == 403
    assert (await api.delete(PROJECT)).status_code == 204
    assert (await api.get(PROJECT)).status_code == 404
    assert await get(api, "/v0/projects") == []
    again = await run(api, latency(1))
    assert (again["project"]["slug"], again["branch"]["head"]["version"]["number"]) == ("demo", 0)


async def test_an_administrator_deletes_a_project_for_good(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    await run(
        api, latency(2), latency(3), thresholds={"models": {"latency": {"test": "static", "upper_boundary": 2.5}}}
    )
    await sign_in(database, api, "Root", admin=True)
    assert (await api.delete(PROJECT, params={"hard": True})).status_code == 204
    left = await database.read(
        lambda tx: {
            table: tx.value(f"SELECT COUNT(*) FROM {table}")
            for table in ("project", "metric", "head", "model", "alert")
        }
    )
    assert left == {"project": 0, "metric": 0, "head": 0, "model": 0, "alert": 0}


async def test_projects_are_listed_by_name_and_found_by_part_of_it(api: httpx.AsyncClient, database: Database) -> None:
    await add_user(database, "Ada")
    for name in ("Beta", "Alpha", "alphabet"):
        await run(api, latency(1), project=name.lower(), context={"bencher.dev/v0/repo/name": name})
    assert [one["name"] for one in await get(api, "/v0/projects")] == ["Alpha", "Beta", "alphabet"]
    assert [one["name"] for one in await get(api, "/v0/projects", search="alpha")] == ["Alpha", "alphabet"]
    assert [one["name"] for one in await get(api, "/v0/projects", name="Alpha")] == ["Alpha"]
