"""What one look for work does, in one transaction: who asks, what of its past has to be settled, which job it gets.

Waits for nothing and keeps nothing in memory: `job_queue` does. Composes the statements of the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from runner_protocol.jobs import ClaimedJob, RegistryAuth, Work
from runner_protocol.messages import ClaimRequest
from runner_protocol.states import JobState
from server_stub.leases import LeaseTerms, Requeue, after_loss, after_return
from server_stub.sessions import Rival, Session, meet
from server_stub.store import job_claims, jobs, runners
from server_stub.store.runner_keys import authenticate
from server_stub.store.sessions import note_rival, session, write_sessions
from server_stub.store.tx import Row, Tx


@dataclass(frozen=True, slots=True)
class Asker:
    """A runner that asks for work."""

    runner: Row
    spec_ids: frozenset[int]
    known: Session | None
    """What was written down of it before."""
    now_ms: int
    held: Row | None
    """The job that it holds, as far as the database knows."""

    def takes(self, body: ClaimRequest) -> frozenset[int]:
        """The specs of jobs that it may be woken for."""
        idle = self.runner["drained_ms"] is None and not body.state.blocked
        return self.spec_ids if idle else frozenset()


def ask(tx: Tx, named: str, key: str | None) -> Asker:
    """Look without changing anything. Raises `UnauthorizedError` for a wrong key."""
    runner = authenticate(tx, named, key)
    return Asker(
        runner=runner,
        spec_ids=frozenset(runners.spec_ids(tx, runner["id"])),
        known=session(tx, runner["id"]),
        now_ms=tx.now_ms(),
        held=jobs.held_by(tx, runner["id"]),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """One handed out job, and what has to be known to take it back."""

    message: ClaimedJob
    job: Row
    waited_s: float
    """Since its submission."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a new poll finds."""

    asker: Asker
    met: Session | Rival
    claim: Claim | None


def arrive(
    tx: Tx,
    named: str,
    key: str | None,
    body: ClaimRequest,
    *,
    told: Mapping[int, Session],
    alive_ms: int,
    take_within: tuple[LeaseTerms, bool] | None,
) -> Arrival:
    """Who asks, and the job for it where one waits. `told`: what was heard since it was last written down.

    A new process is written down at once, so that its clone is told from it everywhere. `take_within`: the terms, and
    whether tiers are in force; None where nothing is to be handed out.
    """
    asker = ask(tx, named, key)
    runner_id = asker.runner["id"]
    known = told.get(runner_id) or asker.known
    met = meet(known, body.agent, body.state, asker.now_ms, alive_ms)
    if isinstance(met, Rival):
        note_rival(tx, runner_id, met)
        return Arrival(asker, met, None)
    if known is None or known.instance != met.instance:
        write_sessions(tx, [(runner_id, met)])
    claim = None
    if take_within is not None:
        terms, tiers = take_within
        claim = _take(tx, asker, instance=met.instance, blocked=bool(body.state.blocked), terms=terms, tiers=tiers)
    return Arrival(asker, met, claim)


def take(
    tx: Tx, named: str, key: str | None, *, instance: UUID | None, blocked: bool, terms: LeaseTerms, tiers: bool
) -> Claim | None:
    """Settle what a runner held before, and hand it a job where there is one for it."""
    return _take(tx, ask(tx, named, key), instance=instance, blocked=blocked, terms=terms, tiers=tiers)


def _take(
    tx: Tx, asker: Asker, *, instance: UUID | None, blocked: bool, terms: LeaseTerms, tiers: bool
) -> Claim | None:
    """Settle what the runner held before, and hand it a job where there is one for it.

    A claim that this very process never confirmed is handed out again: its answer was lost on the way. Whatever else it
    held it has forgotten, and that goes back to the queue. A drained or blocked runner gets nothing new.
    """
    runner = asker.runner
    if (held := asker.held) is not None:
        if held["state"] == JobState.CLAIMED and held["instance"] == (instance and str(instance)):
            return _again(tx, held, terms)
        _give_back(tx, held, instance, terms)
    if blocked or runner["drained_ms"] is not None or not asker.spec_ids:
        return None
    if tiers:
        job_claims.pass_gate(tx)
    job = job_claims.next_job(tx, sorted(asker.spec_ids), tiers=tiers)
    if job is None:
        return None
    work = Work.model_validate_json(job["work"])
    budget_ms = round(terms.budgets(work, job["timeout_s"]).job_s_max * 1000) + terms.grace_ms
    attempt = job_claims.hand_out(
        tx, job, runner["id"], instance=instance, confirm_ms=terms.confirm_ms, budget_ms=budget_ms
    )
    return None if attempt is None else _claim(tx, job | {"attempt": attempt}, terms)


def put_back(tx: Tx, claim: Claim) -> bool:
    """Return a job to the queue at no cost: nobody was there any more to take it."""
    return jobs.conclude(tx, claim.job, Requeue(None, tx.now_ms(), costs_an_attempt=False), ending="unconfirmed")


def _again(tx: Tx, held: Row, terms: LeaseTerms) -> Claim:
    job_claims.hand_again(tx, held, terms.confirm_ms)
    return _claim(tx, held | jobs.request_of(tx, held["id"]), terms)


def _give_back(tx: Tx, held: Row, instance: UUID | None, terms: LeaseTerms) -> None:
    if held["state"] == JobState.CLAIMED:
        verdict = Requeue(None, tx.now_ms(), costs_an_attempt=False)
        jobs.conclude(tx, held, verdict, ending="unconfirmed")
        return
    fault = after_return(same_process=held["instance"] == (instance and str(instance)))
    jobs.conclude(tx, held, after_loss(jobs.held(held), fault, tx.now_ms(), terms), ending="lost")


def _claim(tx: Tx, job: Row, terms: LeaseTerms) -> Claim:
    work = Work.model_validate_json(job["work"])
    auth = job["registry_auth"]
    message = ClaimedJob(
        job=UUID(job["uuid"]),
        attempt=job["attempt"],
        lease_s=terms.lease_ms / 1000,
        heartbeat_s=terms.heartbeat_ms / 1000,
        project=job["project"],
        spec=runners.wire_spec(tx, job["spec_id"]),
        work=work,
        budgets=terms.budgets(work, job["timeout_s"]),
        limits=terms.limits,
        registry_auth=RegistryAuth.model_validate_json(auth) if auth else None,
        created=datetime.fromtimestamp(job["created_ms"] / 1000, UTC),
    )
    return Claim(message, job, (tx.now_ms() - job["created_ms"]) / 1000)
