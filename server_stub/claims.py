"""What one look for work does, in one transaction: who asks, what of its past has to be settled, which job it gets.

Waits for nothing and keeps nothing in memory: `job_queue` does. Composes the statements of the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from runner_protocol.jobs import ClaimedJob, RegistryAuth, Spec, Work
from runner_protocol.messages import ClaimRequest
from runner_protocol.states import JobState
from server_stub.leases import LeaseTerms, Requeue, after_loss, after_return
from server_stub.sessions import Rival, Session, meet
from server_stub.store import job_claims, jobs, runners, specs
from server_stub.store.runner_keys import authenticate_asker
from server_stub.store.sessions import note_rival, read_session, write_sessions
from server_stub.store.tx import Row, Tx


@dataclass(frozen=True, slots=True)
class Asker:
    """A runner that asks for work: little, since ten thousand of them are remembered while they wait."""

    runner_id: int
    slug: str
    drained: bool
    spec_ids: frozenset[int]
    """Of the jobs that it may be given."""
    held_id: int | None
    """The job that it holds, as far as the database knows."""

    def takes(self, *, blocked: bool) -> frozenset[int]:
        """The specs of jobs that it may be woken for."""
        return frozenset() if self.drained or blocked else self.spec_ids


def ask(tx: Tx, named: str, key: str | None) -> Asker:
    """Look without changing anything. Raises `UnauthorizedError` for a wrong key."""
    return _asker(authenticate_asker(tx, named, key))


def _asker(row: Row) -> Asker:
    spec_ids = frozenset(map(int, row["spec_ids"].split(",") if row["spec_ids"] else ()))
    return Asker(row["id"], row["slug"], row["drained_ms"] is not None, spec_ids, row["held_id"])


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
    changed: bool
    """Whether it says anything but what is written down."""
    looked: bool
    """Whether it was looked for a job."""


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
    row = authenticate_asker(tx, named, key)
    asker, runner_id = _asker(row), row["id"]
    known = told.get(runner_id) or (read_session(row) if row["state"] else None)
    met = meet(known, body.agent, body.state, tx.now_ms(), alive_ms)
    if isinstance(met, Rival):
        note_rival(tx, runner_id, met)
        return Arrival(asker, met, None, changed=False, looked=False)
    changed = known is None or known.seen(met.seen_ms) != met
    if known is None or known.instance != met.instance:
        write_sessions(tx, [(runner_id, met)])
        changed = False
    claim = None
    if take_within is not None:
        terms, tiers = take_within
        claim = _take(tx, asker, instance=met.instance, blocked=bool(body.state.blocked), terms=terms, tiers=tiers)
    return Arrival(asker, met, claim, changed=changed, looked=take_within is not None)


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
    held = None if asker.held_id is None else jobs.held_by(tx, asker.runner_id, asker.held_id)
    if held is not None:
        if held["state"] == JobState.CLAIMED and held["instance"] == (instance and str(instance)):
            return _again(tx, held, terms)
        _give_back(tx, held, instance, terms)
    spec_ids = asker.takes(blocked=blocked)
    if not spec_ids:
        return None
    if tiers:
        job_claims.pass_gate(tx)
    job = job_claims.next_job(tx, sorted(spec_ids), tiers=tiers)
    if job is None:
        return None
    work = Work.model_validate_json(job["work"])
    budget_ms = round(terms.budgets(work, job["timeout_s"]).job_s_max * 1000) + terms.grace_ms
    attempt = job_claims.hand_out(
        tx, job, asker.runner_id, instance=instance, confirm_ms=terms.confirm_ms, budget_ms=budget_ms
    )
    if attempt is None:
        return None
    return _claim(tx, job | {"attempt": attempt}, work, runners.wire_spec(job, "spec_"), terms)


def put_back(tx: Tx, claim: Claim) -> bool:
    """Return a job to the queue at no cost: nobody was there any more to take it."""
    return jobs.conclude(tx, claim.job, Requeue(None, tx.now_ms(), costs_an_attempt=False), ending="unconfirmed")


def _again(tx: Tx, held: Row, terms: LeaseTerms) -> Claim:
    job_claims.hand_again(tx, held, terms.confirm_ms)
    job = held | jobs.request_of(tx, held["id"])
    spec = runners.wire_spec(specs.by_id(tx, held["spec_id"]))
    return _claim(tx, job, Work.model_validate_json(job["work"]), spec, terms)


def _give_back(tx: Tx, held: Row, instance: UUID | None, terms: LeaseTerms) -> None:
    if held["state"] == JobState.CLAIMED:
        verdict = Requeue(None, tx.now_ms(), costs_an_attempt=False)
        jobs.conclude(tx, held, verdict, ending="unconfirmed")
        return
    fault = after_return(same_process=held["instance"] == (instance and str(instance)))
    jobs.conclude(tx, held, after_loss(jobs.held(held), fault, tx.now_ms(), terms), ending="lost")


def _claim(tx: Tx, job: Row, work: Work, spec: Spec, terms: LeaseTerms) -> Claim:
    auth = job["registry_auth"]
    message = ClaimedJob(
        job=UUID(job["uuid"]),
        attempt=job["attempt"],
        lease_s=terms.lease_ms / 1000,
        heartbeat_s=terms.heartbeat_ms / 1000,
        project=job["project"],
        spec=spec,
        work=work,
        budgets=terms.budgets(work, job["timeout_s"]),
        limits=terms.limits,
        registry_auth=RegistryAuth.model_validate_json(auth) if auth else None,
        created=datetime.fromtimestamp(job["created_ms"] / 1000, UTC),
    )
    return Claim(message, job, (tx.now_ms() - job["created_ms"]) / 1000)
