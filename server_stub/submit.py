"""One run in: a report stored with its results, or a report with one job queued. All of it, or nothing.

What can be checked without the database is checked first; then one transaction finds or makes everything and writes.
A second run with the same idempotency key gets the first one's report, also when both come at once: a project's runs
are written one after the other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import anyio.to_thread

from runner_protocol.jobs import RegistryAuth, Work
from server_stub import resolve
from server_stub.access import Scope, actor_of, unclaimed
from server_stub.actors import Actor, Credential
from server_stub.api import JobBody, ReportBody, ResultsBody, RunBody
from server_stub.errors import ApiError, BadRequestError, ConflictError, LimitError
from server_stub.process import store_results
from server_stub.resolve import Target
from server_stub.results import Iteration, Reading, read_results
from server_stub.settings import Settings
from server_stub.store import heads, jobs, projects, quota, reports
from server_stub.store.database import Database
from server_stub.store.reports import NewReport
from server_stub.store.tx import Row, Tx

UNCLAIMED, FREE, PLUS = 0, 100, 200
"""Priorities of the three tiers. Without tiers, every job has the highest."""
TIER_TIMEOUT_S = {UNCLAIMED: 60, FREE: 300}


@dataclass(frozen=True, slots=True)
class Submission:
    """One request as it came in, with its results read, or what is wrong with them."""

    credential: Credential
    source_ip: str
    body: RunBody
    results: Sequence[Iteration] | ApiError


async def submit(
    database: Database, settings: Settings, body: RunBody, *, credential: Credential, source_ip: str
) -> str:
    """Take one run in; return the UUID of its report. Raises an `ApiError` with nothing written."""
    results = await read_body(body) if body.job is None else ()
    work = partial(_submit, settings=settings, submission=Submission(credential, source_ip, body, results))
    try:
        return await database.write(work)
    except ConflictError:
        # Somebody made the same project at the same moment; now it is there. A name that stays taken fails again.
        return await database.write(work)


async def read_body(body: ResultsBody) -> Sequence[Iteration] | ApiError:
    """The results of a body, or why they cannot be read: that is told only to those who may write."""
    settings = body.settings
    how = Reading(settings.adapter, settings.average, settings.fold)
    try:
        return await anyio.to_thread.run_sync(read_results, body.results, how)
    except BadRequestError as error:
        return error


def submit_report(scope: Scope, settings: Settings, body: ReportBody, results: Sequence[Iteration] | ApiError) -> str:
    """Store a report for a branch and testbed that are named; return its UUID."""
    tx, project = scope.tx, scope.project
    projects.lock(tx, project["id"])
    branch = resolve.head_of(tx, project["id"], body.branch, body.start_point)
    testbed = resolve.plain_testbed(tx, project["id"], body.testbed, body)
    place = Place(project, branch, testbed, None, scope.actor.user)
    uuid: str = store_report(tx, place, body, body.hash, results)["uuid"]
    _keep_within(tx, settings, Target(project, claimed=project["claimed_ms"] is not None))
    return uuid


def _submit(tx: Tx, settings: Settings, submission: Submission) -> str:
    body = submission.body
    actor = actor_of(tx, submission.credential)
    target = resolve.target(tx, actor, body)
    projects.lock(tx, target.project["id"])
    if body.idempotency_key is not None:
        known = reports.by_idempotency_key(tx, target.project["id"], str(body.idempotency_key))
        if known is not None:
            return known
    branch = resolve.head_of(tx, target.project["id"], resolve.branch_of(body), body.start_point)
    testbed, spec = _testbed(tx, target.project["id"], body)
    place = Place(target.project, branch, testbed, spec, actor.user)
    report = store_report(tx, place, body, resolve.hash_of(body), submission.results)
    if body.job is not None:
        _enqueue(tx, settings, submission, target, report)
    _keep_within(tx, settings, target)
    uuid: str = report["uuid"]
    return uuid


def _keep_within(tx: Tx, settings: Settings, target: Target) -> None:
    """Refuse what passes the day's bound. Asked last: what was made by then goes with the refusal."""
    most = settings.claimed_per_day_max if target.claimed else settings.unclaimed_per_day_max
    if most is None:
        return
    kind, made = quota.most_made(tx, target.project)
    if made > most:
        raise LimitError(f"project {target.project['slug']}: no more than {most} new of a kind a day, here: {kind}")


