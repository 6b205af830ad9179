"""What time does to jobs, whichever server process is alive: leases that ran out, deadlines passed, back-offs over.

Every process sweeps; the guard in each statement lets one of them win. Waits for nothing: `job_queue` keeps the beat.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import structlog

from runner_protocol.states import JobState
from server_stub.leases import BACKOFF_MS, AskToStop, End, LeaseTerms, Requeue, after_time
from server_stub.store import job_claims, jobs
from server_stub.store.database import Database
from server_stub.store.tx import Row, Tx
from server_stub.telemetry import Telemetry

BATCH = 200
"""Jobs that one transaction moves: after an outage of a whole fleet, claims must still get in between."""
WAKES_MAX = 64
"""Agents that one sweep wakes for a spec: under tiers they may look in vain."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sight:
    """What a sweep finds. One read: an idle process does little else than sweep."""

    now_ms: int
    """When it began, by the database's clock: had it to wait for the database, heartbeats had to, too."""
    overdue: bool
    """Whether any job is."""
    due: Counter[int]
    """How many jobs of each spec wait that may be handed out, as far as one sweep wakes agents for them."""


async def sweep(
    database: Database,
    terms: LeaseTerms,
    spec_ids: list[int],
    telemetry: Telemetry,
    *,
    last: Sight | None,
    silence_ms: int,
) -> Sight:
    """Move every overdue job, and tell what is seen then; `last`: in the sweep before.

    What is due wakes an agent whose job came out of its back-off, or was queued by a process that has no way to say so.
    """
    look = partial(_sight, terms=terms, spec_ids=spec_ids)
    seen = await database.read(look)
    began_ms = seen.now_ms
    if await _catch_up(database, terms, began_ms, last, silence_ms):
        seen = await database.read(look)
    if seen.overdue:
        await _expire_all(database, terms, telemetry)
        seen = await database.read(look)
    return replace(seen, now_ms=began_ms)


def _sight(tx: Tx, terms: LeaseTerms, spec_ids: list[int]) -> Sight:
    overdue = bool(jobs.overdue(tx, terms.grace_ms, limit=1))
    return Sight(tx.now_ms(), overdue, job_claims.due(tx, spec_ids, WAKES_MAX))


async def _expire_all(database: Database, terms: LeaseTerms, telemetry: Telemetry) -> None:
    full = True
    while full:
        expired = await database.write(partial(expire, terms=terms))
        full = len(expired) == BATCH
        for one in expired:
            telemetry.expired.labels(one.ending).inc()
            if one.verdict:
                telemetry.ended(one.verdict)


async def _catch_up(database: Database, terms: LeaseTerms, now_ms: int, last: Sight | None, silence_ms: int) -> bool:
    """Before a sweep: set right what the time since the last one says nothing about. Whether any was changed.

    Where the clock went back, or may have while no server ran, jobs go back with it: else one that was queued by a
    clock an hour ahead waited for an hour. After a silence, when no server or no database was there to hear heartbeats,
    holders get some time to speak up: a job of hours outlives an outage of any length.
    """
    moved = extended = 0
    if last is None or now_ms < last.now_ms:
        lease_ms = max(terms.lease_ms, terms.confirm_ms, terms.outage_grace_ms)
        bring_back = partial(jobs.bring_back, pause_ms_max=BACKOFF_MS[-1], lease_ms_max=lease_ms)
        if moved := await database.write(bring_back):
            log.warning("clock_went_back", moments=moved)
    silent = last is None or now_ms - last.now_ms > silence_ms
    if silent and (extended := await database.write(partial(jobs.extend_all, ms=terms.outage_grace_ms))):
        log.warning("leases_extended", jobs=extended)
    return bool(moved or extended)


@dataclass(frozen=True, slots=True)
class Expired:
    """What became of an overdue job."""

    ending: str
    """`asked`, `unconfirmed`, `lost`, `canceled` or `left`."""
    verdict: Requeue | End | None = None
    """Where its attempt has ended."""


def expire(tx: Tx, terms: LeaseTerms) -> list[Expired]:
    """Move a batch of overdue jobs."""
    return [_expire_one(tx, row, terms) for row in jobs.overdue(tx, terms.grace_ms, BATCH)]


def _expire_one(tx: Tx, row: Row, terms: LeaseTerms) -> Expired:
    verdict = after_time(jobs.held(row), tx.now_ms(), terms)
    if verdict is None:
        return Expired("left")
    if isinstance(verdict, AskToStop):
        jobs.ask_to_stop(tx, row, verdict.fault)
        expired = Expired("asked")
    else:
        expired = Expired(_how(verdict), verdict)
        jobs.conclude(tx, row, verdict, expired.ending)
    log.info("lease_expired", job=row["uuid"], attempt=row["attempt"], ending=expired.ending)
    return expired


def _how(verdict: Requeue | End) -> str:
    """How an attempt ended that time has ended."""
    if isinstance(verdict, End) and verdict.state is JobState.CANCELED:
        return "canceled"
    return "lost" if verdict.fault else "unconfirmed"
