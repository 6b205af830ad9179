"""What an onlooker sees of runners and queue, each in one statement. Rows of jobs say whose project they are of."""

from runner_protocol.states import LEASED, JobState
from server_stub.store.jobs import within
from server_stub.store.tx import Row, Tx

HOUR_MS = 3_600_000
QUEUE_SHOWN = 100

_JOB = (
    "SELECT j.uuid, j.state, j.runner_id, j.spec_id, j.created_ms, j.started_ms, j.ended_ms, j.progress, j.project_id,"
    " p.uuid AS project, p.slug AS project_slug, p.name AS project_name, p.visibility FROM job j"
    " JOIN project p ON p.id = j.project_id"
)


def leased(tx: Tx) -> dict[int, Row]:
    """The job that each busy runner holds, by the runner's id."""
    return {row["runner_id"]: row for row in tx.all(f"{_JOB} WHERE j.state IN {within(LEASED)}")}


def queue(tx: Tx) -> list[Row]:
    """The jobs that wait, in the order of their specs and of their turn; the first ones of a long queue."""
    waiting = within(frozenset({JobState.PENDING}))
    order = "ORDER BY j.spec_id, j.priority DESC, j.created_ms, j.id LIMIT :limit"
    return tx.all(f"{_JOB} WHERE j.state IN {waiting} {order}", limit=QUEUE_SHOWN)


def specs_of_runners(tx: Tx) -> list[Row]:
    """Which specs runners take: `runner_id` and `slug`."""
    return tx.all(
        "SELECT x.runner_id, s.slug FROM runner_spec x JOIN spec s ON s.id = x.spec_id"
        " JOIN runner r ON r.id = x.runner_id WHERE r.archived_ms IS NULL ORDER BY x.runner_id, s.slug"
    )


def ended_by_hour(tx: Tx, since_ms: int) -> list[Row]:
    """How many jobs ended since then: by `hour` from 0 on, and by state."""
    return tx.all(
        "SELECT (ended_ms - :since) / :length AS hour, state, COUNT(*) AS jobs FROM job WHERE ended_ms >= :since"
        " GROUP BY (ended_ms - :since) / :length, state",
        since=since_ms,
        length=HOUR_MS,
    )


def of_project(tx: Tx, project_id: int, limit: int) -> list[Row]:
    """The newest jobs of a project."""
    order = "ORDER BY j.created_ms DESC, j.id DESC LIMIT :limit"
    return tx.all(f"{_JOB} WHERE j.project_id = :project {order}", project=project_id, limit=limit)


def last_reports(tx: Tx, project_ids: list[int]) -> dict[int, Row]:
    """When each project was last reported to (`start_s`), and how many alerts are active there (`alerts`), by id."""
    rows = tx.all(
        "SELECT p.id, (SELECT MAX(r.start_s) FROM report r WHERE r.project_id = p.id) AS start_s,"
        " (SELECT COUNT(*) FROM alert a WHERE a.project_id = p.id AND a.status = 'active') AS alerts"
        " FROM project p WHERE p.id {any:ids}",
        ids=project_ids,
    )
    return {row["id"]: row for row in rows}