def _testbed(tx: Tx, project_id: int, body: RunBody) -> tuple[Row, Row | None]:
    if body.job is None:
        return resolve.testbed_of(tx, project_id, body), None
    return resolve.testbed_and_spec(tx, project_id, body.testbed, body.job)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a report belongs, and whose it is."""

    project: Row
    branch: Row
    testbed: Row
    spec: Row | None
    user: Row | None


def store_report(
    tx: Tx, place: Place, body: ResultsBody, commit: str | None, results: Sequence[Iteration] | ApiError
) -> Row:
    """Store a report with its thresholds, version and results. Raises the error that reading the results led to."""
    if isinstance(results, ApiError):
        raise results
    if body.thresholds is not None:
        resolve.put_thresholds(tx, place.branch, place.testbed, body.thresholds)
    report = reports.insert(tx, _new_report(tx, place, body, commit))
    store_results(tx, report, place.branch["id"], results)
    return report


def _new_report(tx: Tx, place: Place, body: ResultsBody, commit: str | None) -> NewReport:
    key = body.idempotency_key if isinstance(body, RunBody) else None
    return NewReport(
        project_id=place.project["id"],
        user_id=None if place.user is None else place.user["id"],
        head_id=place.branch["head_id"],
        version_id=heads.version_for(tx, place.branch["head_id"], commit),
        testbed_id=place.testbed["id"],
        spec_id=None if place.spec is None else place.spec["id"],
        adapter=body.settings.adapter,
        idempotency_key=None if key is None else str(key),
        start_s=int(body.start_time.timestamp()),
        end_s=int(body.end_time.timestamp()),
    )


def _enqueue(tx: Tx, settings: Settings, submission: Submission, target: Target, report: Row) -> None:
    body = submission.body
    assert body.job is not None
    priority = _priority(settings, claimed=target.claimed)
    jobs.enqueue(
        tx,
        project_id=target.project["id"],
        organization_id=target.project["organization_id"],
        report_id=report["id"],
        spec_id=report["spec_id"],
        work=_work(body.job),
        timeout_s=timeout_s(body.job.timeout, priority, settings.timeout_s),
        priority=priority,
        source_ip=submission.source_ip,
        registry_auth=_registry_auth(body.job),
        settings={
            "adapter": body.settings.adapter,
            "average": body.settings.average,
            "fold": body.settings.fold,
            "backdate": None if body.job.backdate is None else int(body.job.backdate.timestamp()),
        },
    )


def timeout_s(asked: int | None, priority: int, default_s: int) -> int:
    """An iteration's budget: a tier's is default and ceiling at once, and cuts silently; else what was asked."""
    ceiling = TIER_TIMEOUT_S.get(priority)
    if ceiling is None:
        return asked or default_s
    return min(asked or ceiling, ceiling)


def run_again(tx: Tx, settings: Settings, actor: Actor, job: Row, source_ip: str) -> str:
    """Queue what a job ran once more, as a new report on the same version; return that report's UUID.

    Credentials for the pull are not kept: an image that needs them has to be submitted anew.
    """
    projects.lock(tx, job["project_id"])
    asked, earlier = jobs.request_of(tx, job["id"]), reports.by_id(tx, job["report_id"])
    now_s = tx.now_ms() // 1000
    new = NewReport(
        project_id=job["project_id"],
        user_id=actor.user_id,
        head_id=earlier["head_id"],
        version_id=earlier["version_id"],
        testbed_id=earlier["testbed_id"],
        spec_id=job["spec_id"],
        adapter=earlier["adapter"],
        idempotency_key=None,
        start_s=now_s,
        end_s=now_s,
    )
    report = reports.insert(tx, new)
    claimed = not unclaimed(tx, projects.by_id(tx, job["project_id"]))
    priority = _priority(settings, claimed=claimed)
    jobs.enqueue(
        tx,
        project_id=job["project_id"],
        organization_id=job["organization_id"],
        report_id=report["id"],
        spec_id=job["spec_id"],
        work=Work.model_validate_json(asked["work"]),
        timeout_s=timeout_s(job["timeout_s"], priority, settings.timeout_s),
        priority=priority,
        source_ip=source_ip,
        registry_auth=None,
        settings=json.loads(asked["settings"]),
    )
    uuid: str = report["uuid"]
    return uuid


def _priority(settings: Settings, *, claimed: bool) -> int:
    return PLUS if not settings.tiers else FREE if claimed else UNCLAIMED


def _work(job: JobBody) -> Work:
    return Work(
        image=str(job.image),
        baseline=None if job.baseline is None else str(job.baseline),
        entrypoint=job.entrypoint,
        cmd=job.cmd,
        env=job.env or {},
        iterations=1 if job.iter is None else job.iter,
        allow_failure=job.allow_failure,
        file_paths=job.file_paths or [],
        build_time=job.build_time,
        file_size=job.file_size,
    )


def _registry_auth(job: JobBody) -> RegistryAuth | None:
    auth = job.registry_auth
    if auth is None:
        return None
    return RegistryAuth(username=auth.username, password=auth.password, token=auth.token)
