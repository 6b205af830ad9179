"""Thresholds, alerts, metrics, plots and series of metrics: what is read, in which order, and what may be changed."""

from typing import Any

import httpx
import pytest
from server_runs import HASHES, PROJECT, add_user, bmf, get, head, latency, only, run, sign_in, token_of

from server_stub.perf import combinations
from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

UNKNOWN = "018f3f0e-8c1a-7000-8000-000000000000"
STATIC = {"test": "static", "upper_boundary": 5.0}
PLACE = {"branch": "main", "testbed": "ci"}


async def ready(api: httpx.AsyncClient, database: Database) -> dict[str, Any]:
    """The project `demo` with two reports, the second with an alert; its owner signed in. The second report."""
    await sign_in(database, api)
    await run(api, latency(1), **PLACE, thresholds={"models": {"latency": STATIC}})
    return await run(api, latency(9), **PLACE, hash=HASHES[0])


async def status(api: httpx.AsyncClient, method: str, path: str, **body: Any) -> int:
    return (await api.request(method, f"{PROJECT}/{path}", json=body or None)).status_code


# Thresholds


async def test_a_threshold_is_made_replaced_and_emptied(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    await run(api, latency(1), branch="main", testbed="other")
    body = {"branch": "main", "testbed": "other", "measure": "latency", "test": "t_test", "upper_boundary": 0.9}
    made = (await api.post(f"{PROJECT}/thresholds", json=body)).json()
    path = f"thresholds/{made['uuid']}"
    assert (made["testbed"]["name"], made["measure"]["slug"], made["model"]["test"]) == ("other", "latency", "t_test")
    assert await status(api, "POST", "thresholds", **body) == 409
    replaced = (await api.put(f"{PROJECT}/{path}", json=STATIC)).json()
    emptied = (await api.put(f"{PROJECT}/{path}", json={"test": None})).json()
    assert (replaced["model"]["test"], replaced["model"]["replaced"], emptied["model"]) == ("static", None, None)
    old = (await get(api, f"{PROJECT}/{path}", model=made["model"]["uuid"]))["model"]
    assert (old["test"], old["upper_boundary"], old["replaced"] is None) == ("t_test", 0.9, False)


async def test_a_threshold_shows_no_model_of_another(api: httpx.AsyncClient, database: Database) -> None:
    """Row 33."""
    alert = (await ready(api, database))["alerts"][0]
    other = await run(api, latency(1), branch="main", testbed="other", thresholds={"models": {"latency": STATIC}})
    threshold = f"{PROJECT}/thresholds/{only(other)['threshold']['uuid']}"
    for model, expected in ((alert["threshold"]["model"]["uuid"], 404), (UNKNOWN, 404), ("x", 400)):
        assert (await api.get(threshold, params={"model": model})).status_code == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"test": "percentage", "upper_boundary": 0.1, "max_sample_size": 1}, 201),
        ({"test": "t_test", "upper_boundary": 0.9, "max_sample_size": 1}, 400),
        ({"test": "iqr", "upper_boundary": 3.0, "max_sample_size": 1}, 400),
        ({"test": "t_test", "upper_boundary": 1.0}, 400),
        ({"test": "static"}, 400),
        ({"upper_boundary": 1.0}, 400),
    ],
)
async def test_a_model_that_can_never_work_makes_no_threshold(
    api: httpx.AsyncClient, database: Database, model: dict[str, Any], expected: int
) -> None:
    """Row 34."""
    await ready(api, database)
    await run(api, latency(1), branch="main", testbed="other")
    place = {"branch": "main", "testbed": "other", "measure": "latency"}
    assert await status(api, "POST", "thresholds", **place, **model) == expected
    assert len(await get(api, f"{PROJECT}/thresholds")) == 1 + (expected == 201)


async def test_thresholds_are_listed_by_age_and_limited_to_a_place(api: httpx.AsyncClient, database: Database) -> None:
    first = only(await ready(api, database))["threshold"]["uuid"]
    other = await run(api, latency(1), branch="b", testbed="ci", thresholds={"models": {"latency": STATIC}})
    second = only(other)["threshold"]["uuid"]

    async def listed(**query: Any) -> list[str]:
        return [one["uuid"] for one in await get(api, f"{PROJECT}/thresholds", **query)]

    assert await listed() == [first, second]
    assert await listed(direction="desc") == [second, first]
    assert await listed(branch="b", testbed="ci", measure="Latency") == [second]
    assert (await api.get(f"{PROJECT}/thresholds", params={"branch": "absent"})).status_code == 404
    await status(api, "PATCH", "branches/b", archived=True)
    assert (await listed(), await listed(archived=True)) == ([first], [second])


