"""What runners were last heard to say: written in batches, never once a poll."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from runner_protocol.messages import AgentIdentity, HostState
from server_stub.sessions import Rival, Session
from server_stub.store import noise
from server_stub.store.tx import Row, Tx

SEEN = "CASE WHEN h.heard_ms > s.seen_ms THEN h.heard_ms ELSE s.seen_ms END"
"""When the runner of a session was last heard of; none where it never was."""
BESIDE = "LEFT JOIN runner_session s ON s.runner_id = r.id LEFT JOIN runner_heard h ON h.runner_id = r.id"
"""Joins a runner's session, and when it was heard of since, to its row `r`."""


def read_session(row: Row) -> Session:
    """A session from its row."""
    return Session(
        seen_ms=row["seen_ms"],
        agent=AgentIdentity.model_validate_json(row["agent"]) if row["agent"] else None,
        state=HostState.model_validate_json(row["state"]),
        retired=tuple(UUID(text) for text in json.loads(row["retired"])),
    )


def write_sessions(tx: Tx, told: Iterable[tuple[int, Session]], heard: Iterable[int] = ()) -> None:
    """Write down what some runners said, and that others were heard of, in a handful of statements.

    What one has said is let go where a later word of it is written down: it may have gone to another server process.
    """
    said_by = _latest(tx, dict(told))
    rows = [_session_row(runner_id, said) for runner_id, said in said_by.items()]
    if rows:
        tx.run("DELETE FROM runner_session WHERE runner_id {any:ids}", ids=[row[0] for row in rows])
        tx.insert("runner_session", ("runner_id", "seen_ms", "retired", "agent", "state"), rows)
    hosts = {runner_id: said.state.host for runner_id, said in said_by.items()}
    floors = {one: host.noise_floor for one, host in hosts.items() if host and host.noise_floor is not None}
    if floors:
        noise.note(tx, floors)
    if ids := list(heard):
        tx.run(
            "INSERT INTO runner_heard (runner_id, heard_ms) SELECT id, :now FROM runner WHERE id {any:ids}"
            " ON CONFLICT (runner_id) DO UPDATE SET heard_ms = excluded.heard_ms",
            now=tx.now_ms(),
            ids=ids,
        )


def _latest(tx: Tx, told: dict[int, Session]) -> dict[int, Session]:
    """Those that have said nothing since. What a clock that was ahead has written counts for nothing."""
    sql = "SELECT runner_id, seen_ms FROM runner_session WHERE runner_id {any:ids} AND seen_ms <= :now"
    rows = tx.all(sql, ids=list(told), now=tx.now_ms()) if told else []
    later = {row["runner_id"] for row in rows if row["seen_ms"] > told[row["runner_id"]].seen_ms}
    return {runner_id: said for runner_id, said in told.items() if runner_id not in later}


def note_rival(tx: Tx, runner_id: int, rival: Rival) -> None:
    """Remember that a clone came with this runner's key, for the operator to see."""
    said = {
        "machine": rival.agent.machine_id,
        "hostname": rival.hostname,
        "at_ms": tx.now_ms(),
        "message": rival.message,
    }
    tx.run("UPDATE runner SET rival = :rival WHERE id = :id", rival=json.dumps(said), id=runner_id)


def _session_row(runner_id: int, said: Session) -> tuple[Any, ...]:
    return (
        runner_id,
        said.seen_ms,
        json.dumps([str(instance) for instance in said.retired]),
        said.agent.model_dump_json() if said.agent else None,
        said.state.model_dump_json(),
    )
