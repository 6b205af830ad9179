"""Jobs and their attempts: the statements that queue, renew, end and settle them (`job_claims` hands them out).

Every move is guarded in its SQL by the states it may start from (`runner_protocol.states`) and by the attempt that asks
for it, so that of two callers one wins and the other learns that it did not. Decides nothing: `leases` does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from runner_protocol.jobs import RegistryAuth, Work
from runner_protocol.messages import Progress
from runner_protocol.results import Fault
from runner_protocol.states import LEASED, TERMINAL, JobState, sources
from server_stub.leases import End, Held, Requeue
from server_stub.store.fresh import fresh_uuid
from server_stub.store.tx import Row, Tx

PARSING_MS = 60_000
"""How long a process that parses a report may be silent before another one takes over."""


def within(states: frozenset[JobState]) -> str:
    """The states as SQL writes them. Literal, not bound: the partial indexes are found by their text."""
    return "(" + ", ".join(f"'{state}'" for state in JobState if state in states) + ")"


def enqueue(
    tx: Tx,
    *,
    project_id: int,
    organization_id: int,
    report_id: int,
    spec_id: int,
    work: Work,
    timeout_s: int,
    priority: int,
    source_ip: str,
    registry_auth: RegistryAuth | None,
    settings: dict[str, Any],
) -> UUID:
    """Queue one job for a report. After the commit, an idle runner with the spec is woken."""
    now_ms = tx.now_ms()
    uuid = fresh_uuid(now_ms)
    row: dict[str, Any] = {
        "uuid": uuid,
        "project_id": project_id,
        "organization_id": organization_id,
        "report_id": report_id,
        "spec_id": spec_id,
        "priority": priority,
        "source_ip": source_ip,
        "timeout_s": timeout_s,
        "state": JobState.PENDING,
        "not_before_ms": now_ms,
        "created_ms": now_ms,
        "modified_ms": now_ms,
    }
    job_id = tx.insert("job", tuple(row), [tuple(row.values())], returning="id")[0]["id"]
    request = (job_id, to_json(work), json.dumps(settings), to_json(registry_auth))
    tx.insert("job_request", ("job_id", "work", "settings", "registry_auth"), [request])
    tx.notify("job_queued", str(spec_id))
    return UUID(uuid)


def request_of(tx: Tx, job_id: int) -> Row:
    """What was asked for: `work`, `settings` and `registry_auth` as JSON, and the slug of the `project`."""
    row = tx.one(
        "SELECT q.work, q.settings, q.registry_auth, p.slug AS project FROM job_request q JOIN job j ON j.id = q.job_id"
        " JOIN project p ON p.id = j.project_id WHERE q.job_id = :id",
        id=job_id,
    )
    assert row is not None, "a job is queued together with its request"
    return row


@dataclass(frozen=True, slots=True)
class Beat:
    """A word from the holder of a lease."""

    uuid: str
    runner_id: int
    attempt: int
    progress: Progress


def renew(tx: Tx, beats: Sequence[Beat], lease_ms: int) -> dict[tuple[str, int, int], int | None]:
    """Extend the leases of those attempts that still hold them and note their progress. The first confirms the claim.

    For each job (its UUID as text), runner and attempt among them when its end was asked for, or None.
    """
    now_ms = tx.now_ms()
    told = [
        {"runner": b.runner_id, "attempt": b.attempt, "uuid": b.uuid, "progress": to_json(b.progress)} for b in beats
    ]
    # It touches nothing that an index is about: SQLite would write each entry anew.
    rows = tx.all(
        "UPDATE job SET lease_until_ms = :until, progress = b.progress, modified_ms = :now"
        " FROM {rows:b(runner bigint, attempt bigint, uuid text, progress text)}"
        f" WHERE job.runner_id = b.runner AND job.state IN {within(LEASED)}"
        " AND job.attempt = b.attempt AND job.uuid = b.uuid RETURNING"
        " job.uuid, job.runner_id, job.attempt, job.cancel_ms, job.state",
        until=now_ms + lease_ms,
        now=now_ms,
        b=told,
    )
    _confirm(tx, [row["uuid"] for row in rows if row["state"] == JobState.CLAIMED], now_ms)
    for row in rows:
        tx.notify("job_changed", row["uuid"])  # Every beat brings progress, for those who follow it.
    return {(row["uuid"], row["runner_id"], row["attempt"]): row["cancel_ms"] for row in rows}


def extend(tx: Tx, job: Row, lease_ms: int) -> None:
    """Let a job's present lease end no sooner than so long from now."""
    tx.run(
        "UPDATE job SET lease_until_ms = :until WHERE id = :id AND attempt = :attempt AND lease_until_ms < :until"
        f" AND state IN {within(LEASED)}",
        until=tx.now_ms() + lease_ms,
        id=job["id"],
        attempt=job["attempt"],
    )


