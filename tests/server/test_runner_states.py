"""Runners are counted by state in one statement, and each counts as what it is shown as by itself."""

import itertools
from collections import Counter

import pytest
from queue_world import identity, new_job, new_project, new_runner, new_spec

from runner_protocol.messages import HostState
from server_stub.sessions import Session
from server_stub.store import job_reads, runners
from server_stub.store.database import Database
from server_stub.store.sessions import write_sessions
from server_stub.store.tx import Tx
from server_stub.waiting import RunnerState

LOST_MS = 60_000
# A text that looks like the end of what an unblocked host says.
HOSTILE = '","blocked":[]'


def fill(tx: Tx) -> int:
    """A runner of every kind: drained, holding a job, blocked or not; heard of just now, long ago or never."""
    spec, project, other = new_spec(tx), new_project(tx), new_spec(tx, "other")
    kinds = itertools.product((False, True), (False, True), (False, True), (0, 2 * LOST_MS, None))
    for number, (drained, busy, blocked, silent_ms) in enumerate(kinds):
        runner = new_runner(tx, f"r{number}", spec)
        row = runners.find(tx, runner.slug)
        if drained:
            runners.drain(tx, row, None)
        if busy:
            job = new_job(tx, project, spec)
            tx.run(
                "UPDATE job SET state = 'running', runner_id = :runner, attempt = 1 WHERE uuid = :uuid",
                runner=runner.id,
                uuid=str(job),
            )
        if silent_ms is not None:
            state = HostState(blocked=["disk", HOSTILE] if blocked else [], sandboxes=[HOSTILE])
            write_sessions(tx, [(runner.id, Session(tx.now_ms() - silent_ms, identity(), state))])
    runners.archive(tx, runners.find(tx, new_runner(tx, "gone", spec).slug))
    new_runner(tx, "elsewhere", other)
    return spec


@pytest.mark.anyio
async def test_counts_of_runners_are_those_of_the_runners_one_by_one(database: Database) -> None:
    spec = await database.write(fill)

    def read(tx: Tx, spec_id: int | None) -> tuple[Counter[RunnerState], Counter[RunnerState]]:
        now_ms = tx.now_ms()
        rows = job_reads.runners(tx, spec_id=spec_id)
        one_by_one = Counter(job_reads.state_of(row, now_ms, LOST_MS) for row in rows)
        return one_by_one, job_reads.runner_states(tx, LOST_MS, spec_id=spec_id)

    one_by_one, counted = await database.read(lambda tx: read(tx, spec))
    assert counted == one_by_one
    assert set(counted) == set(RunnerState) - {RunnerState.REMOVED}
    assert (await database.read(lambda tx: read(tx, None)))[1] == one_by_one + Counter([RunnerState.NEVER_SEEN])
