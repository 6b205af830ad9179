"""Pages for people: rendered here, live where something goes on, from the same services as the API.

Each file holds the pages of one noun; none speaks SQL. What a page shows is decided by the same rights as the API, and
everything that a stranger has named or printed is text: the templates escape, and the browser is told to run no script
but ours.
"""

from fastapi import APIRouter

from server_stub.pages import assets, fleet, jobs, live, login, plots, projects, reports

PAGES: list[APIRouter] = [
    assets.router,
    fleet.router,
    live.router,
    jobs.router,
    reports.router,
    plots.router,
    plots.data,
    projects.router,
    login.router,
]
"""Every router of pages. A new file of pages is added here."""