def _confirm(tx: Tx, uuids: Sequence[str], now_ms: int) -> None:
    """Note that those who claimed these jobs have begun."""
    if not uuids:
        return
    begun = tx.all(
        "UPDATE job SET state = 'running', started_ms = :now WHERE uuid {any:uuids} RETURNING id, attempt",
        now=now_ms,
        uuids=uuids,
    )
    tx.run(
        "UPDATE job_attempt SET confirmed_ms = :now FROM {rows:f(id bigint, attempt bigint)}"
        " WHERE job_id = f.id AND job_attempt.attempt = f.attempt AND confirmed_ms IS NULL",
        now=now_ms,
        f=begun,
    )


@dataclass(frozen=True, slots=True)
class Noted:
    """What is remembered of the report that ends an attempt."""

    sha256: str
    receipt: JobState
    """What it was answered."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is to become of a job's present attempt."""

    job: Row
    verdict: Requeue | End
    how: str
    noted: Noted | None = None


def conclude(tx: Tx, job: Row, verdict: Requeue | End, how: str) -> bool:
    """Carry out what `leases` decided about a job's present attempt; tell whether that attempt was still the one."""
    return bool(conclude_all(tx, [Ending(job, verdict, how)]))


def conclude_all(tx: Tx, endings: Sequence[Ending]) -> set[int]:
    """`conclude` for many jobs, none of them twice; the ids of those whose attempt was still the one."""
    moved = set[int]()
    by_state: dict[JobState, list[Ending]] = {}
    for ending in endings:
        if isinstance(ending.verdict, End):
            by_state.setdefault(ending.verdict.state, []).append(ending)
        elif _requeue(tx, ending.job, ending.verdict):
            moved.add(ending.job["id"])
    for state, of_state in by_state.items():
        moved |= _end(tx, state, of_state)
    if done := [ending for ending in endings if ending.job["id"] in moved]:
        _end_attempts(tx, done)
    return moved


def _end_attempts(tx: Tx, done: list[Ending]) -> None:
    tx.run(
        "UPDATE job_attempt SET ended_ms = :now, ending = e.how, fault = e.fault, report_sha256 = e.sha256,"
        " receipt = e.receipt"
        " FROM {rows:e(id bigint, attempt bigint, how text, fault text, sha256 text, receipt text)}"
        " WHERE job_id = e.id AND job_attempt.attempt = e.attempt AND ended_ms IS NULL",
        now=tx.now_ms(),
        e=[
            {
                "id": one.job["id"],
                "attempt": one.job["attempt"],
                "how": one.how,
                "fault": to_json(one.verdict.fault),
                "sha256": one.noted and one.noted.sha256,
                "receipt": one.noted and one.noted.receipt,
            }
            for one in done
        ],
    )
    if ids := [one.job["id"] for one in done if one.job.get("pieces", True)]:
        tx.run("DELETE FROM report_piece WHERE job_id {any:ids}", ids=ids)
    for one in done:
        tx.notify("job_changed", one.job["uuid"])


def _requeue(tx: Tx, job: Row, verdict: Requeue) -> bool:
    moved = tx.run(
        "UPDATE job SET state = 'pending', runner_id = NULL, lease_until_ms = NULL, deadline_ms = NULL,"
        " not_before_ms = :not_before, lost = lost + :cost, progress = NULL, fault = :fault, modified_ms = :now"
        f" WHERE id = :id AND attempt = :attempt AND state IN {within(sources(JobState.PENDING))}",
        not_before=verdict.not_before_ms,
        cost=int(verdict.costs_an_attempt),
        fault=to_json(verdict.fault),
        now=tx.now_ms(),
        id=job["id"],
        attempt=job["attempt"],
    )
    # A job that has to wait for its back-off is found by the sweep; a waiter woken now would find nothing.
    if moved and verdict.not_before_ms <= tx.now_ms():
        tx.notify("job_queued", str(job["spec_id"]))
    return bool(moved)


