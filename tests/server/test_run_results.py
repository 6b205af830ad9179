"""What the strings of a run become: iterations, benchmarks, measures, and one where they are folded."""

import json
from typing import Any

import httpx
import pytest
from server_runs import bmf, latency, only, refused, run

pytestmark = pytest.mark.anyio

GO = "goos: linux\nBenchmarkParse-8   \t 1000000\t      1234 ns/op\nPASS\n"


async def test_runs_without_metrics_are_runs(api: httpx.AsyncClient) -> None:
    """Row 44."""
    for results in ([], ["{}"], [bmf(parse={})]):
        report = await run(api, *results)
        assert (report["results"], report["alerts"]) == ([], [])
        assert report["counts"] == {"results": [], "alerts": {"total": 0, "active": 0}}


async def test_an_iteration_without_metrics_is_left_out_and_the_others_keep_their_numbers(
    api: httpx.AsyncClient,
) -> None:
    report = await run(api, latency(1), "{}", bmf(b={"latency": 2, "hits": 3}, a={"latency": 1}))
    shown = [
        [(result["iteration"], result["benchmark"]["name"], len(result["measures"])) for result in iteration]
        for iteration in report["results"]
    ]
    assert shown == [[(0, "parse", 1)], [(2, "a", 1), (2, "b", 2)]]
    assert report["counts"]["results"] == [{"benchmarks": 1, "measures": 1}, {"benchmarks": 2, "measures": 2}]


@pytest.mark.parametrize("results", ["[]", "1", "", "{} {}", '{"a":{"b":1}}', '{"a":{"b":{"value":NaN}}}'])
async def test_what_is_not_bmf_is_refused(api: httpx.AsyncClient, results: str) -> None:
    message = await refused(api, 400, results, settings={"adapter": "json"})
    assert message.startswith("results[0]: json: ")


FOLDED = {"a": {"x": 1.0}, "b": {"x": 10.0}}, {"a": {"x": 3.0}}, {"a": {"x": 8.0}}


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        ("min", {"a": 1.0, "b": 10.0}),
        ("max", {"a": 8.0, "b": 10.0}),
        ("mean", {"a": 4.0, "b": 10 / 3}),
        ("median", {"a": 3.0, "b": 10.0}),
    ],
)
async def test_folding_makes_one_iteration(api: httpx.AsyncClient, fold: str, expected: dict[str, float]) -> None:
    """Row 46: under `mean`, a benchmark that some strings lack is divided by all of them."""
    report = await run(api, *(bmf(**one) for one in FOLDED), settings={"fold": fold})
    [iteration] = report["results"]
    values = {result["benchmark"]["name"]: result["measures"][0]["metric"]["value"] for result in iteration}
    assert values == pytest.approx(expected)
    assert {result["iteration"] for result in iteration} == {0}


async def test_an_average_that_a_harness_does_not_print_is_refused(api: httpx.AsyncClient) -> None:
    """Row 47."""
    settings: dict[str, Any] = {"adapter": "go_bench"}
    assert only(await run(api, GO, settings=settings))["metric"]["value"] == 1234.0
    assert "gives no median" in await refused(api, 400, GO, settings={**settings, "average": "median"})


@pytest.mark.parametrize(
    ("key", "name", "slug", "units"),
    [
        ("Build Time", "Build Time", "build-time", "seconds (s)"),
        ("file-size", "File Size", "file-size", "bytes (B)"),
        ("Errors", "Memcheck Errors", "memcheck-errors", "errors"),
        ("allocated", "allocated", "allocated", "Measure (units)"),
        ("My Measure", "My Measure", "my-measure", "Measure (units)"),
    ],
)
async def test_a_measure_that_is_built_in_has_its_units(
    api: httpx.AsyncClient, key: str, name: str, slug: str, units: str
) -> None:
    """Row 48."""
    measure = only(await run(api, bmf(parse={key: 1})))["measure"]
    assert (measure["name"], measure["slug"], measure["units"]) == (name, slug, units)


async def test_benchmarks_are_found_by_uuid_slug_and_name(api: httpx.AsyncClient) -> None:
    report = await run(api, bmf(**{"My Bench": {"latency": 1}}))
    [[first]] = report["results"]
    keys = [first["benchmark"]["uuid"], "my-bench", "My Bench", "My BenchBencherIgnore"]
    for key in keys:
        [[result]] = (await run(api, bmf(**{key: {"latency": 1}})))["results"]
        assert result["benchmark"] == first["benchmark"]


async def test_names_of_one_slug_get_slugs_of_their_own(api: httpx.AsyncClient) -> None:
    report = await run(api, bmf(**{name: {"latency": 1} for name in ("a b", "a::b", "a-b", "...", "日本")}))
    slugs = {result["benchmark"]["name"]: result["benchmark"]["slug"] for result in report["results"][0]}
    assert slugs["a-b"] == "a-b"
    assert len(set(slugs.values())) == 5
    assert all(slugs.values())


async def test_a_name_that_no_database_can_hold_is_refused(api: httpx.AsyncClient) -> None:
    results = json.dumps({"nul\x00": {"latency": {"value": 1}}})
    message = await refused(api, 400, results)
    assert message.startswith("results[0]: ")


async def test_extreme_numbers_come_back_exactly(api: httpx.AsyncClient) -> None:
    values = [5e-324, 1.7976931348623157e308, -0.1, 0.30000000000000004, 123456789012345680.0]
    for value in values:
        assert only(await run(api, latency(value)))["metric"]["value"] == value
