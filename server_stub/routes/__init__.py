"""Request → validate → one call → reply. Each file holds the routes of one noun; none speaks SQL."""

from fastapi import APIRouter

from server_stub.routes import (
    alerts,
    benchmarks,
    branches,
    health,
    jobs,
    measures,
    people,
    perf,
    plots,
    projects,
    reports,
    run,
    runners,
    server,
    specs,
    testbeds,
    thresholds,
)

ROUTERS: list[APIRouter] = [
    server.router,
    run.router,
    projects.router,
    projects.one,
    branches.router,
    testbeds.router,
    benchmarks.router,
    measures.router,
    reports.router,
    thresholds.router,
    alerts.router,
    perf.router,
    plots.router,
    jobs.router,
    runners.router,
    specs.router,
    people.users,
    people.organizations,
    health.router,
]
"""Every router of the API, in the order of the OpenAPI page. A new file of routes is added here."""
