"""Projects to look through, and one of them with what was last measured there."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from server_stub.access import open_project
from server_stub.entity_json import project_json
from server_stub.errors import NotFoundError
from server_stub.names import NameId, parse_resource_id
from server_stub.pages.rendering import Sight, page
from server_stub.pages.route import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def named(text: str) -> NameId:
    """The project of a path, by slug or UUID."""
    try:
        return parse_resource_id(text)
    except ValueError:
        raise NotFoundError(f"there is no project {text!r}") from None


@router.get("/projects/{project}")
async def show_project(request: Request, project: str) -> Response:
    """One project."""

    def read(sight: Sight) -> dict[str, Any]:
        return {"project": project_json(open_project(sight.tx, sight.actor, named(project)))}

    return await page(request, "project.html", read)
