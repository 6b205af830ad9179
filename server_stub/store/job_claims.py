"""Handing jobs out: which one is next for a runner, and the one statement that gives it away.

Order: priority, then age, then id, among the jobs that want a spec the runner holds. Decides nothing about leases.
"""

from uuid import UUID

from runner_protocol.jobs import Spec
from runner_protocol.states import LEASED
from server_stub.store.jobs import within
from server_stub.store.tx import Row, Tx


def next_job(tx: Tx, spec_ids: list[int], *, tiers: bool) -> Row | None:
    """The job to be handed out next among those that want one of the specs: by priority, then age, then id.

    With what was asked for, the slug of its `project`, and its spec in columns that begin with `spec_`. On PostgreSQL
    the row is locked, and rows that others lock are passed over.
    """
    best: Row | None = None
    # One query a spec: each is the head of an index, however many jobs wait for runners of other kinds.
    for spec_id in spec_ids:
        row = tx.one(_NEXT[tiers], spec=spec_id, now=tx.now_ms())
        if row is not None and (best is None or _order(row) < _order(best)):
            best = row
    return best


def pass_gate(tx: Tx) -> None:
    """Let claims under tiers go one at a time: two at once could each find that no other job of a submitter runs."""
    tx.run("UPDATE queue_gate SET passes = passes + 1")


def anything_due(tx: Tx, spec_ids: list[int]) -> set[int]:
    """Those of the specs for which a job may be handed out now."""
    rows = tx.all(
        "SELECT DISTINCT spec_id FROM job WHERE state = 'pending' AND spec_id {any:specs} AND not_before_ms <= :now",
        specs=spec_ids,
        now=tx.now_ms(),
    )
    return {row["spec_id"] for row in rows}


def hand_out(tx: Tx, job: Row, runner_id: int, *, instance: UUID | None, confirm_ms: int, budget_ms: int) -> int | None:
    """Give a pending job to a runner under a lease; return the number of the attempt, or None where it was too late."""
    now_ms = tx.now_ms()
    attempt: int = job["attempt"] + 1
    taken = tx.run(
        "UPDATE job SET state = 'claimed', runner_id = :runner, attempt = :attempt, lease_until_ms = :until,"
        " deadline_ms = :deadline, cancel_ms = NULL, claimed_ms = :now, started_ms = NULL, progress = NULL,"
        " modified_ms = :now WHERE id = :id AND state = 'pending'",
        runner=runner_id,
        attempt=attempt,
        until=now_ms + confirm_ms,
        deadline=now_ms + budget_ms,
        now=now_ms,
        id=job["id"],
    )
    if not taken:
        return None
    columns = ("job_id", "attempt", "runner_id", "instance", "claimed_ms")
    tx.insert("job_attempt", columns, [(job["id"], attempt, runner_id, instance and str(instance), now_ms)])
    tx.notify("job_changed", job["uuid"])
    return attempt


def hand_again(tx: Tx, job: Row, confirm_ms: int) -> None:
    """Let an unconfirmed claim run anew: its answer was lost on the way to the runner that asks again."""
    tx.run(
        "UPDATE job SET lease_until_ms = :until WHERE id = :id AND attempt = :attempt AND state = 'claimed'",
        until=tx.now_ms() + confirm_ms,
        id=job["id"],
        attempt=job["attempt"],
    )


def _order(row: Row) -> tuple[int, int, int]:
    return (-row["priority"], row["created_ms"], row["id"])


_FREE_TO_RUN = (
    " AND (j.priority >= 200 OR NOT EXISTS (SELECT 1 FROM job o"
    f" WHERE o.state IN {within(LEASED)} AND o.priority = j.priority AND CASE WHEN j.priority >= 100"
    " THEN o.organization_id = j.organization_id ELSE o.source_ip = j.source_ip END))"
)


def _next(tiers: str) -> str:
    spec = ", ".join(f"s.{name} AS spec_{name}" for name in Spec.model_fields)
    return (
        f"SELECT n.*, p.slug AS project, q.work, q.registry_auth, {spec} FROM (SELECT j.* FROM job j"
        f" WHERE j.state = 'pending' AND j.spec_id = :spec AND j.not_before_ms <= :now{tiers}"
        " ORDER BY j.priority DESC, j.created_ms, j.id LIMIT 1 {skip_locked}) n"
        " JOIN project p ON p.id = n.project_id JOIN job_request q ON q.job_id = n.id JOIN spec s ON s.id = n.spec_id"
    )


_NEXT = {False: _next(""), True: _next(_FREE_TO_RUN)}
