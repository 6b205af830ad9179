"""One run in, one report out: what is made on the way, what comes back, and what a refused run leaves behind."""

import re
from typing import Any

import httpx
import pytest
from server_runs import (
    CONTEXT,
    HASHES,
    PROJECT,
    TIMES,
    bmf,
    everything,
    get,
    latency,
    refused,
    run,
    run_body,
    sign_in,
)

from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNKNOWN = "018f3f0e-8c1a-7000-8000-000000000000"
THRESHOLD = {"models": {"latency": {"test": "percentage", "upper_boundary": 0.1}}}


class Veil:
    """Names UUIDs by order of appearance and hides times of creation, so that a whole report can be compared."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def over(self, value: Any) -> Any:
        """The same value without what differs from run to run."""
        if isinstance(value, dict):
            return {key: "now" if _is_clock(key, one) else self.over(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.over(one) for one in value]
        if isinstance(value, str) and UUID.fullmatch(value):
            return self.names.setdefault(value, f"uuid-{len(self.names)}")
        return value


def _is_clock(key: str, value: Any) -> bool:
    return key in ("created", "modified", "claimed") and value is not None


async def test_the_worked_example_comes_back_as_the_reference_has_it(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 1."""
    await sign_in(database, api)
    for value in (100, 99, 101, 98, 103):
        await run(api, latency(value), branch="main", testbed="ci")
    body = {
        "project": "demo",
        "branch": "main",
        "testbed": "ci",
        "hash": HASHES[0],
        **TIMES,
        "settings": {"adapter": "json"},
        "thresholds": THRESHOLD,
        "results": ['{"parse":{"latency":{"value":130,"lower_value":120},"hits":{"value":7}}}'],
        "idempotency_key": "3b9e7a52-4d0f-4c84-9f0b-0c5b7a1e2d11",
    }
    answer = await api.post("/v0/run", json=body)
    assert answer.status_code == 201
    assert Veil().over(answer.json()) == WORKED_EXAMPLE
    assert answer.headers["access-control-allow-headers"] == "Content-Type, Authorization"
    assert answer.headers["x-total-count"] == "1"


DATES = {"created": "now", "modified": "now"}
IN_PROJECT = {"project": "uuid-2", **DATES, "archived": None}
HEAD = {
    "uuid": "uuid-4",
    "start_point": None,
    "version": {"number": 5, "hash": HASHES[0]},
    "created": "now",
    "replaced": None,
}
BRANCH = {"uuid": "uuid-3", "name": "main", "slug": "main", "head": HEAD, **IN_PROJECT}
TESTBED = {"uuid": "uuid-5", "name": "ci", "slug": "ci", "spec": None, **IN_PROJECT}
BENCHMARK = {"uuid": "uuid-6", "name": "parse", "slug": "parse", **IN_PROJECT}
LATENCY = {"uuid": "uuid-7", "name": "Latency", "slug": "latency", "units": "nanoseconds (ns)", **IN_PROJECT}
HITS = {"uuid": "uuid-11", "name": "hits", "slug": "hits", "units": "Measure (units)", **IN_PROJECT}
METRIC = {"uuid": "uuid-8", "value": 130.0, "lower_value": 120.0, "upper_value": None}
BOUNDARY = {"baseline": 100.2, "lower_limit": None, "upper_limit": 110.22}
MODEL = {
    "uuid": "uuid-10",
    "test": "percentage",
    "min_sample_size": None,
    "max_sample_size": None,
    "window": None,
    "lower_boundary": None,
    "upper_boundary": 0.1,
    "created": "now",
    "replaced": None,
}
WORKED_EXAMPLE = {
    "uuid": "uuid-0",
    "user": {"uuid": "uuid-1", "name": "Ada", "slug": "ada"},
    "project": {
        "uuid": "uuid-2",
        "organization": "uuid-1",
        "name": "Demo",
        "slug": "demo",
        "url": None,
        "visibility": "public",
        **DATES,
        "claimed": "now",
    },
    "branch": BRANCH,
    "testbed": TESTBED,
    "start_time": "2024-05-01T10:00:00Z",
    "end_time": "2024-05-01T10:00:09Z",
    "adapter": "json",
    "results": [
        [
            {
                "iteration": 0,
                "benchmark": BENCHMARK,
                "measures": [
                    {
                        "measure": LATENCY,
                        "metric": METRIC,
                        "threshold": {"uuid": "uuid-9", "project": "uuid-2", "model": MODEL, "created": "now"},
                        "boundary": BOUNDARY,
                    },
                    {
                        "measure": HITS,
                        "metric": {"uuid": "uuid-12", "value": 7.0, "lower_value": None, "upper_value": None},
                        "threshold": None,
                        "boundary": None,
                    },
                ],
            }
        ]
    ],
    "alerts": [
        {
            "uuid": "uuid-13",
            "report": "uuid-0",
            "iteration": 0,
            "benchmark": BENCHMARK,
            "metric": METRIC,
            "threshold": {
                "uuid": "uuid-9",
                "project": "uuid-2",
                "branch": BRANCH,
                "testbed": TESTBED,
                "measure": LATENCY,
                "model": MODEL,
                **DATES,
            },
            "boundary": BOUNDARY,
            "limit": "upper",
            "status": "active",
            **DATES,
        }
    ],
    "counts": {"results": [{"benchmarks": 1, "measures": 2}], "alerts": {"total": 1, "active": 1}},
    "created": "now",
}


