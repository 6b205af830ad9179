"""One run in, one report out: what is made on the way, what comes back, and what a refused run leaves behind."""

import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

HASH = "0123456789abcdef0123456789abcdef01234567"
TIMES = {"start_time": "2024-05-01T10:00:00Z", "end_time": "2024-05-01T10:00:09.500Z"}


def bmf(**benchmarks: dict[str, float]) -> str:
    """A BMF document: benchmark → measure → value."""
    return json.dumps(
        {name: {key: {"value": value} for key, value in measures.items()} for name, measures in benchmarks.items()}
    )


def body(*results: str, **members: Any) -> dict[str, Any]:
    """A run of a project that its context names."""
    return {"context": {"bencher.dev/v0/repo/name": "Demo"}, "results": list(results), **TIMES, **members}


async def run(api: httpx.AsyncClient, *results: str, **members: Any) -> dict[str, Any]:
    """Send a run that must be taken; return its report."""
    answer = await api.post("/v0/run", json=body(*results, **members))
    assert answer.status_code == 201, answer.text
    report: dict[str, Any] = answer.json()
    return report


async def test_a_first_run_makes_everything_it_names(api: httpx.AsyncClient) -> None:
    report = await run(api, bmf(parse={"latency": 130, "hits": 7}), hash=HASH, branch="feature/x", testbed="Rack 1")

    again = await api.get(f"/v0/projects/demo/reports/{report['uuid']}")
    assert again.json() == report
