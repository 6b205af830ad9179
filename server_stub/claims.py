"""What looks for work do, in one transaction: who asks, what of its past has to be settled, which job it gets.

Waits for nothing and keeps nothing in memory: `job_queue` does. Composes the statements of the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from runner_protocol.jobs import ClaimedJob, RegistryAuth, Spec, Work
from runner_protocol.messages import ClaimRequest
from runner_protocol.states import JobState
from server_stub.leases import End, LeaseTerms, Requeue, after_loss, after_return
from server_stub.sessions import Rival, Session, meet
from server_stub.store import job_claims, jobs, runners, specs
from server_stub.store.runner_keys import authenticate_asker, authenticated_askers
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


@dataclass(frozen=True, slots=True)
class Caller:
    """What has to be known of a call for work while it waits."""

    named: str
    key: str | None
    instance: UUID | None
    blocked: bool
    came_ms: int = 0
    """By the database's clock; a job that this runner was handed since is for a newer call of it."""

    @classmethod
    def of(cls, named: str, key: str | None, body: ClaimRequest) -> Self:
        """Without what the host says of itself, which is large."""
        return cls(named, key, body.agent.instance if body.agent else None, bool(body.state.blocked))


@dataclass(frozen=True, slots=True)
class Offer:
    """On which terms jobs are handed out, and whether tiers are in force."""

    terms: LeaseTerms
    tiers: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """One handed out job, and what has to be known to take it back."""

    message: ClaimedJob
    job: Row
    waited_s: float
    """Since its submission."""
    again: bool = False
    """Whether it was handed out before: an earlier answer may have arrived after all."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a new poll finds."""

    asker: Asker
    met: Session | Rival
    came_ms: int
    fresh: bool = False
    """Whether this is another process than the one before."""
    changed: bool = False
    """Whether it says anything but what is written down."""
    claim: Claim | None = None
    gave_back: Requeue | End | None = None
    """What became of the attempt that it held, where it has forgotten that."""
    looked: bool = False
    """Whether it was looked for a job."""


def ask(tx: Tx, caller: Caller) -> Asker:
    """Who it is, and nothing changed. Raises `UnauthorizedError` for a wrong key."""
    return _asker(authenticate_asker(tx, caller.named, caller.key))


def _asker(row: Row) -> Asker:
    spec_ids = frozenset(map(int, row["spec_ids"].split(",") if row["spec_ids"] else ()))
    return Asker(row["id"], row["slug"], row["drained_ms"] is not None, spec_ids, row["held_id"])


def arrive(
    tx: Tx,
    calls: Sequence[tuple[Caller, ClaimRequest]],
    *,
    told: Mapping[int, Session],
    alive_ms: int,
    offer: Offer | None,
) -> list[Arrival | Exception]:
    """Who asks, and the job for each where one waits; in place of it the exception for a wrong key.

    `told`: what was heard since it was last written down. A new process is written down at once, so that its clone is
    told from it everywhere. `offer`: None where nothing is to be handed out.
    """
    rows = authenticated_askers(tx, [(caller.named, caller.key) for caller, _ in calls])
    arrivals = [
        row if isinstance(row, Exception) else _meet(tx, row, body, told, alive_ms)
        for row, (_, body) in zip(rows, calls, strict=True)
    ]
    met = {
        number: (arrival, arrival.met)
        for number, arrival in enumerate(arrivals)
        if isinstance(arrival, Arrival) and isinstance(arrival.met, Session)
    }
    if fresh := [(arrival.asker.runner_id, session) for arrival, session in met.values() if arrival.fresh]:
        write_sessions(tx, fresh)
    if offer is None:
        return list(arrivals)
    lookers = {
        number: _Looker(arrival.asker, session.instance, calls[number][0].blocked)
        for number, (arrival, session) in met.items()
    }
    found = dict(zip(lookers, _take(tx, list(lookers.values()), offer), strict=True))
    return [
        replace(arrival, claim=found[number].claim, gave_back=found[number].gave_back, looked=True)
        if isinstance(arrival, Arrival) and number in found
        else arrival
        for number, arrival in enumerate(arrivals)
    ]


def look(tx: Tx, callers: Sequence[Caller], offer: Offer) -> list[Claim | Exception | None]:
    """Settle what each held before, and hand it a job where there is one; or the exception for a wrong key.

    Nothing for one that has been handed a job since it came: whoever waits here has come anew, and nobody hears this.
    """
    rows = authenticated_askers(tx, [(caller.named, caller.key) for caller in callers])
    lookers = {
        number: _Looker(_asker(row), caller.instance, caller.blocked)
        for number, (row, caller) in enumerate(zip(rows, callers, strict=True))
        if not isinstance(row, Exception) and not _overtaken(tx, row, caller)
    }
    found = dict(zip(lookers, _take(tx, list(lookers.values()), offer), strict=True))
    return [
        row if isinstance(row, Exception) else found[number].claim if number in found else None
        for number, row in enumerate(rows)
    ]


