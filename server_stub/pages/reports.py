"""A report: what each benchmark measured, how that stands beside its history, and whether to believe it."""

from collections.abc import Sequence
from statistics import median
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from server_stub.access import may_read_output, may_submit, rights_in
from server_stub.actors import Right
from server_stub.errors import NotFoundError
from server_stub.pages import jobs
from server_stub.pages.rendering import Sight, page
from server_stub.pages.route import PageRoute
from server_stub.reports import report_view
from server_stub.settings import Settings
from server_stub.shapes import AlertJson
from server_stub.shapes_of_reports import ReportJson, ReportMeasureJson, ResultJson
from server_stub.state import state_of
from server_stub.store import outputs, projects
from server_stub.store import reports as report_rows
from server_stub.watching import look_at_job

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ROWS_SHOWN = 500


@router.get("/reports/{report}")
async def show_report(request: Request, report: UUID, search: str = "") -> Response:
    """One report."""
    settings = state_of(request).settings
    return await page(request, "report.html", lambda sight: _context(sight, report, search.strip(), settings))


@router.get("/perf/{project}/reports/{report}")
@router.get("/console/projects/{project}/reports/{report}")
async def find_report(project: str, report: UUID) -> Response:  # noqa: ARG001  Where that API's clients say it is.
    """Lead from the links that clients print."""
    return RedirectResponse(f"/reports/{report}", 303)


def _context(sight: Sight, uuid: UUID, search: str, settings: Settings) -> dict[str, Any]:
    row = report_rows.find(sight.tx, str(uuid))
    project = projects.by_id(sight.tx, row["project_id"]) if row else None
    if row is None or project is None or Right.VIEW not in rights_in(sight.tx, sight.actor, project):
        raise NotFoundError(f"there is no report {uuid}")
    view = report_view(sight.tx, str(uuid))
    found = [one for one in table(view) if search.casefold() in one["benchmark"]["name"].casefold()]
    seen = look_at_job(sight.tx, UUID(view["job"]), settings) if "job" in view else None
    result = outputs.find_report(sight.tx, UUID(view["job"])) if seen and jobs.is_over(seen.job) else None
    output = may_read_output(sight.tx, sight.actor, project)
    return {
        "report": view,
        "project": project,
        "rows": found[:ROWS_SHOWN],
        "rows_hidden": max(0, len(found) - ROWS_SHOWN),
        "search": search,
        "may_steer": may_submit(sight.tx, sight.actor, project),
        "trust": result.trust if result else None,
        **(jobs.live_context(seen, output=output) if seen else {"job": None, "over": True}),
    }


def table(report: ReportJson) -> list[dict[str, Any]]:
    """A row for each benchmark and measure over all iterations: those with alerts first, then by name."""
    found: dict[tuple[str, str], list[tuple[ResultJson, ReportMeasureJson]]] = {}
    for iteration in report.get("results", []):
        for result in iteration:
            for measured in result["measures"]:
                key = (result["benchmark"]["name"], measured["measure"]["name"])
                found.setdefault(key, []).append((result, measured))
    alerts: dict[str, list[AlertJson]] = {}
    for alert in report.get("alerts", []):
        alerts.setdefault(alert["metric"]["uuid"], []).append(alert)
    rows = [_row(report, seen, alerts) for _, seen in sorted(found.items())]
    return sorted(rows, key=lambda row: not row["alerts"])


def _row(
    report: ReportJson, seen: Sequence[tuple[ResultJson, ReportMeasureJson]], alerts: dict[str, list[AlertJson]]
) -> dict[str, Any]:
    benchmark, measure = seen[0][0]["benchmark"], seen[0][1]["measure"]
    values = [measured["metric"]["value"] for _, measured in seen]
    own = [alert for _, measured in seen for alert in alerts.get(measured["metric"]["uuid"], [])]
    bounds = [measured["boundary"] for _, measured in seen if measured["boundary"] is not None]
    judged = [bound for bound in bounds if bound["lower_limit"] is not None or bound["upper_limit"] is not None]
    bases = [bound["baseline"] for bound in bounds if bound["baseline"] is not None]
    base = median(bases) if bases else None
    value = median(values)
    return {
        "benchmark": benchmark,
        "measure": measure,
        "units": measure["units"],
        "value": value,
        "low": min(values),
        "high": max(values),
        "count": len(values),
        "baseline": base,
        "change": value / base - 1 if base else None,
        "boundary": judged[-1] if judged else None,
        "alerts": own,
        "verdict": _verdict(own, bounded=bool(bounds), judged=bool(judged)),
        "plot": plot_of(report, benchmark["uuid"], measure["uuid"]),
    }


def _verdict(alerts: Sequence[AlertJson], *, bounded: bool, judged: bool) -> tuple[str, str]:
    """The row's word: as a state, and as a person reads it."""
    if alerts:
        sides = sorted({alert["limit"] for alert in alerts})
        words = {"lower": "below its limit", "upper": "above its limit"}
        status = "" if any(alert["status"] == "active" for alert in alerts) else f", {alerts[0]['status']}"
        return "alert", " and ".join(words[side] for side in sides).capitalize() + status
    if judged:
        return "quiet", "Within its limits"
    return ("unknown", "Too little history") if bounded else ("idle", "No threshold")


def plot_of(report: ReportJson, benchmark: str, measure: str) -> str:
    """Where the history of one row is drawn."""
    chosen = {
        "branches": report["branch"]["uuid"],
        "testbeds": report["testbed"]["uuid"],
        "benchmarks": benchmark,
        "measures": measure,
        "report": report["uuid"],
    }
    return f"/perf/{report['project']['slug']}?{urlencode(chosen)}"
