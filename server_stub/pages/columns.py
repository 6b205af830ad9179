"""Series of metrics for the script that draws them: in columns, with each report once. Pure.

Ten thousand points are a tenth of what `GET …/perf` answers for them, which repeats the report, the threshold and the
names of every member for each.
"""

from collections.abc import Sequence
from typing import Any

from server_stub.perf import Lane, Lanes4
from server_stub.store.tx import Row

_PLAIN = ("value", "lower_value", "upper_value", "baseline", "lower_limit", "upper_limit")


def columns(found: Sequence[tuple[Lanes4, list[Row]]]) -> dict[str, Any]:
    """All series. `reports`: UUID, start and end (Unix seconds), number and hash of the version."""
    places: dict[str, int] = {}
    reports: list[list[Any]] = []
    series = [_series(lanes, rows, places, reports) for lanes, rows in found]
    return {"reports": reports, "series": series}


def _series(lanes: Lanes4, rows: list[Row], places: dict[str, int], reports: list[list[Any]]) -> dict[str, Any]:
    branch, testbed, benchmark, measure = lanes
    assert branch.beside is not None, "a branch comes with a head"
    of_points = [_place(row, places, reports) for row in rows]
    return {
        "branch": _named(branch),
        "head": branch.beside["uuid"],
        "testbed": _named(testbed),
        "benchmark": _named(benchmark),
        "measure": _named(measure) | {"units": measure.row["units"]},
        "report": of_points,
        "iteration": [row["iteration"] for row in rows],
        **{name: [row[name] for row in rows] for name in _PLAIN if any(row[name] is not None for row in rows)},
        "alerts": {at: [row["boundary_limit"], row["status"]] for at, row in enumerate(rows) if row["alert_uuid"]},
    }


def _named(lane: Lane) -> dict[str, Any]:
    return {"uuid": lane.row["uuid"], "name": lane.row["name"]}


def _place(row: Row, places: dict[str, int], reports: list[list[Any]]) -> int:
    uuid = row["report"]
    if uuid not in places:
        places[uuid] = len(reports)
        reports.append([uuid, row["start_s"], row["end_s"], row["number"], row["hash"]])
    return places[uuid]
