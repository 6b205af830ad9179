"""Projects to look through, and one of them with what was last measured there."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.datastructures import URL
from starlette.responses import RedirectResponse, Response

from server_stub import reports, views
from server_stub.access import Scope, open_project
from server_stub.errors import NotFoundError
from server_stub.names import NameId, parse_resource_id
from server_stub.pages.rendering import Sight, page
from server_stub.pages.route import PageRoute
from server_stub.queries import AlertListing, AlertStatus
from server_stub.store import alerts, fleet, lists, projects
from server_stub.store.paging import Page, Where
from server_stub.store.reports import Wanted

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PER_PAGE = 50
REPORTS_SHOWN = 12
ALERTS_SHOWN = 12
NOUNS_SHOWN = 30
EVERY_REPORT = Wanted(branch=None, testbed=None, start_ms=None, end_ms=None, archived=False)


def named(text: str) -> NameId:
    """The project of a path, by slug or UUID."""
    try:
        return parse_resource_id(text)
    except ValueError:
        raise NotFoundError(f"there is no project {text!r}") from None


@router.get("/projects")
async def list_projects(
    request: Request,
    search: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(ge=1, le=10**6, alias="page")] = 1,
) -> Response:
    """Projects that the visitor may see: those with active alerts are marked."""

    def read(sight: Sight) -> dict[str, Any]:
        actor = sight.actor
        where = Where() if actor.admin else projects.visible_to(actor.user_id, actor.project_id)
        lists.find_in(where, search.strip() or None, "p.name", "p.slug", "p.uuid")
        rows, total = projects.page(sight.tx, where, Page(PER_PAGE, (number - 1) * PER_PAGE))
        last = fleet.last_reports(sight.tx, [row["id"] for row in rows])
        shown = [row | {"last_s": last[row["id"]]["start_s"], "alerts": last[row["id"]]["alerts"]} for row in rows]
        return {"projects": shown, "total": total, "search": search, "number": number, "per_page": PER_PAGE}

    return await page(request, "projects.html", read)


@router.get("/projects/{project}")
async def show_project(request: Request, project: str) -> Response:
    """One project: what moved, what ran, and where to look further."""

    def read(sight: Sight) -> dict[str, Any]:
        row = open_project(sight.tx, sight.actor, named(project))
        scope = Scope(sight.tx, sight.actor, row)
        newest = Page(REPORTS_SHOWN, 0, descending=True)
        found, total = reports.page(sight.tx, row["id"], EVERY_REPORT, newest, expand=False)
        active = AlertListing(status=AlertStatus.ACTIVE, per_page=ALERTS_SHOWN)
        alert_rows, alerts_total = alerts.page(sight.tx, row["id"], active)
        return {
            "project": row,
            "reports": found,
            "reports_total": total,
            "alerts": views.alerts(scope, alert_rows),
            "alerts_total": alerts_total,
            "jobs": {one["uuid"]: one for one in fleet.of_project(sight.tx, row["id"], 4 * REPORTS_SHOWN)},
            "nouns": [_noun(scope, "branch", "Branches"), _noun(scope, "testbed", "Testbeds")],
        }

    return await page(request, "project.html", read)


@router.get("/console/projects/{project}/perf")
async def find_plots(request: Request, project: str) -> Response:
    """Lead from the link that clients print for a private project."""
    return RedirectResponse(str(URL(path=f"/perf/{project}", query=request.url.query)), 303)


def _noun(scope: Scope, noun: Any, title: str) -> dict[str, Any]:
    rows, total = lists.nouns(
        scope.tx, noun, scope.project_id, Page(NOUNS_SHOWN, 0), name=None, search=None, archived=False
    )
    return {"title": title, "rows": rows, "total": total}
