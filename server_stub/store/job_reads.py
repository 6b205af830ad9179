"""Reads jobs and the queue back: one job with all that is known of it, pages of jobs, and who could take what."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from runner_protocol.messages import HostState
from runner_protocol.states import LEASED
from server_stub.queries import MachineListing
from server_stub.store.jobs import within
from server_stub.store.lists import Part, machines
from server_stub.store.paging import Page, Where
from server_stub.store.sessions import BESIDE, SEEN
from server_stub.store.tx import Row, Tx
from server_stub.waiting import RunnerFacts, RunnerState, Waiting, runner_state, why_waiting

_JOB = (
    "SELECT j.*, r.uuid AS runner_uuid, r.name AS runner_name, p.slug AS project_slug, s.slug AS spec_slug FROM job j"
    " JOIN project p ON p.id = j.project_id JOIN spec s ON s.id = j.spec_id LEFT JOIN runner r ON r.id = j.runner_id"
)

_RUNNERS = (
    f"SELECT r.*, {SEEN} AS seen_ms, s.agent, s.state AS said, j.uuid AS job_uuid, j.progress AS job_progress"
    f" FROM runner r {BESIDE}"
    f" LEFT JOIN job j ON j.runner_id = r.id AND j.state IN {within(LEASED)}"
)

# `state` is the agent's `HostState` as we wrote it: a quote within a text is escaped there, so this pattern is found
# at its top level only. `silent`: 1 where nothing was heard for too long, none where never.
_FACTS = (
    "CASE WHEN r.drained_ms IS NULL THEN 0 ELSE 1 END AS drained, CASE WHEN j.id IS NULL THEN 0 ELSE 1 END AS held,"
    " CASE WHEN s.state IS NULL OR s.state LIKE '%\"blocked\":[]%' THEN 0 ELSE 1 END AS blocked,"
    f" CASE WHEN {SEEN} < :lost_before THEN 1 WHEN s.seen_ms IS NULL THEN NULL ELSE 0 END AS silent"
)


def find(tx: Tx, uuid: UUID, project_id: int | None = None) -> Row | None:
    """One job with its runner and project, where it is of that project (or of any, for an operator)."""
    row = tx.one(f"{_JOB} WHERE j.uuid = :uuid", uuid=str(uuid))
    return row if row is not None and project_id in (None, row["project_id"]) else None


def page(
    tx: Tx, wanted: Page, *, project_id: int | None = None, states: Sequence[str] | None = None
) -> tuple[list[Row], int]:
    """Some jobs by age, and how many there are."""
    where = Where()
    if project_id is not None:
        where.add("j.project_id = :project", project=project_id)
    if states is not None:
        where.add("j.state {any:states}", states=list(states))
    order = f"ORDER BY j.created_ms {wanted.way}, j.id {wanted.way} LIMIT :limit OFFSET :offset"
    rows = tx.all(f"{_JOB} WHERE {where.sql} {order}", **where.values, **wanted.values)
    return rows, tx.value(f"SELECT COUNT(*) FROM job j WHERE {where.sql}", **where.values)


def attempts(tx: Tx, job_id: int) -> list[Row]:
    """All attempts of a job, the first one first, with the runner's name."""
    return tx.all(
        "SELECT a.*, r.uuid AS runner_uuid, r.name AS runner_name FROM job_attempt a"
        " JOIN runner r ON r.id = a.runner_id WHERE a.job_id = :id ORDER BY a.attempt",
        id=job_id,
    )


def runners(tx: Tx, *, spec_id: int | None = None, archived: bool = False) -> list[Row]:
    """Runners (of a spec) with what they said last and the job they hold, by name."""
    where = f"r.archived_ms IS {'NOT ' if archived else ''}NULL"
    if spec_id is not None:
        where += " AND EXISTS (SELECT 1 FROM runner_spec x WHERE x.runner_id = r.id AND x.spec_id = :spec)"
    values = {} if spec_id is None else {"spec": spec_id}
    return tx.all(f"{_RUNNERS} WHERE {where} ORDER BY r.name, r.id", **values)