async def test_everything_that_is_named_and_missing_is_made(api: httpx.AsyncClient) -> None:
    """Row 2."""
    report = await run(api, bmf(parse={"latency": 1}), hash=HASHES[0], branch="feature/x", testbed="Rack 1")
    made = [report["branch"], report["testbed"], report["results"][0][0]["benchmark"]]
    assert [(one["name"], one["slug"]) for one in made] == [
        ("feature/x", "feature-x"),
        ("Rack 1", "rack-1"),
        ("parse", "parse"),
    ]
    assert await get(api, f"{PROJECT}/reports/{report['uuid']}") == report


async def test_what_is_not_named_comes_from_the_context_or_has_a_default(api: httpx.AsyncClient) -> None:
    plain = await run(api)
    told = {
        "bencher.dev/v0/repo/name": "Demo",
        "bencher.dev/v0/branch/ref/name": "topic",
        "bencher.dev/v0/branch/hash": HASHES[3],
        "bencher.dev/v0/testbed/os": "Linux",
    }
    report = await run(api, context=told)
    assert (plain["branch"]["name"], plain["testbed"]["name"]) == ("main", "localhost")
    assert (report["branch"]["name"], report["testbed"]["name"]) == ("topic", "Linux")
    assert report["branch"]["head"]["version"] == {"number": 0, "hash": HASHES[3]}


async def test_a_new_project_needs_a_context_to_be_named_by(api: httpx.AsyncClient) -> None:
    """Row 23: a new slug without `context` is 400; an empty one is enough."""
    message = await refused(api, 400, project="new", context=None)
    assert message == "context: must be given to name the new project 'new'"
    report = await run(api, project="new", context={})
    assert (report["project"]["name"], report["project"]["slug"]) == ("Project", "new")


async def test_a_run_that_nothing_names_a_project_for_is_refused(api: httpx.AsyncClient) -> None:
    assert (await refused(api, 400, context=None)).startswith("project: must be given")
    assert (await refused(api, 400, context={})).startswith("project: must be given")


async def test_times_are_kept_in_whole_seconds(api: httpx.AsyncClient) -> None:
    """Row 21."""
    report = await run(api, start_time="2024-05-01T12:00:00.999+02:00", end_time="2023-01-01T00:00:00.1Z")
    assert (report["start_time"], report["end_time"]) == ("2024-05-01T10:00:00Z", "2023-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("rust", "magic"), ("python", "magic"), ("rust_iai_callgrind", "rust_gungraun"), ("json", "json")],
)
async def test_adapters_are_stored_by_their_own_names(api: httpx.AsyncClient, sent: str, stored: str) -> None:
    """Row 22."""
    report = await run(api, settings={"adapter": sent})
    assert report["adapter"] == stored


async def test_an_archived_name_that_is_used_comes_back(api: httpx.AsyncClient, database: Database) -> None:
    report = await run(api, latency(1))
    for table in ("branch", "testbed", "benchmark", "measure"):
        await database.write(lambda tx, table=table: tx.run(f"UPDATE {table} SET archived_ms = 1"))  # type: ignore[misc]
    again = await run(api, latency(1))
    [[result]] = again["results"]
    archived = [again["branch"], again["testbed"], result["benchmark"], result["measures"][0]["measure"]]
    assert [one["archived"] for one in archived] == [None] * 4
    assert again["branch"]["uuid"] == report["branch"]["uuid"]