async def test_with_a_threshold_go_its_boundaries_and_alerts_but_no_metrics(
    api: httpx.AsyncClient, database: Database
) -> None:
    report = await ready(api, database)
    assert await status(api, "DELETE", f"thresholds/{only(report)['threshold']['uuid']}") == 204
    again = await get(api, f"{PROJECT}/reports/{report['uuid']}")
    measure = only(again)
    assert (measure["metric"], measure["threshold"], measure["boundary"]) == (only(report)["metric"], None, None)
    assert (again["alerts"], again["counts"]["alerts"]) == ([], {"total": 0, "active": 0})
    assert await get(api, f"{PROJECT}/alerts") == []


# Alerts and metrics


async def test_an_alert_is_dismissed_revived_and_only_silenced_by_the_server(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 43."""
    report = await ready(api, database)
    alert = report["alerts"][0]
    path = f"alerts/{alert['uuid']}"
    assert await get(api, f"{PROJECT}/{path}") == alert
    dismissed = (await api.patch(f"{PROJECT}/{path}", json={"status": "dismissed"})).json()
    assert dismissed["status"] == "dismissed"
    assert (await api.patch(f"{PROJECT}/{path}", json={})).json()["status"] == "dismissed"
    assert await status(api, "PATCH", path, status="silenced") == 400
    await run(api, latency(1), **PLACE, start_point={"reset": True})
    silenced = await get(api, f"{PROJECT}/{path}")
    revived = (await api.patch(f"{PROJECT}/{path}", json={"status": "active"})).json()
    assert (silenced["status"], revived["status"]) == ("silenced", "active")
    assert await status(api, "GET", f"alerts/{UNKNOWN}") == 404


async def test_alerts_are_listed_active_ones_first_the_latest_changed_first(
    api: httpx.AsyncClient, database: Database
) -> None:
    await ready(api, database)
    for value in (10, 11):
        await run(api, bmf(b={"latency": value}, a={"latency": value}), **PLACE)

    async def listed(**query: Any) -> list[tuple[str, float, str]]:
        found = await get(api, f"{PROJECT}/alerts", **query)
        return [(one["benchmark"]["name"], one["metric"]["value"], one["status"]) for one in found]

    [oldest] = [one for one in await get(api, f"{PROJECT}/alerts") if one["metric"]["value"] == 9]
    assert {value for _, value, _ in await listed()} == {9, 11}
    await status(api, "PATCH", f"alerts/{oldest['uuid']}", status="dismissed")
    assert await listed() == [("a", 11, "active"), ("b", 11, "active"), ("parse", 9, "dismissed")]
    assert await listed(status="dismissed") == [("parse", 9, "dismissed")]
    assert (await api.get(f"{PROJECT}/alerts", params={"per_page": 1})).headers["x-total-count"] == "3"
    await status(api, "PATCH", "benchmarks/a", archived=True)
    assert await listed(archived=True) == [("a", 11, "active")]


async def test_a_metric_is_shown_with_all_that_belongs_to_it(api: httpx.AsyncClient, database: Database) -> None:
    report = await ready(api, database)
    measure, alert = only(report), report["alerts"][0]
    shown = await get(api, f"{PROJECT}/metrics/{measure['metric']['uuid']}")
    assert shown == {
        "uuid": measure["metric"]["uuid"],
        "report": report["uuid"],
        "iteration": 0,
        "start_time": report["start_time"],
        "end_time": report["end_time"],
        "branch": report["branch"],
        "testbed": report["testbed"],
        "benchmark": alert["benchmark"],
        **measure,
        "alert": {name: alert[name] for name in ("uuid", "limit", "status", "modified")},
    }
    assert await status(api, "GET", f"metrics/{UNKNOWN}") == 404


# Plots


def plot_of(report: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A plot of what a report measured."""
    flags = dict.fromkeys(("lower_value", "upper_value", "lower_boundary", "upper_boundary"), False)
    lists = {
        "branches": [report["branch"]["uuid"]],
        "testbeds": [report["testbed"]["uuid"]],
        "benchmarks": [report["results"][0][0]["benchmark"]["uuid"]],
        "measures": [only(report)["measure"]["uuid"]],
    }
    return {**flags, **lists, "x_axis": "date_time", "window": 60, **members}


async def test_plots_keep_their_order_as_they_come_move_and_go(api: httpx.AsyncClient, database: Database) -> None:
    report = await ready(api, database)
    body = plot_of(report)
    made = {
        title: (await api.post(f"{PROJECT}/plots", json=body | {"title": title, "index": index})).json()
        for title, index in {"b": None, "a": None, "c": 63}.items()
    }

    async def titles(**query: Any) -> list[str | None]:
        return [one["title"] for one in await get(api, f"{PROJECT}/plots", **query)]

    assert await titles() == ["a", "b", "c"]
    await status(api, "PATCH", f"plots/{made['c']['uuid']}", index=0)
    assert await titles() == ["c", "a", "b"]
    assert await titles(sort="title", direction="desc") == ["c", "b", "a"]
    assert await status(api, "DELETE", f"plots/{made['a']['uuid']}") == 204
    untitled = (await api.patch(f"{PROJECT}/plots/{made['b']['uuid']}", json={"title": None, "window": 9})).json()
    assert (untitled["title"], untitled["window"], untitled["branches"]) == (None, 9, body["branches"])
    assert await titles() == ["c", None]


async def test_a_plot_needs_uuids_of_its_project_and_there_are_64_at_most(
    api: httpx.AsyncClient, database: Database
) -> None:
    body = plot_of(await ready(api, database))
    assert await status(api, "POST", "plots", **body | {"branches": []}) == 400
    assert await status(api, "POST", "plots", **body | {"measures": [UNKNOWN]}) == 404
    made = [await status(api, "POST", "plots", **body) for _ in range(65)]
    assert made == [201] * 64 + [429]


# Series of metrics


def query_of(report: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The query for the one series of a report."""
    return {name: ",".join(value) for name, value in plot_of(report).items() if isinstance(value, list)} | members


async def test_a_series_is_the_history_of_a_head_in_order(api: httpx.AsyncClient, database: Database) -> None:
    report = await ready(api, database)
    perf = await get(api, f"{PROJECT}/perf", **query_of(report))
    [series] = perf["results"]
    assert (perf["project"]["slug"], perf["start_time"], perf["end_time"]) == ("demo", None, None)
    assert series["branch"]["head"]["version"] is None
    assert [(one["version"]["number"], one["metric"]["value"]) for one in series["metrics"]] == [(0, 1), (1, 9)]
    measure, alert = only(report), report["alerts"][0]
    assert series["metrics"][1] == {
        "report": report["uuid"],
        "iteration": 0,
        "start_time": report["start_time"],
        "end_time": report["end_time"],
        "version": report["branch"]["head"]["version"],
        **{name: measure[name] for name in ("metric", "threshold", "boundary")},
        "alert": {name: alert[name] for name in ("uuid", "limit", "status", "modified")},
    }


@pytest.mark.parametrize("name", ["branches", "testbeds", "benchmarks", "measures"])
async def test_every_list_of_a_series_is_needed(api: httpx.AsyncClient, database: Database, name: str) -> None:
    """Row 53."""
    query = query_of(await ready(api, database))
    refused = [query | {name: value} for value in ("", "x", f"{query[name]},")]
    refused.append({key: value for key, value in query.items() if key != name})
    assert [(await api.get(f"{PROJECT}/perf", params=one)).status_code for one in refused] == [400] * 4
    assert (await api.get("/v0/projects/absent/perf", params=query)).status_code == 404


async def test_times_of_a_series_are_inclusive_and_echoed(api: httpx.AsyncClient, database: Database) -> None:
    """Row 55."""
    await ready(api, database)
    report = await run(api, latency(2), **PLACE, start_time="2024-06-01T00:00:00Z", end_time="2024-06-01T00:00:10Z")
    start, end = 1717200000000, 1717200010000

    async def values(**times: int) -> list[float]:
        perf = await get(api, f"{PROJECT}/perf", **query_of(report, **times))
        return [one["metric"]["value"] for series in perf["results"] for one in series["metrics"]]

    assert await values(start_time=start, end_time=end) == [2]
    assert await values(start_time=start + 1000) == []
    assert await values(end_time=end - 1000) == [1, 9]
    perf = await get(api, f"{PROJECT}/perf", **query_of(report, start_time=start, end_time=end))
    assert (perf["start_time"], perf["end_time"]) == ("2024-06-01T00:00:00Z", "2024-06-01T00:00:10Z")
    assert (await api.get(f"{PROJECT}/perf", params=query_of(report, start_time=-1))).status_code == 400


async def test_a_series_is_of_the_current_head_or_of_the_one_that_is_named(
    api: httpx.AsyncClient, database: Database
) -> None:
    """Row 56."""
    old = await ready(api, database)
    new = await run(api, latency(3), **PLACE, start_point={"reset": True})
    other = await run(api, latency(4), branch="other", testbed="ci")

    async def values(**query: str) -> list[float]:
        perf = await get(api, f"{PROJECT}/perf", **query_of(new, **query))
        return [one["metric"]["value"] for series in perf["results"] for one in series["metrics"]]

    assert await values() == [3]
    assert await values(heads=",") == [3]
    assert await values(heads=head(old)) == [1, 9]
    assert await values(heads=head(other)) == []
    assert await values(heads=UNKNOWN) == []


async def test_a_series_holds_the_history_of_its_start_point(api: httpx.AsyncClient, database: Database) -> None:
    await ready(api, database)
    report = await run(api, latency(5), branch="feature", testbed="ci", start_point={"branch": "main"})
    [series] = (await get(api, f"{PROJECT}/perf", **query_of(report)))["results"]
    assert [(one["version"]["number"], one["metric"]["value"]) for one in series["metrics"]] == [(0, 1), (1, 9), (2, 5)]


async def test_uuids_of_another_project_have_no_series(api: httpx.AsyncClient, database: Database) -> None:
    """Row 57."""
    report = await ready(api, database)
    other = await run(api, latency(1), context={"bencher.dev/v0/repo/name": "Other"}, project="other", **PLACE)
    for name, uuids in query_of(other).items():
        assert (await get(api, f"{PROJECT}/perf", **query_of(report) | {name: uuids}))["results"] == []


async def test_a_series_is_limited_to_a_spec_and_shows_it(api: httpx.AsyncClient, database: Database) -> None:
    """Row 58."""
    report = await ready(api, database)
    root = await token_of(database, await add_user(database, "Root", admin=True))
    body = {"name": "small", "architecture": "x86_64", "cpu": 1, "memory": 1 << 30, "disk": 1 << 30}
    spec = (await api.post("/v0/specs", json=body, headers=root)).json()

    def measured(tx: Any) -> None:
        of_one = "= (SELECT id FROM spec) WHERE start_s > 0 AND"
        tx.run(f"UPDATE report SET spec_id {of_one} uuid = :report", report=report["uuid"])
        tx.run(f"UPDATE metric SET spec_id {of_one} uuid = :metric", metric=only(report)["metric"]["uuid"])

    await database.write(measured)
    [any_spec] = (await get(api, f"{PROJECT}/perf", **query_of(report)))["results"]
    [small] = (await get(api, f"{PROJECT}/perf", **query_of(report, specs=spec["uuid"])))["results"]
    assert (any_spec["testbed"]["spec"], len(any_spec["metrics"])) == (None, 2)
    assert (small["testbed"]["spec"], [one["metric"]["value"] for one in small["metrics"]]) == (spec, [9])
    assert (await get(api, f"{PROJECT}/perf", **query_of(report, specs=UNKNOWN)))["results"] == []


async def test_255_series_are_one_bounded_number_of_statements(api: httpx.AsyncClient, database: Database) -> None:
    await sign_in(database, api)
    report = await run(api, bmf(**{f"b{number:03}": {"latency": 1.0} for number in range(256)}), **PLACE)
    benchmarks = [result["benchmark"]["uuid"] for result in report["results"][0]]
    few = {
        "branches": report["branch"]["uuid"],
        "testbeds": report["testbed"]["uuid"],
        "measures": report["results"][0][0]["measures"][0]["measure"]["uuid"],
    }

    async def series(count: int) -> tuple[int, int]:
        before = database.statements
        perf = await get(api, f"{PROJECT}/perf", **few, benchmarks=",".join(benchmarks[:count]))
        return len(perf["results"]), database.statements - before

    one, most, capped = await series(1), await series(255), await series(256)
    assert (one[0], most[0], capped[0]) == (1, 255, 255)
    # Each is twelve, and one or two of the sweep that looks for lost leases meanwhile.
    assert max(one[1], most[1], capped[1]) <= 20


def test_the_walk_ends_where_the_product_of_the_places_passes_255() -> None:
    """Row 54."""
    assert len(list(combinations([1, 1, 1, 255]))) == 255
    assert len(list(combinations([1, 1, 1, 256]))) == 255
    assert list(combinations([2, 1, 1, 200]))[-1] == (1, 0, 0, 126)
    assert list(combinations([0, 1, 1, 1])) == []
