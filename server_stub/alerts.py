"""Alerts and single metrics, read back; and what a person makes of an alert. Each is part of one transaction."""

from uuid import UUID

from server_stub import views
from server_stub.access import Scope
from server_stub.edits import AlertChange
from server_stub.errors import NotFoundError
from server_stub.queries import AlertListing, AlertStatus
from server_stub.shapes import AlertJson, OneMetricJson
from server_stub.store import alerts
from server_stub.store.tx import Row


def listed(scope: Scope, query: AlertListing) -> tuple[list[AlertJson], int]:
    """A part of the list."""
    rows, total = alerts.page(scope.tx, scope.project_id, query)
    return views.alerts(scope, rows), total


def show(scope: Scope, uuid: UUID) -> AlertJson:
    """One alert."""
    return views.alerts(scope, [_get(scope, uuid)])[0]


def change(scope: Scope, uuid: UUID, body: AlertChange) -> AlertJson:
    """Dismiss an alert or make it active again; an empty body only marks it modified."""
    status = None if body.status is None else AlertStatus(body.status)
    alerts.change(scope.tx, _get(scope, uuid), status)
    return show(scope, uuid)


def metric(scope: Scope, uuid: UUID) -> OneMetricJson:
    """One metric with its place, threshold, boundary and alert."""
    row = alerts.metric(scope.tx, scope.project_id, uuid)
    if row is None:
        raise NotFoundError(f"there is no metric {uuid} in this project")
    return views.one_metric(scope, row)


def _get(scope: Scope, uuid: UUID) -> Row:
    row = alerts.find(scope.tx, scope.project_id, uuid)
    if row is None:
        raise NotFoundError(f"there is no alert {uuid} in this project")
    return row
