"""`job …` and `queue`: what waits, what runs and what became of it."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from runner_protocol.states import JobState
from server_stub.commands.context import ConfigOption, DatabaseOption, JsonOption, once, settings_for
from server_stub.commands.printing import ago, show_one, show_rows

if TYPE_CHECKING:
    from server_stub.settings import Settings
    from server_stub.store.tx import Tx

jobs = typer.Typer(no_args_is_help=True, help="Jobs: list, show, cancel, retry.")

Job = Annotated[UUID, typer.Argument(metavar="JOB", help="Its UUID.")]


@jobs.command("list")
def list_jobs(
    state: Annotated[list[JobState] | None, typer.Option(help="Only jobs in this state; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 50,
    as_json: JsonOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Jobs of all projects, the newest first."""
    rows = once(database, config, partial(_list, states=state, limit=limit))
    columns = {"JOB": "uuid", "STATE": "status", "PROJECT": "project", "SPEC": "spec_slug", "RUNNER": "runner_name"}
    columns |= {"ATTEMPT": "attempt", "CREATED": "created_ago", "NOTE": "note"}
    show_rows(rows, columns, as_json=as_json)


@jobs.command("show")
def show_job(
    job: Job, as_json: JsonOption = False, database: DatabaseOption = None, config: ConfigOption = None
) -> None:
    """All that is known of one job: why it waits, how far it is, or how it ended."""
    settings = settings_for(database, config)
    shown = once(database, config, partial(_show, uuid=job, settings=settings))
    if not as_json:
        shown.pop("output", None)
    show_one(shown, as_json=as_json)


@jobs.command("cancel")
def cancel_job(job: Job, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """End a job: at once if it waits, with the next heartbeat if it runs."""
    from server_stub.canceling import cancel

    once(database, config, partial(cancel, uuid=job, project_id=None))
    print(f"{job} ends")


@jobs.command("retry")
def retry_job(job: Job, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Queue a failed or canceled job again. Registry credentials end with a job: a private image is submitted anew."""
    once(database, config, partial(_retry, uuid=job))
    print(f"{job} waits again, without registry credentials: they end with a job, and a private image needs a new one")


def show_queue(as_json: JsonOption = False, database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """For each spec: how many jobs wait and run, how long the oldest has waited, and what its runners do."""
    lost_ms = round(settings_for(database, config).lost_s * 1000)
    rows = once(database, config, partial(_depths, lost_ms=lost_ms))
    columns = {"SPEC": "spec", "PENDING": "pending", "RUNNING": "leased", "OLDEST": "oldest", "RUNNERS": "runners"}
    show_rows(rows, columns, as_json=as_json)


def _list(tx: "Tx", states: list[JobState] | None, limit: int) -> list[dict[str, Any]]:
    from server_stub.job_json import job_json
    from server_stub.store import job_reads
    from server_stub.store.paging import Page

    rows, _ = job_reads.page(tx, Page(limit, 0, descending=True), states=states)
    shown = []
    for row in rows:
        job = job_json(row, {"slug": row["spec_slug"]})
        note = (job["fault"] or {}).get("message") or (job["progress"] or {}).get("stage")
        extra = {
            "project": row["project_slug"],
            "spec_slug": row["spec_slug"],
            "runner_name": row["runner_name"],
            "note": note,
        }
        shown.append(job | extra | {"created_ago": ago(row["created_ms"])})
    return shown


def _show(tx: "Tx", uuid: UUID, settings: "Settings") -> dict[str, Any]:
    from server_stub.job_views import job_view

    return job_view(tx, uuid, settings, with_output=True)


def _retry(tx: "Tx", uuid: UUID) -> None:
    from server_stub.errors import ConflictError, NotFoundError
    from server_stub.store import jobs as store

    job = store.by_uuid(tx, uuid)
    if job is None:
        raise NotFoundError(f"there is no job {uuid}")
    if not store.retry(tx, job):
        raise ConflictError(f"job {uuid} is {job['state']}: only a failed or canceled one can be tried again")


def _depths(tx: "Tx", lost_ms: int) -> list[dict[str, Any]]:
    from server_stub.store import job_reads

    rows = job_reads.depths(tx)
    for row in rows:
        row["runners"] = dict(job_reads.runner_states(tx, lost_ms, spec_id=row["spec_id"]))
        row["oldest"] = ago(row["oldest_ms"])
    return rows
