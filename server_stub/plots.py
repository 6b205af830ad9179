"""Plots that are pinned to a project: listed, shown, made, changed and deleted. Each is part of one transaction."""

from uuid import UUID

from server_stub.access import Scope
from server_stub.edits import NewPlot, PlotChange
from server_stub.entity_json import plot_json
from server_stub.errors import NotFoundError
from server_stub.queries import PlotListing
from server_stub.shapes import PlotJson
from server_stub.store import plots
from server_stub.store.lists import rows_of
from server_stub.store.nouns import Noun

_MEMBERS = {
    "branches": Noun.BRANCH,
    "testbeds": Noun.TESTBED,
    "benchmarks": Noun.BENCHMARK,
    "measures": Noun.MEASURE,
}
_PLAIN = {"title", "lower_value", "upper_value", "lower_boundary", "upper_boundary", "x_axis", "y_axis"}


def listed(scope: Scope, query: PlotListing) -> tuple[list[PlotJson], int]:
    """A part of the list."""
    rows, total = plots.page(scope.tx, scope.project_id, query)
    return [plot_json(row, scope.project_uuid) for row in rows], total


def show(scope: Scope, uuid: UUID) -> PlotJson:
    """One plot."""
    return plot_json(plots.get(scope.tx, scope.project_id, uuid), scope.project_uuid)


def make(scope: Scope, body: NewPlot) -> PlotJson:
    """Pin a plot. Raises `NotFoundError` for a UUID of another project, `LimitError` for one plot too many."""
    elements = {member: [str(uuid) for uuid in getattr(body, member)] for member in _MEMBERS}
    for member, noun in _MEMBERS.items():
        _refuse_unknown(scope, member, noun, elements[member])
    columns = body.model_dump(include=_PLAIN) | {"window_s": body.window}
    row = plots.create(scope.tx, scope.project_id, body.index or 0, columns, elements)
    return plot_json(row, scope.project_uuid)


def change(scope: Scope, uuid: UUID, body: PlotChange) -> PlotJson:
    """Change a plot's title, window or place."""
    values: dict[str, object] = {} if body.window is None else {"window_s": body.window}
    if "title" in body.model_fields_set:
        values["title"] = body.title
    plots.change(scope.tx, plots.get(scope.tx, scope.project_id, uuid), values, body.index)
    return show(scope, uuid)


def delete(scope: Scope, uuid: UUID) -> None:
    """Take a plot down."""
    plots.delete(scope.tx, plots.get(scope.tx, scope.project_id, uuid))


def _refuse_unknown(scope: Scope, member: str, noun: Noun, uuids: list[str]) -> None:
    known = rows_of(scope.tx, noun, scope.project_id, uuids)
    for uuid in uuids:
        if uuid not in known:
            raise NotFoundError(f"{member}: there is no {noun} {uuid} in this project")
