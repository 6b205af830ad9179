"""Values held against history: which sample, which limits, which alerts, on the way through the whole server."""

from typing import Any

import httpx
import pytest
from server_runs import HASHES, PROJECT, bmf, get, latency, only, run, sign_in

from server_stub.store.database import Database

pytestmark = pytest.mark.anyio

NEWEST_FIRST = (103, 98, 101, 99, 100)
NOTHING = {"baseline": None, "lower_limit": None, "upper_limit": None}


def on_latency(test: str, **members: Any) -> dict[str, Any]:
    """A threshold on latency."""
    return {"models": {"latency": {"test": test, **members}}}


async def history(api: httpx.AsyncClient, *newest_first: float, **members: Any) -> None:
    """Reports with these values."""
    for value in reversed(newest_first):
        await run(api, latency(value), **members)


@pytest.mark.parametrize(
    ("test", "bound", "expected"),
    [
        ("static", 101.0, (None, 101.0, 101.0)),
        ("percentage", 0.1, (100.2, 90.18, 110.22)),
        ("z_score", 0.95, (100.2, 97.03606087603553, 103.36393912396447)),
        ("t_test", 0.95, (100.2, 95.70792008102612, 104.69207991897389)),
        ("log_normal", 0.95, (100.18529325465981, 96.9817052578928, 103.38888125142682)),
        ("iqr", 3.0, (100, 94, 106)),
        ("delta_iqr", 3.0, (100, 94.68448950106027, 105.31551049893973)),
    ],
)
async def test_each_test_gives_the_reference_values(
    api: httpx.AsyncClient, test: str, bound: float, expected: tuple[float | None, ...]
) -> None:
    """Row 35: to 1e-9."""
    await history(api, *NEWEST_FIRST)
    report = await run(api, latency(100), thresholds=on_latency(test, lower_boundary=bound, upper_boundary=bound))
    limits = tuple(only(report)["boundary"].values())
    assert limits == pytest.approx(expected, abs=1e-9)


async def test_the_first_metric_of_a_series_is_never_checked(api: httpx.AsyncClient) -> None:
    """Row 36: not even by `static`."""
    report = await run(api, latency(9), thresholds=on_latency("static", upper_boundary=1))
    assert (only(report)["boundary"], report["alerts"]) == (NOTHING, [])
    assert only(report)["threshold"]["model"]["test"] == "static"


async def test_a_value_at_its_limit_raises_no_alert(api: httpx.AsyncClient) -> None:
    """Row 37."""
    await run(api, latency(1))
    at = await run(api, latency(5), thresholds=on_latency("static", lower_boundary=5, upper_boundary=5))
    above = await run(api, latency(5.000001))
    below = await run(api, latency(4.999999))
    assert [[one["limit"] for one in report["alerts"]] for report in (at, above, below)] == [[], ["upper"], ["lower"]]
    assert above["alerts"][0]["threshold"]["model"] == only(above)["threshold"]["model"]


async def test_a_constant_history_has_no_z_score(api: httpx.AsyncClient) -> None:
    """Row 38."""
    await history(api, 7, 7, 7)
    report = await run(api, latency(8), thresholds=on_latency("z_score", upper_boundary=0.9))
    assert only(report)["boundary"] == NOTHING


async def test_iterations_of_one_report_feed_each_other(api: httpx.AsyncClient) -> None:
    """Row 39."""
    newest = on_latency("percentage", upper_boundary=1, max_sample_size=2)
    report = await run(api, latency(10), latency(20), latency(30), latency(40), thresholds=newest)
    baselines = [iteration[0]["measures"][0]["boundary"]["baseline"] for iteration in report["results"]]
    assert baselines == [None, 10.0, 15.0, 25.0]
    assert [iteration[0]["iteration"] for iteration in report["results"]] == [0, 1, 2, 3]


async def test_an_ignored_benchmark_has_limits_and_no_alert(api: httpx.AsyncClient) -> None:
    """Row 40."""
    await run(api, latency(1))
    ignored = bmf(parse_bencher_ignore={"latency": 99})
    report = await run(api, ignored, thresholds=on_latency("static", upper_boundary=5))
    [[result]] = report["results"]
    assert result["benchmark"]["name"] == "parse"
    assert (only(report)["boundary"]["upper_limit"], report["alerts"]) == (5.0, [])


async def test_the_same_model_stays_and_another_one_replaces_it(api: httpx.AsyncClient) -> None:
    """Row 41."""
    model = on_latency("static", upper_boundary=5)
    first, same = [only(await run(api, latency(1), thresholds=model))["threshold"] for _ in range(2)]
    other = only(await run(api, latency(1), thresholds=on_latency("static", upper_boundary=6)))["threshold"]
    assert first == same
    assert other["uuid"] == first["uuid"]
    assert other["model"]["uuid"] != first["model"]["uuid"]
    replaced = await get(api, f"{PROJECT}/thresholds/{first['uuid']}", model=first["model"]["uuid"])
    assert replaced["model"]["replaced"] is not None


async def test_a_reset_removes_the_models_that_are_not_listed(api: httpx.AsyncClient) -> None:
    """Row 42: of this branch and testbed only."""
    both = {"models": {key: {"test": "static", "upper_boundary": 1} for key in ("latency", "throughput")}}
    await run(api, thresholds=both, testbed="elsewhere")
    await run(api, thresholds=both)
    await run(api, thresholds={"models": {}})
    await run(api, thresholds={"models": {"latency": both["models"]["latency"]}, "reset": True})
    assert await _models(api, "localhost") == {"latency": "static", "throughput": None}
    await run(api, thresholds={"reset": True})
    assert await _models(api, "localhost") == {"latency": None, "throughput": None}
    assert await _models(api, "elsewhere") == {"latency": "static", "throughput": "static"}
    report = await run(api, latency(1))
    assert (only(report)["threshold"], only(report)["boundary"]) == (None, None)


