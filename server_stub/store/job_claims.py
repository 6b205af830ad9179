"""Handing jobs out: which one is next for a runner, and the one statement that gives it away.

Order: priority, then age, then id, among the jobs that want a spec the runner holds. Decides nothing about leases.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from runner_protocol.jobs import Spec, Work
from runner_protocol.states import LEASED
from server_stub.store.jobs import within
from server_stub.store.tx import Row, Tx


def deal(tx: Tx, hands: Sequence[Iterable[int]], *, tiers: bool) -> list[Row | None]:
    """A job for each hand, where there is one that wants a spec it holds: by priority, then age, then id.

    `hands`: the ids of the specs of each, all of whom take what they get. With what was asked for, the slug of its
    `project`, and its spec in columns that begin with `spec_`. On PostgreSQL the rows are locked, and rows that others
    lock are passed over. Under tiers one hand at a time.
    """
    assert len(hands) == 1 or not tiers, "what one hand takes decides what another may"
    wanted = Counter(spec_id for hand in hands for spec_id in hand)
    # One query a spec: each is the head of an index, however many jobs wait for runners of other kinds.
    heaps = {
        spec_id: deque(tx.all(_NEXT[tiers], spec=spec_id, now=tx.now_ms(), count=wanted[spec_id]))
        for spec_id in sorted(wanted)
    }
    return [_first([heaps[spec_id] for spec_id in hand]) for hand in hands]


def _first(heaps: list[deque[Row]]) -> Row | None:
    """Take the job that is next on any heap."""
    best = min((heap for heap in heaps if heap), key=lambda heap: _order(heap[0]), default=None)
    return best.popleft() if best else None


def pass_gate(tx: Tx) -> None:
    """Let claims under tiers go one at a time: two at once could each find that no other job of a submitter runs."""
    tx.run("UPDATE queue_gate SET passes = passes + 1")


def due(tx: Tx, spec_ids: Iterable[int], at_most: int) -> Counter[int]:
    """How many jobs of each of the specs may be handed out now; counts no further than `at_most`."""
    count = (
        "SELECT COUNT(*) FROM (SELECT 1 FROM job WHERE state = 'pending' AND spec_id = :spec"
        " AND not_before_ms <= :now LIMIT :most) AS due"
    )
    now_ms = tx.now_ms()
    return Counter({spec: tx.value(count, spec=spec, now=now_ms, most=at_most) for spec in spec_ids})


@dataclass(frozen=True, slots=True)
class HandOut:
    """A pending job for a runner."""

    job: Row
    work: Work
    runner_id: int
    instance: UUID | None
    budget_ms: int

    @property
    def attempt(self) -> int:
        """Its number, once it is handed out."""
        attempt: int = self.job["attempt"]
        return attempt + 1


def hand_out(tx: Tx, wanted: Sequence[HandOut], confirm_ms: int) -> set[int]:
    """Give pending jobs to runners under leases; the ids of those jobs for which it was not too late."""
    now_ms = tx.now_ms()
    rows = [
        {
            "id": one.job["id"],
            "runner": one.runner_id,
            "attempt": one.attempt,
            "deadline": now_ms + one.budget_ms,
        }
        for one in wanted
    ]
    taken = tx.all(
        "UPDATE job SET state = 'claimed', runner_id = o.runner, attempt = o.attempt, lease_until_ms = :until,"
        " deadline_ms = o.deadline, cancel_ms = NULL, claimed_ms = :now, started_ms = NULL, progress = NULL,"
        " modified_ms = :now FROM {rows:o(id bigint, runner bigint, attempt bigint, deadline bigint)}"
        " WHERE job.id = o.id AND job.state = 'pending' RETURNING job.id",
        until=now_ms + confirm_ms,
        now=now_ms,
        o=rows,
    )
    ids = {row["id"] for row in taken}
    begun = [one for one in wanted if one.job["id"] in ids]
    columns = ("job_id", "attempt", "runner_id", "instance", "claimed_ms")
    tx.insert(
        "job_attempt",
        columns,
        [(one.job["id"], one.attempt, one.runner_id, one.instance and str(one.instance), now_ms) for one in begun],
    )
    for one in begun:
        tx.notify("job_changed", one.job["uuid"])
    return ids


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
        " ORDER BY j.priority DESC, j.created_ms, j.id LIMIT :count {skip_locked}) n"
        " JOIN project p ON p.id = n.project_id JOIN job_request q ON q.job_id = n.id JOIN spec s ON s.id = n.spec_id"
        " ORDER BY n.priority DESC, n.created_ms, n.id"
    )


_NEXT = {False: _next(""), True: _next(_FREE_TO_RUN)}