def _overtaken(tx: Tx, row: Row, caller: Caller) -> bool:
    held = None if row["held_id"] is None else jobs.held_by(tx, row["id"], row["held_id"])
    return held is not None and bool(held["claimed_ms"] >= caller.came_ms)


def _meet(tx: Tx, row: Row, body: ClaimRequest, told: Mapping[int, Session], alive_ms: int) -> Arrival:
    asker, runner_id = _asker(row), row["id"]
    known = told.get(runner_id) or (read_session(row) if row["state"] else None)
    came_ms = tx.now_ms()
    met = meet(known, body.agent, body.state, came_ms, alive_ms)
    if isinstance(met, Rival):
        note_rival(tx, runner_id, met)
        return Arrival(asker, met, came_ms)
    if known is None or known.instance != met.instance:
        return Arrival(asker, met, came_ms, fresh=True)
    return Arrival(asker, met, came_ms, changed=known.seen(met.seen_ms) != met)


@dataclass(frozen=True, slots=True)
class _Looker:
    """A runner that may be given a job."""

    asker: Asker
    instance: UUID | None
    blocked: bool

    @property
    def takes(self) -> frozenset[int]:
        return self.asker.takes(blocked=self.blocked)


@dataclass(slots=True)
class _Found:
    """What there is for a runner."""

    claim: Claim | None = None
    gave_back: Requeue | End | None = None


def _take(tx: Tx, lookers: list[_Looker], offer: Offer) -> list[_Found]:
    """Settle what each runner held before, and hand it a job where there is one for it.

    A claim that this very process never confirmed is handed out again: its answer was lost on the way. Whatever else it
    held it has forgotten, and that goes back to the queue. A drained or blocked runner gets nothing new.
    """
    found = [_settle_held(tx, looker, offer.terms) for looker in lookers]
    free = [number for number, looker in enumerate(lookers) if found[number].claim is None and looker.takes]
    if free and offer.tiers:
        job_claims.pass_gate(tx)
    for turn in [[number] for number in free] if offer.tiers else [free]:
        for number, claim in zip(turn, _deal(tx, [lookers[number] for number in turn], offer), strict=True):
            found[number].claim = claim
    return found


def _settle_held(tx: Tx, looker: _Looker, terms: LeaseTerms) -> _Found:
    asker = looker.asker
    held = None if asker.held_id is None else jobs.held_by(tx, asker.runner_id, asker.held_id)
    if held is None:
        return _Found()
    if held["state"] == JobState.CLAIMED and held["instance"] == (looker.instance and str(looker.instance)):
        return _Found(_again(tx, held, terms))
    return _Found(gave_back=_give_back(tx, held, looker.instance, terms))


def _deal(tx: Tx, lookers: list[_Looker], offer: Offer) -> list[Claim | None]:
    """Hand the next jobs out."""
    terms, wanted = offer.terms, dict[int, job_claims.HandOut]()
    for number, job in enumerate(job_claims.deal(tx, [looker.takes for looker in lookers], tiers=offer.tiers)):
        if job is not None:
            work = Work.model_validate_json(job["work"])
            budget_ms = round(terms.budgets(work, job["timeout_s"]).job_s_max * 1000) + terms.grace_ms
            looker = lookers[number]
            wanted[number] = job_claims.HandOut(job, work, looker.asker.runner_id, looker.instance, budget_ms)
    given = job_claims.hand_out(tx, list(wanted.values()), terms.confirm_ms) if wanted else set()
    claims: list[Claim | None] = [None] * len(lookers)
    for number, one in wanted.items():
        if one.job["id"] in given:
            job = one.job | {"attempt": one.attempt}
            claims[number] = _claim(tx, job, one.work, runners.wire_spec(job, "spec_"), terms)
    return claims


def put_back(tx: Tx, claim: Claim) -> bool:
    """Return a job to the queue at no cost: nobody was there any more to take it. One handed out again is left.

    Its lease runs out soon, unless the holder has it from an earlier answer.
    """
    return not claim.again and jobs.conclude(
        tx, claim.job, Requeue(None, tx.now_ms(), costs_an_attempt=False), "unconfirmed"
    )


def _again(tx: Tx, held: Row, terms: LeaseTerms) -> Claim:
    job_claims.hand_again(tx, held, terms.confirm_ms)
    job = held | jobs.request_of(tx, held["id"])
    spec = runners.wire_spec(specs.by_id(tx, held["spec_id"]))
    return replace(_claim(tx, job, Work.model_validate_json(job["work"]), spec, terms), again=True)


def _give_back(tx: Tx, held: Row, instance: UUID | None, terms: LeaseTerms) -> Requeue | End:
    verdict: Requeue | End = Requeue(None, tx.now_ms(), costs_an_attempt=False)
    if held["state"] != JobState.CLAIMED:
        fault = after_return(same_process=held["instance"] == (instance and str(instance)))
        verdict = after_loss(jobs.held(held), fault, tx.now_ms(), terms)
    jobs.conclude(tx, held, verdict, "lost" if verdict.fault else "unconfirmed")
    return verdict


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