def runner_states(tx: Tx, lost_ms: int, *, spec_id: int | None = None) -> Counter[RunnerState]:
    """How many runners (of a spec) are in which state: one statement that gives few rows, however many runners."""
    now_ms = tx.now_ms()
    where = "" if spec_id is None else "JOIN runner_spec x ON x.runner_id = r.id AND x.spec_id = :spec "
    rows = tx.all(
        f"SELECT drained, held, blocked, silent, COUNT(*) AS runners FROM (SELECT {_FACTS} FROM runner r"
        f" {where}{BESIDE}"
        f" LEFT JOIN job j ON j.runner_id = r.id AND j.state IN {within(LEASED)} WHERE r.archived_ms IS NULL) facts"
        " GROUP BY drained, held, blocked, silent",
        lost_before=now_ms - lost_ms,
        **({} if spec_id is None else {"spec": spec_id}),
    )
    states: Counter[RunnerState] = Counter()
    for row in rows:
        facts = RunnerFacts(
            archived=False,
            drained=bool(row["drained"]),
            holds_a_job=bool(row["held"]),
            blocked=bool(row["blocked"]),
            seen_ms=None if row["silent"] is None else now_ms - row["silent"] * (lost_ms + 1),
        )
        states[runner_state(facts, now_ms, lost_ms)] += row["runners"]
    return states


def runner(tx: Tx, runner_id: int) -> Row:
    """One runner, as `runners` shows it."""
    return tx.all(f"{_RUNNERS} WHERE r.id = :id", id=runner_id)[0]


def runners_page(tx: Tx, query: MachineListing) -> Part:
    """One page of runners, and how many there are."""
    found, total = machines(tx, "runner", query)
    ids = [row["id"] for row in found]
    rows = {row["id"]: row for row in tx.all(f"{_RUNNERS} WHERE r.id {{any:ids}}", ids=ids)}
    return [rows[runner_id] for runner_id in ids], total


def state_of(row: Row, now_ms: int, lost_ms: int) -> RunnerState:
    """The one word for a runner of `runners`."""
    said = HostState.model_validate_json(row["said"]) if row["said"] else HostState()
    facts = RunnerFacts(
        archived=row["archived_ms"] is not None,
        drained=row["drained_ms"] is not None,
        holds_a_job=row["job_uuid"] is not None,
        blocked=bool(said.blocked),
        seen_ms=row["seen_ms"],
    )
    return runner_state(facts, now_ms, lost_ms)


def waiting(tx: Tx, job: Row, spec: str, lost_ms: int, *, tiers: bool) -> Waiting:
    """Why a pending job waits, and where it stands in the queue."""
    now_ms = tx.now_ms()
    return why_waiting(
        runner_states(tx, lost_ms, spec_id=job["spec_id"]),
        spec=spec,
        position=1 + _ahead(tx, job),
        not_before_s=(job["not_before_ms"] - now_ms) / 1000,
        tier_blocked=tiers and _tier_blocked(tx, job),
    )


def depths(tx: Tx) -> list[Row]:
    """For each spec, how many jobs are `pending`, `leased`, and since when (`oldest_ms`) the oldest of them waits."""
    return tx.all(
        "SELECT s.id AS spec_id, s.slug AS spec, COALESCE(SUM(CASE WHEN j.state = 'pending' THEN 1 ELSE 0 END), 0)"
        " AS pending,"
        " COALESCE(SUM(CASE WHEN j.state <> 'pending' THEN 1 ELSE 0 END), 0) AS leased,"
        " MIN(CASE WHEN j.state = 'pending' THEN j.created_ms END) AS oldest_ms FROM spec s LEFT JOIN job j"
        " ON j.spec_id = s.id AND j.state IN ('pending', 'claimed', 'running')"
        " WHERE s.archived_ms IS NULL OR j.id IS NOT NULL GROUP BY s.id, s.slug ORDER BY s.slug"
    )


def _ahead(tx: Tx, job: Row) -> int:
    count: int = tx.value(
        "SELECT COUNT(*) FROM job WHERE state = 'pending' AND spec_id = :spec AND (priority > :priority"
        " OR (priority = :priority AND (created_ms < :created OR (created_ms = :created AND id < :id))))",
        spec=job["spec_id"],
        priority=job["priority"],
        created=job["created_ms"],
        id=job["id"],
    )
    return count


def _tier_blocked(tx: Tx, job: Row) -> bool:
    """Whether another job of the same organization or address is held; see `job_claims`."""
    if job["priority"] >= 200:
        return False
    column = "organization_id" if job["priority"] >= 100 else "source_ip"
    sql = f"SELECT 1 FROM job WHERE state IN {within(LEASED)} AND priority = :priority AND {column} = :value LIMIT 1"
    return tx.value(sql, priority=job["priority"], value=job[column]) is not None