def _end(tx: Tx, state: JobState, endings: list[Ending]) -> set[int]:
    rows = tx.all(
        "UPDATE job SET state = :state, lease_until_ms = NULL, ended_ms = :now, modified_ms = :now, fault = e.fault,"
        " processing_ms = :held FROM {rows:e(id bigint, attempt bigint, fault text)}"
        " WHERE job.id = e.id AND job.attempt = e.attempt"
        f" AND job.state IN {within(sources(state) - {JobState.COMPLETED})} RETURNING job.id",
        state=state,
        now=tx.now_ms(),
        # Whoever takes a report in has it parsed: others keep off for a while.
        held=tx.now_ms() + PARSING_MS if state is JobState.COMPLETED else 0,
        e=[
            {"id": one.job["id"], "attempt": one.job["attempt"], "fault": to_json(one.verdict.fault)} for one in endings
        ],
    )
    moved = {row["id"] for row in rows}
    # No further attempt will pull: the credentials have done their work.
    if ids := [one.job["id"] for one in endings if one.job["id"] in moved and one.job.get("has_auth", True)]:
        tx.run("UPDATE job_request SET registry_auth = NULL WHERE job_id {any:ids}", ids=ids)
    return moved


def ask_to_stop(tx: Tx, job: Row, fault: Fault | None) -> bool:
    """Have the holder told with its next heartbeat; tell whether this was the first time of asking."""
    asked = tx.run(
        "UPDATE job SET cancel_ms = :now, fault = :fault, modified_ms = :now"
        f" WHERE id = :id AND cancel_ms IS NULL AND state IN {within(LEASED)}",
        now=tx.now_ms(),
        fault=to_json(fault),
        id=job["id"],
    )
    tx.notify("job_changed", job["uuid"])
    return bool(asked)


def settle(tx: Tx, uuid: UUID, *, fault: Fault | None = None) -> bool:
    """A completed job's results are stored (`processed`), or cannot be (`failed`, with `fault`).

    Tells whether it was still to be settled: where not, another process has done it and the caller rolls back.
    """
    state = JobState.PROCESSED if fault is None else JobState.FAILED
    moved = tx.run(
        "UPDATE job SET state = :state, fault = :fault, modified_ms = :now WHERE uuid = :uuid AND state = 'completed'",
        state=state,
        fault=to_json(fault),
        now=tx.now_ms(),
        uuid=str(uuid),
    )
    tx.notify("job_changed", str(uuid))
    return bool(moved)


def take_unparsed(tx: Tx) -> UUID | None:
    """Take a completed job that nobody parses for parsing; None where there is none to take."""
    now_ms = tx.now_ms()
    row = tx.one(
        "UPDATE job SET processing_ms = :until WHERE id = (SELECT id FROM job WHERE state = 'completed'"
        " AND processing_ms <= :now ORDER BY id LIMIT 1 {skip_locked})"
        " AND state = 'completed' RETURNING uuid",
        until=now_ms + PARSING_MS,
        now=now_ms,
    )
    return UUID(row["uuid"]) if row else None


def retry(tx: Tx, job: Row) -> bool:
    """Queue a failed or canceled job again, as if it were new. An operator's act, and not part of a job's life."""
    retryable = within(TERMINAL - {JobState.PROCESSED})
    now_ms = tx.now_ms()
    moved = tx.run(
        "UPDATE job SET state = 'pending', runner_id = NULL, lost = 0, cancel_ms = NULL, ended_ms = NULL, fault = NULL,"
        " claimed_ms = NULL, started_ms = NULL, progress = NULL, not_before_ms = :now, modified_ms = :now"
        f" WHERE id = :id AND state IN {retryable}",
        now=now_ms,
        id=job["id"],
    )
    if moved:
        tx.run("DELETE FROM job_output WHERE job_id = :id", id=job["id"])
        tx.notify("job_queued", str(job["spec_id"]))
        tx.notify("job_changed", job["uuid"])
    return bool(moved)


def by_uuid(tx: Tx, uuid: UUID) -> Row | None:
    """A job's row."""
    return tx.one("SELECT * FROM job WHERE uuid = :uuid", uuid=str(uuid))


