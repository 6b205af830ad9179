"""How benchmarks moved: the page, the series that its script draws, and what there is to choose from.

The address holds the whole choice, in the words of the links that clients print; so the page is the same for every
choice, and the browser keeps it.
"""

import gzip
import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from runner_protocol.jobs import Work
from runner_protocol.results import RunReport, Word
from server_stub import perf
from server_stub.access import Scope, open_project
from server_stub.entity_json import plot_json, project_json
from server_stub.job_outputs import words_of
from server_stub.names import Text
from server_stub.pages.columns import columns
from server_stub.pages.headers import SAFE
from server_stub.pages.projects import named
from server_stub.pages.rendering import Sight, page
from server_stub.pages.route import PageRoute
from server_stub.pages.visitor import visitor_of
from server_stub.perf import PerfQuery
from server_stub.queries import PlotListing
from server_stub.shapes import PlotJson
from server_stub.state import state_of
from server_stub.store import jobs, lists, outputs, plots, reports
from server_stub.store import perf as stored
from server_stub.store.nouns import Noun
from server_stub.store.paging import Page
from server_stub.store.tx import Tx

router = APIRouter(route_class=PageRoute, include_in_schema=False)
data = APIRouter(include_in_schema=False)

BENCHMARKS_AT_FIRST = 6
"""What is drawn where an address names nothing: enough to see the project, few enough to tell apart."""
CHOICES_MAX = 50
PINNED_MAX = 64
KINDS = {"branches": Noun.BRANCH, "testbeds": Noun.TESTBED, "benchmarks": Noun.BENCHMARK, "measures": Noun.MEASURE}


@router.get("/perf/{project}")
@router.get("/console/projects/{project}/perf")
async def show(request: Request, project: str) -> Response:
    """The page."""

    def read(sight: Sight) -> dict[str, Any]:
        row = open_project(sight.tx, sight.actor, named(project))
        first = stored.newest_choice(sight.tx, row["id"], BENCHMARKS_AT_FIRST)
        pinned = plots.page(sight.tx, row["id"], PlotListing(per_page=PINNED_MAX))[0]
        return {
            "project": project_json(row),
            "first": orjson.dumps(first).decode(),
            "empty": not first,
            "pinned": [_pinned(plot_json(plot, row["uuid"]), sight.tx.now_ms()) for plot in pinned],
        }

    return await page(request, "plots.html", read, kinds=[(kind, str(noun)) for kind, noun in KINDS.items()])


def _pinned(plot: PlotJson, now_ms: int) -> tuple[str, str]:
    """The title of a pinned plot, and the address that draws it."""
    choice = {kind: ",".join(plot[kind]) for kind in ("branches", "testbeds", "benchmarks", "measures")}
    choice |= {edge: "true" for edge in ("lower_boundary", "upper_boundary") if plot[edge]}
    choice |= {"x_axis": plot["x_axis"], "y_axis": plot["y_axis"]}
    start_ms = max(0, now_ms - plot["window"] * 1000)
    return plot["title"] or "Untitled", "?" + urlencode(choice | {"start_time": str(start_ms)}, safe=",")


@data.get("/perf/{project}/series")
async def series(request: Request, project: str, query: Annotated[PerfQuery, Query()]) -> Response:
    """What a choice has been measured."""
    return await _answer(request, project, lambda scope: columns(perf.gather(scope, query)))


@data.get("/perf/{project}/names/{kind}")
async def names(
    request: Request,
    project: str,
    kind: str,
    search: Annotated[Text | None, Query()] = None,
    uuids: Annotated[str, Field(max_length=40 * perf.ENTRIES_MAX)] = "",
) -> Response:
    """Branches, testbeds, benchmarks or measures: those that are named, and some whose names hold `search`."""
    noun = KINDS.get(kind, Noun.BENCHMARK)

    def read(scope: Scope) -> dict[str, Any]:
        part = Page(CHOICES_MAX, 0, descending=False)
        found, total = lists.nouns(scope.tx, noun, scope.project_id, part, name=None, search=search, archived=False)
        chosen = lists.rows_of(scope.tx, noun, scope.project_id, [one for one in uuids.split(",") if one])
        return {"chosen": _names(chosen.values()), "found": _names(found), "total": total}

    return await _answer(request, project, read)


@data.get("/perf/{project}/trust/{report}")
async def trust(request: Request, project: str, report: UUID) -> Response:
    """How quiet the host was for each iteration of a report, and the digest of the image that ran."""

    def read(scope: Scope) -> dict[str, Any]:
        row = reports.find(scope.tx, str(report), scope.project_id)
        sent = outputs.find_report(scope.tx, UUID(row["job"])) if row and row["job"] else None
        return {"words": [], "digest": None} if sent is None else _trust(scope.tx, sent)

    return await _answer(request, project, read)


def _trust(tx: Tx, sent: RunReport) -> dict[str, Any]:
    job = jobs.by_uuid(tx, sent.job)
    assert job is not None, "its report was just read"
    request = jobs.request_of(tx, job["id"])
    words = words_of(sent, Work.model_validate_json(request["work"]))
    if json.loads(request["settings"]).get("fold"):  # Then the one value stands for all of them.
        words = [sent.trust.word if sent.trust else Word.UNKNOWN]
    return {"words": words, "digest": sent.digest}


def _names(rows: Any) -> list[dict[str, str]]:
    return [{"uuid": row["uuid"], "name": row["name"]} for row in rows]


async def _answer(request: Request, project: str, read: Callable[[Scope], Any]) -> Response:
    """JSON for our own script, by the rights of the page; packed, and made where it holds up no other request."""
    visitor = visitor_of(request)

    def work(tx: Tx) -> bytes:
        actor = visitor.actor(tx)
        body = orjson.dumps(
            read(Scope(tx, actor, open_project(tx, actor, named(project)))), option=orjson.OPT_NON_STR_KEYS
        )
        return gzip.compress(body, 3, mtime=0) if packed else body

    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {**SAFE, "cache-control": "private, no-cache", "vary": "cookie, accept-encoding"}
    body = await state_of(request).database.read(work)
    return Response(body, 200, headers | ({"content-encoding": "gzip"} if packed else {}), "application/json")
