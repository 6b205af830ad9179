"""Request → validate → one call → reply. Each file holds the routes of one noun; none speaks SQL."""

from fastapi import APIRouter

from server_stub.routes import agents, health, jobs, reports, run, runners, server, specs

ROUTERS: list[APIRouter] = [
    server.router,
    run.router,
    reports.router,
    jobs.router,
    runners.router,
    specs.router,
    agents.router,
    health.router,
]
"""Every router of the API, in the order of the OpenAPI page. A new file of routes is added here."""