def of_attempt(tx: Tx, uuid: UUID, attempt: int) -> Row | None:
    """A job's row beside that of an attempt: its `reporter`, `report_sha256` and `receipt`, none without the attempt.

    Also whether there are `pieces` of a report, and whether it `has_auth`: most have neither to be removed.
    """
    return of_attempts(tx, [(uuid, attempt)]).get((uuid, attempt))


def of_attempts(tx: Tx, wanted: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], Row]:
    """`of_attempt` for many, as far as there are such jobs."""
    rows = tx.all(
        "SELECT j.*, w.attempt AS asked, a.runner_id AS reporter, a.report_sha256, a.receipt,"
        " q.registry_auth IS NOT NULL AS has_auth,"
        " EXISTS (SELECT 1 FROM report_piece x WHERE x.job_id = j.id) AS pieces"
        " FROM {rows:w(uuid text, attempt bigint)} JOIN job j ON j.uuid = w.uuid JOIN job_request q ON q.job_id = j.id"
        " LEFT JOIN job_attempt a ON a.job_id = j.id AND a.attempt = w.attempt",
        w=[{"uuid": str(uuid), "attempt": attempt} for uuid, attempt in wanted],
    )
    return {(UUID(row["uuid"]), row["asked"]): row for row in rows}


def held_by(tx: Tx, runner_id: int, job_id: int) -> Row | None:
    """The job, where a runner still holds it, with the `instance` that it was handed to."""
    return tx.one(
        "SELECT j.*, a.instance FROM job j JOIN job_attempt a ON a.job_id = j.id AND a.attempt = j.attempt"
        f" WHERE j.id = :id AND j.runner_id = :runner AND j.state IN {within(LEASED)}",
        id=job_id,
        runner=runner_id,
    )


def held_by_runner(tx: Tx, runner_id: int) -> Row | None:
    """The job that a runner holds."""
    return tx.one(f"SELECT * FROM job WHERE runner_id = :runner AND state IN {within(LEASED)}", runner=runner_id)


def overdue(tx: Tx, grace_ms: int, limit: int) -> list[Row]:
    """Leased jobs that time has done something to: silent, over their deadline, or asked to stop and deaf to it."""
    return tx.all(
        f"SELECT * FROM job WHERE state IN {within(LEASED)} AND (lease_until_ms <= :now OR cancel_ms <= :deaf"
        " OR (cancel_ms IS NULL AND deadline_ms <= :now)) ORDER BY id LIMIT :limit {skip_locked}",
        now=tx.now_ms(),
        deaf=tx.now_ms() - grace_ms,
        limit=limit,
    )


def bring_back(tx: Tx, *, pause_ms_max: int, lease_ms_max: int) -> int:
    """After the clock went back: no moment lies further ahead than it ever may. Tells how many have been moved.

    Deadlines are left where they are: the holder keeps the job's time by a clock of its own.
    """
    now_ms = tx.now_ms()
    leased = within(LEASED)
    bounds = (
        ("not_before_ms", "('pending')", pause_ms_max, now_ms),
        ("lease_until_ms", leased, lease_ms_max, now_ms + lease_ms_max),
        ("cancel_ms", leased, 0, now_ms),
        ("processing_ms", "('completed')", PARSING_MS, now_ms + PARSING_MS),
    )
    return sum(
        tx.run(
            f"UPDATE job SET {name} = :then WHERE state IN {states} AND {name} > :latest",
            then=then,
            latest=now_ms + ahead,
        )
        for name, states, ahead, then in bounds
    )


def extend_all(tx: Tx, ms: int) -> int:
    """Let no lease end sooner than so long from now; how many would have."""
    return tx.run(
        f"UPDATE job SET lease_until_ms = :until WHERE state IN {within(LEASED)} AND lease_until_ms < :until",
        until=tx.now_ms() + ms,
    )


def held(row: Row) -> Held:
    """What `leases` has to know of a job's row."""
    return Held(
        state=JobState(row["state"]),
        attempt=row["attempt"],
        lost=row["lost"],
        lease_until_ms=row["lease_until_ms"],
        deadline_ms=row["deadline_ms"],
        cancel_ms=row["cancel_ms"],
        # While a job is held, its fault says why it was asked to stop; before, why an earlier attempt ended.
        fault=Fault.model_validate_json(row["fault"]) if row["fault"] and row["cancel_ms"] is not None else None,
    )


def to_json(record: BaseModel | None) -> str | None:
    """A record as the database keeps it."""
    return None if record is None else record.model_dump_json()