async def _models(api: httpx.AsyncClient, testbed: str) -> dict[str, str | None]:
    found = await get(api, f"{PROJECT}/thresholds", testbed=testbed)
    return {one["measure"]["slug"]: one["model"] and one["model"]["test"] for one in found}


async def test_the_sample_is_of_the_same_branch_testbed_and_series(api: httpx.AsyncClient) -> None:
    await run(api, bmf(parse={"latency": 10, "hits": 1000}, other={"latency": 1000}))
    await run(api, latency(1000), branch="topic")
    await run(api, latency(1000), testbed="elsewhere")
    report = await run(api, latency(10), thresholds=on_latency("percentage", upper_boundary=1))
    assert only(report)["boundary"]["baseline"] == 10.0


async def test_an_earlier_report_of_the_same_commit_is_in_the_sample(api: httpx.AsyncClient) -> None:
    await run(api, latency(10), hash=HASHES[0])
    report = await run(api, latency(30), hash=HASHES[0], thresholds=on_latency("percentage", upper_boundary=1))
    assert only(report)["boundary"]["baseline"] == 10.0


async def test_the_sample_goes_by_version_then_start_time_then_iteration(api: httpx.AsyncClient) -> None:
    """Of version 1 the later start wins, whichever came first; of one report the last iteration is the newest."""
    await run(api, latency(1), hash=HASHES[0], start_time="2024-05-09T00:00:00Z")
    await run(api, latency(2), hash=HASHES[1], start_time="2024-05-03T00:00:00Z")
    await run(api, latency(4), latency(8), hash=HASHES[1], start_time="2024-05-02T00:00:00Z")
    await run(api, latency(16), hash=HASHES[0], start_time="2024-05-08T00:00:00Z")
    baselines = []
    for size in range(1, 6):
        model = on_latency("percentage", upper_boundary=1, max_sample_size=size)
        report = await run(api, latency(0), branch=f"b{size}", start_point={"branch": "main"}, thresholds=model)
        baselines.append(only(report)["boundary"]["baseline"])
    assert baselines == [2 / 1, 10 / 2, 14 / 3, 15 / 4, 31 / 5]


async def test_a_window_is_counted_back_from_now(api: httpx.AsyncClient) -> None:
    """Not from the report's own start: a backdated run sees what others see."""
    await run(api, latency(10), start_time="2099-01-01T00:00:00Z")
    await run(api, latency(1000), start_time="2020-01-01T00:00:00Z")
    week = on_latency("percentage", upper_boundary=1, window=604_800)
    report = await run(api, latency(1), latency(2), start_time="2020-01-01T00:00:00Z", thresholds=week)
    baselines = [iteration[0]["measures"][0]["boundary"]["baseline"] for iteration in report["results"]]
    assert baselines == [10.0, 10.0]


async def test_a_small_sample_waits_for_its_least_size(api: httpx.AsyncClient) -> None:
    model = on_latency("t_test", upper_boundary=0.9, min_sample_size=3)
    reports = [await run(api, latency(value), thresholds=model) for value in (1, 2, 3, 4)]
    assert [only(report)["boundary"]["baseline"] for report in reports] == [None, None, None, 2.0]


async def test_alerts_stay_what_they_were_when_the_threshold_changes(
    api: httpx.AsyncClient, database: Database
) -> None:
    await sign_in(database, api)
    await run(api, latency(1))
    report = await run(api, latency(9), thresholds=on_latency("static", upper_boundary=5))
    await run(api, latency(1), thresholds=on_latency("static", upper_boundary=50))
    after = await get(api, f"{PROJECT}/reports/{report['uuid']}")
    assert only(after)["threshold"]["model"].pop("replaced") is not None
    assert only(report)["threshold"]["model"].pop("replaced") is None
    assert after["results"] == report["results"]
    [alert] = await get(api, f"{PROJECT}/alerts")
    assert (alert["uuid"], alert["status"], alert["boundary"]) == (
        report["alerts"][0]["uuid"],
        "active",
        {"baseline": None, "lower_limit": None, "upper_limit": 5.0},
    )


async def test_a_thousand_benchmarks_with_history_take_few_statements(
    api: httpx.AsyncClient, database: Database
) -> None:
    """With thresholds on both measures and history behind them; neither size nor history shows in the count."""
    models = {key: {"test": "t_test", "upper_boundary": 0.99, "max_sample_size": 64} for key in ("latency", "hits")}
    statements = []
    for size in (10, 1000, 1000, 1000):
        names = {f"bench {number}": {"latency": float(number), "hits": 1.0} for number in range(size)}
        before = database.statements
        answer = await api.post(
            "/v0/run",
            json={
                "project": "demo",
                "context": {},
                "start_time": "2024-05-01T10:00:00Z",
                "end_time": "2024-05-01T10:00:00Z",
                "results": [bmf(**names)],
                "thresholds": {"models": models},
            },
        )
        assert answer.status_code == 201
        statements.append(database.statements - before)
    # The first sweep of this process may be counted with the first run.
    assert (statements[0] <= 72, max(statements[1:]) <= 40) == (True, True), statements