@pytest.mark.parametrize("member", ["project", "branch", "testbed"])
async def test_an_unknown_uuid_is_not_made(api: httpx.AsyncClient, database: Database, member: str) -> None:
    await run(api)
    before = await everything(database)
    assert UNKNOWN in await refused(api, 404, latency(1), **{member: UNKNOWN})
    assert await everything(database) == before


async def test_an_unknown_benchmark_or_measure_uuid_is_not_made(api: httpx.AsyncClient, database: Database) -> None:
    """Row 49."""
    await run(api)
    before = await everything(database)
    assert UNKNOWN in await refused(api, 404, bmf(**{UNKNOWN: {"latency": 1}}), branch="other")
    assert UNKNOWN in await refused(api, 404, bmf(parse={UNKNOWN: 1}), branch="other")
    models = {UNKNOWN: {"test": "static", "upper_boundary": 1}}
    assert UNKNOWN in await refused(api, 404, latency(1), branch="other", thresholds={"models": models})
    assert await everything(database) == before


async def test_a_name_that_another_slug_holds_is_a_conflict(api: httpx.AsyncClient, database: Database) -> None:
    """`foo` reads as a slug; a branch of that name with another slug is in the way."""
    report = await run(api, branch="Foo")
    rename = "UPDATE branch SET name = 'foo', slug = 'bar' WHERE uuid = :uuid"
    await database.write(lambda tx: tx.run(rename, uuid=report["branch"]["uuid"]))
    message = await refused(api, 409, branch="foo")
    assert message == "there is a branch named 'foo' already, with the slug 'bar'"


async def test_a_refused_run_leaves_nothing_behind(api: httpx.AsyncClient, database: Database) -> None:
    """Rows 13, 45: where the reference keeps an empty report, we keep nothing."""
    nothing = await everything(database)
    thresholds = {"models": {"latency": {"test": "t_test", "upper_boundary": 0.99}}}
    message = await refused(api, 400, latency(1), "no results", thresholds=thresholds, branch="b", testbed="t")
    assert message.startswith("results[1]: magic: nothing matched")
    assert "'no results'" in message
    assert await everything(database) == nothing


async def test_a_model_that_can_never_work_is_refused_up_front(api: httpx.AsyncClient, database: Database) -> None:
    """The reference takes it and fails once there is history."""
    nothing = await everything(database)
    thresholds = {"models": {"latency": {"test": "t_test", "upper_boundary": 2}}}
    message = await refused(api, 400, latency(1), thresholds=thresholds)
    assert message.startswith("thresholds.models.latency: upper_boundary")
    assert await everything(database) == nothing


@pytest.mark.parametrize("key", ["foo", "Foo"])
async def test_two_keys_of_one_benchmark_are_refused_by_name(api: httpx.AsyncClient, key: str) -> None:
    """The reference answers 500, and its own retry then gets an empty report."""
    same = bmf(**{key: {"latency": 1}, f"{key}_bencher_ignore": {"latency": 2}})
    message = await refused(api, 400, same)
    assert message == f"results[0]: {key!r} and {key + '_bencher_ignore'!r} are the same benchmark"


async def test_two_keys_of_one_measure_are_refused_by_name(api: httpx.AsyncClient) -> None:
    message = await refused(api, 400, bmf(parse={"latency": 1, "Latency": 2}))
    assert message == "results[0]: 'latency' and 'Latency' are the same measure"
    models = {key: {"test": "static", "upper_boundary": 1} for key in ("latency", "Latency")}
    message = await refused(api, 400, thresholds={"models": models})
    assert message == "thresholds.models: 'latency' and 'Latency' are the same measure"


async def test_a_body_over_the_bound_is_refused(api: httpx.AsyncClient) -> None:
    """Row 20: 400 as in the reference, and not 413."""
    body = run_body("x" * (4 << 20))
    answer = await api.post("/v0/run", json=body)
    assert (answer.status_code, answer.json()["message"]) == (400, "body: larger than 4194304 bytes")


async def test_a_malformed_body_is_refused_with_path_and_rule(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v0/run", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("body: not JSON")
    assert await refused(api, 400, start_time=None) == "start_time: Field required"
    assert (await refused(api, 400, hash="abc")).startswith("hash: must be exactly 40 hex digits")
    assert (await refused(api, 400, context={**CONTEXT, "x": 1})).startswith("context.x: must be a string")
    problem = (await api.post("/v0/run", json={})).json()
    assert set(problem) == {"request_id", "message"}
