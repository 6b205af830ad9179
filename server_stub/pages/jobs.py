"""A job: how far it is while it runs, and what stands behind its numbers once it has ended; and how to steer it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from runner_protocol.jobs import Work
from runner_protocol.results import RunReport, SettingRecord, Stage
from runner_protocol.states import TERMINAL, JobState
from server_stub.access import may_read_output, may_submit, rights_in
from server_stub.actors import Actor, Right
from server_stub.canceling import cancel
from server_stub.errors import ConflictError, ForbiddenError, NotFoundError
from server_stub.pages.drawings import interval, reasons_of, scatter, shape_of
from server_stub.pages.rendering import Sight, page, render
from server_stub.pages.route import PageRoute
from server_stub.pages.visitor import require_own_form, visitor_of
from server_stub.settings import Settings
from server_stub.state import state_of
from server_stub.store import job_reads, jobs, outputs, projects
from server_stub.store import reports as report_rows
from server_stub.store.tx import Row, Tx
from server_stub.submit import run_again
from server_stub.watching import JobSight, look_at_job

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STAGES = (Stage.CLAIM, Stage.PULL, Stage.PLAN, Stage.ISOLATE, Stage.ITERATE, Stage.COLLECT, Stage.REPORT)
OUTPUT_CHARACTERS_MAX = 20_000
"""Of one stream of one iteration on the page; the API has the rest."""
ITERATIONS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job with its project, opened for whoever looks."""

    row: Row
    project: Row
    may_steer: bool
    may_read_output: bool


def open_job(tx: Tx, actor: Actor, uuid: UUID) -> OpenJob:
    """A job that the visitor may see. Raises `NotFoundError`."""
    row = job_reads.find(tx, uuid)
    project = projects.by_id(tx, row["project_id"]) if row else None
    if row is None or project is None or Right.VIEW not in rights_in(tx, actor, project):
        raise NotFoundError(f"there is no job {uuid}")
    return OpenJob(row, project, may_submit(tx, actor, project), may_read_output(tx, actor, project))


@router.get("/jobs/{job}")
async def show_job(request: Request, job: UUID) -> Response:
    """One job."""
    settings = state_of(request).settings
    return await page(request, "job.html", lambda sight: context_of(sight, job, settings))


def context_of(sight: Sight, uuid: UUID, settings: Settings) -> dict[str, Any]:
    """What the template of a job asks for."""
    tx, opened = sight.tx, open_job(sight.tx, sight.actor, uuid)
    seen = look_at_job(tx, uuid, settings)
    assert seen is not None, "the job was opened in this transaction"
    report = outputs.find_report(tx, uuid) if is_over(opened.row) else None
    asked = jobs.request_of(tx, opened.row["id"])
    return {
        **live_context(seen, output=opened.may_read_output),
        "project": opened.project,
        "report": report_rows.by_id(tx, opened.row["report_id"]),
        "work": Work.model_validate_json(asked["work"]),
        "attempts": [_attempt(row) for row in job_reads.attempts(tx, opened.row["id"])],
        "may_steer": opened.may_steer,
        "may_read_output": opened.may_read_output,
        **result_context(report),
    }


def live_context(seen: JobSight, *, output: bool) -> dict[str, Any]:
    """What the live part asks for."""
    row = seen.job
    progress = json.loads(row["progress"]) if row["progress"] else None
    return {
        "job": row,
        "state": row["state"],
        "over": is_over(row),
        "waiting": seen.waiting,
        "progress": progress,
        "stages": STAGES,
        "fault": json.loads(row["fault"]) if row["fault"] else None,
        "tail": progress["tail"] if progress and output else "",
        "canceling": row["cancel_ms"] is not None and not is_over(row),
    }


def parts_of(seen: JobSight, *, output: bool) -> dict[str, str]:
    """The live part of a job's page, by the id of its element."""
    return {"progress": render("job/progress.html", live_context(seen, output=output))}


def is_over(row: Row) -> bool:
    """Whether a job will change no more."""
    return JobState(row["state"]) in TERMINAL


def result_context(report: RunReport | None) -> dict[str, Any]:
    """What stands behind the numbers of a job that has ended."""
    if report is None:
        return {"result": None, **settings_context([])}
    trust = report.trust
    return {
        "result": report,
        "scatter": scatter(report.iterations),
        "interval": interval(trust.comparison) if trust and trust.comparison else None,
        "iterations": [_iteration(record) for record in report.iterations[:ITERATIONS_SHOWN]],
        "iterations_hidden": max(0, len(report.iterations) - ITERATIONS_SHOWN),
        "characters_max": OUTPUT_CHARACTERS_MAX,
        **settings_context(report.isolation.settings if report.isolation else []),
    }


def settings_context(settings: Sequence[SettingRecord]) -> dict[str, Any]:
    """The host's settings: applied, refused, and by their reasons those that there was nothing to read of."""
    left_out = defaultdict(list)
    for one in settings:
        if not one.applied and one.before is None and one.achieved is None:
            left_out[one.note or "no reason given"].append(one.name)
    refused = [one for one in settings if not one.applied and one.name not in chain(*left_out.values())]
    return {
        "settings": bool(settings),
        "settings_applied": [one for one in settings if one.applied],
        "settings_refused": refused,
        "settings_left_out": left_out,
    }


def _iteration(record: Any) -> dict[str, Any]:
    return {"record": record, "shape": shape_of(record), "reasons": reasons_of(record.verdict)}


def _attempt(row: Row) -> dict[str, Any]:
    return row | {"fault": json.loads(row["fault"]) if row["fault"] else None}


@router.post("/jobs/{job}/cancel")
async def cancel_job(request: Request, job: UUID) -> Response:
    """End a job, and show it."""

    def work(tx: Tx, opened: OpenJob) -> str:
        cancel(tx, job, opened.project["id"])
        return f"/jobs/{job}"

    return await _steer(request, job, work)


@router.post("/jobs/{job}/retry")
async def retry_job(request: Request, job: UUID) -> Response:
    """Queue a failed or canceled job again, and show it."""

    def work(tx: Tx, opened: OpenJob) -> str:
        if not jobs.retry(tx, opened.row):
            raise ConflictError("only a job that failed or was canceled can be tried again")
        return f"/jobs/{job}"

    return await _steer(request, job, work)


@router.post("/jobs/{job}/again")
async def run_job_again(request: Request, job: UUID) -> Response:
    """Queue the same work as a new report, and show that."""
    settings, visitor = state_of(request).settings, visitor_of(request)
    address = request.client.host if request.client else "127.0.0.1"

    def work(tx: Tx, opened: OpenJob) -> str:
        return f"/reports/{run_again(tx, settings, visitor.actor(tx), opened.row, address)}"

    return await _steer(request, job, work)


async def _steer(request: Request, job: UUID, act: Any) -> Response:
    form = await request.form()
    require_own_form(request, form.get("form_token"))
    visitor = visitor_of(request)

    def work(tx: Tx) -> str:
        opened = open_job(tx, visitor.actor(tx), job)
        if not opened.may_steer:
            raise ForbiddenError("this takes the right to submit to the project")
        there: str = act(tx, opened)
        return there

    return RedirectResponse(await state_of(request).database.write(work), 303)
