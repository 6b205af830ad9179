"""Plots that are pinned to a project: listed, shown, made, changed and deleted."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from server_stub import plots
from server_stub.actors import Right
from server_stub.edits import NewPlot, PlotChange
from server_stub.queries import PlotListing
from server_stub.routes.paths import PlotPath
from server_stub.routes.project_call import Call
from server_stub.routes.replies import answers, json_reply
from server_stub.shapes import PlotJson

router = APIRouter(prefix="/v0/projects/{project}/plots", tags=["plots"])


@router.get("", **answers(list[PlotJson]))
async def list_plots(call: Call, query: Annotated[PlotListing, Query()]) -> Response:
    """Plots of a project, in their order."""
    rows, total = await call.read(lambda scope: plots.listed(scope, query))
    return json_reply(rows, total=total)


@router.post("", **answers(PlotJson, 201))
async def create_plot(call: Call, body: NewPlot) -> Response:
    """Pin a plot; a project has 64 of them at most."""
    return json_reply(await call.write(lambda scope: plots.make(scope, body), Right.CREATE), 201)


@router.get("/{plot}", **answers(PlotJson))
async def get_plot(call: Call, plot: PlotPath) -> Response:
    """One plot."""
    return json_reply(await call.read(lambda scope: plots.show(scope, plot)))


@router.patch("/{plot}", **answers(PlotJson))
async def change_plot(call: Call, plot: PlotPath, body: PlotChange) -> Response:
    """Change a plot's title, window or place."""
    return json_reply(await call.write(lambda scope: plots.change(scope, plot, body), Right.EDIT))


@router.delete("/{plot}", **answers(None, 204))
async def delete_plot(call: Call, plot: PlotPath) -> Response:
    """Take a plot down."""
    await call.write(lambda scope: plots.delete(scope, plot), Right.DELETE, users_only=True)
    return Response(status_code=204)
