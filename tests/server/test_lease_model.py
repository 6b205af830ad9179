"""A model of the lease protocol: two agents, a real database, and a network that loses, repeats and reorders.

Time is virtual: hours of leases pass in seconds. Every message that an agent ever sent may arrive again, at any later
time. Whatever happens, each job ends exactly once, with the report of the one attempt that held it then.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import data, integers, sampled_from
from queue_world import Runner, identity, new_job, new_project, new_runner, new_spec

from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import AgentIdentity, Heartbeat, Progress
from runner_protocol.problems import Stale
from runner_protocol.results import CapturedText, Fault, FaultClass, IterationRecord, Outcome, RunReport, Stage
from runner_protocol.states import LEASED, TERMINAL, JobState
from server_stub import claims, intake, sweeping
from server_stub.canceling import cancel
from server_stub.errors import ApiError, ConflictError
from server_stub.job_queue import terms_of
from server_stub.settings import Settings
from server_stub.store import jobs, outputs
from server_stub.store.migrate import migrate
from server_stub.store.sqlite import SqliteTx
from server_stub.store.tx import Row, Tx

TERMS = terms_of(Settings())
ENDED = TERMINAL | {JobState.COMPLETED}
HEARTBEAT = Progress(stage=Stage.ITERATE)


class Agent:
    """One runner's agent: what it believes it holds. It learns only from the answers that reach it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.process: AgentIdentity = identity(runner.slug)
        self.job: ClaimedJob | None = None


class LeaseProtocol(RuleBasedStateMachine):
    """The rules are what may happen; the invariants are what must hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_800_000_000_000
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.agents: list[Agent] = []
        self.late: dict[str, list[Callable[[], Any]]] = {}
        self.attempts: dict[UUID, int] = {}
        self.ended: dict[UUID, tuple[str, int]] = {}
        self.accepted: dict[UUID, list[tuple[int, str]]] = {}

    def teardown(self) -> None:
        self.connection.close()

    def tx(self, work: Callable[[Tx], Any]) -> Any:
        """One transaction at the present virtual moment."""
        self.connection.execute("BEGIN")
        try:
            result = work(SqliteTx(self.connection, lambda: self.now_ms))
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result

    @initialize()
    def start(self) -> None:
        self.tx(migrate)
        self.spec = self.tx(new_spec)
        self.project = self.tx(new_project)
        self.agents = [Agent(self.tx(partial(_runner, name=name, spec=self.spec))) for name in ("rack 1", "rack 2")]
        self.submit()

    @rule()
    def submit(self) -> None:
        self.tx(lambda tx: new_job(tx, self.project, self.spec))

    @rule(seconds=sampled_from([1, 14, 31, 46, 120, 3600]))
    def pass_time(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        if seconds > 1:
            self.sweep()

    @rule()
    def sweep(self) -> None:
        self.tx(partial(sweeping.expire, terms=TERMS))

    @precondition(lambda self: self.agents_that(hold=False))
    @rule(source=data(), answer_arrives=sampled_from([True, True, True, False]))
    def claim(self, source: Any, answer_arrives: bool) -> None:
        agent = source.draw(sampled_from(self.agents_that(hold=False)))
        call = partial(self._claim, agent.runner, agent.process)
        self.late.setdefault("claim", []).append(call)
        claim = call()
        if claim is not None and answer_arrives:
            agent.job = claim.message

    @precondition(lambda self: self.agents_that(hold=True))
    @rule(source=data(), arrives=sampled_from([True, True, True, False]))
    def beat(self, source: Any, arrives: bool) -> None:
        agent = source.draw(sampled_from(self.agents_that(hold=True)))
        call = partial(self._beat, agent.runner, agent.job)
        self.late.setdefault("beat", []).append(call)
        if arrives and call() is not None:
            agent.job = None

    @precondition(lambda self: self.agents_that(hold=True))
    @rule(
        source=data(),
        outcome=sampled_from(list(Outcome)),
        why=sampled_from([FaultClass.EXIT_CODE, FaultClass.ENGINE_FAULT, FaultClass.AGENT_STOPPED]),
        answer_arrives=sampled_from([True, True, False]),
    )
    def report(self, source: Any, outcome: Outcome, why: FaultClass, answer_arrives: bool) -> None:
        agent = source.draw(sampled_from(self.agents_that(hold=True)))
        call = partial(self._report, agent.runner, report_of(agent.job, outcome, why))
        self.late.setdefault("report", []).append(call)
        call()
        if answer_arrives:
            agent.job = None
        else:
            call()

    @rule(which=integers(0, 1))
    def restart(self, which: int) -> None:
        agent = self.agents[which]
        agent.process, agent.job = identity(agent.runner.slug), None

    @precondition(lambda self: self.late)
    @rule(source=data())
    def repeat_a_message_of_long_ago(self, source: Any) -> None:
        # The kind first: else the many claims would crowd the few that can do harm out.
        kind = source.draw(sampled_from(sorted(self.late)))
        source.draw(sampled_from(self.late[kind]))()

    @rule(source=data())
    def cancel_some_job(self, source: Any) -> None:
        rows = self.rows()
        if not rows:
            return
        row = source.draw(sampled_from(rows))
        try:
            self.tx(partial(cancel, uuid=UUID(row["uuid"]), project_id=None))
        except ConflictError:
            assert row["state"] in ENDED - {JobState.CANCELED}

    @invariant()
    def one_runner_holds_one_job(self) -> None:
        held = [row["runner_id"] for row in self.rows() if row["state"] in LEASED]
        assert len(held) == len(set(held))

    @invariant()
    def an_attempt_number_never_falls(self) -> None:
        for row in self.rows():
            assert row["attempt"] >= self.attempts.get(UUID(row["uuid"]), 0)
            self.attempts[UUID(row["uuid"])] = row["attempt"]
            assert row["lost"] < TERMS.attempts_max

    @invariant()
    def a_job_that_has_ended_stays_as_it_ended(self) -> None:
        for row in self.rows():
            uuid, now = UUID(row["uuid"]), (row["state"], row["attempt"])
            if row["state"] in ENDED:
                assert self.ended.setdefault(uuid, now) == now

    @invariant()
    def what_is_stored_is_the_one_report_that_ended_the_job(self) -> None:
        for row in self.rows():
            uuid = UUID(row["uuid"])
            stored = self.tx(partial(outputs.find_report, uuid=uuid))
            ending = [text for attempt, text in self.accepted.get(uuid, []) if attempt == row["attempt"]]
            if stored is not None:
                assert row["state"] in ENDED
                assert stored.attempt == row["attempt"]
                assert [stored.model_dump_json()] == list(dict.fromkeys(ending))
            if row["state"] == JobState.COMPLETED:
                assert stored is not None

    @invariant()
    def a_job_that_nobody_holds_is_in_the_queue_or_has_ended(self) -> None:
        for row in self.rows():
            leased = row["state"] in LEASED
            assert leased == (row["lease_until_ms"] is not None)
            assert leased or row["state"] in ENDED | {JobState.PENDING}

    def agents_that(self, *, hold: bool) -> list[Agent]:
        return [agent for agent in self.agents if (agent.job is not None) == hold]

    def rows(self) -> list[Row]:
        if not hasattr(self, "project"):
            return []
        found: list[Row] = self.tx(lambda tx: tx.all("SELECT * FROM job ORDER BY id"))
        return found

    def _claim(self, runner: Runner, process: AgentIdentity) -> claims.Claim | None:
        caller = claims.Caller(runner.slug, runner.key, process.instance, blocked=False)
        claim: claims.Claim | None
        (claim,) = self.tx(partial(claims.look, callers=[caller], offer=claims.Offer(TERMS, tiers=False)))
        return claim

    def _beat(self, runner: Runner, job: ClaimedJob) -> Stale | None:
        call = (intake.From(runner.slug, runner.key, job.job), Heartbeat(attempt=job.attempt, progress=HEARTBEAT))
        before = self._row(job.job)
        mine = before["state"] in LEASED and (before["attempt"], before["runner_id"]) == (job.attempt, runner.id)
        (reply,) = self.tx(partial(intake.beat, calls=[call], terms=TERMS))
        assert isinstance(reply, ConflictError) != mine
        return None if mine else reply.stale

    def _report(self, runner: Runner, report: RunReport) -> None:
        text = report.model_dump_json()

        parcel = intake.Parcel(report, f"{hash(text)}", outputs.compress(text.encode()), len(text))
        call = (intake.From(runner.slug, runner.key, report.job), parcel)
        (taken,) = self.tx(partial(intake.take_reports, calls=[call], terms=TERMS))
        if isinstance(taken, ApiError):
            return
        known = self.accepted.setdefault(report.job, [])
        if taken.repeated:
            assert (report.attempt, text) in known
        else:
            known.append((report.attempt, text))

    def _row(self, job: UUID) -> Row:
        row: Row = self.tx(partial(jobs.by_uuid, uuid=job))
        return row


def _runner(tx: Tx, name: str, spec: int) -> Runner:
    return new_runner(tx, name, spec)


def report_of(job: ClaimedJob, outcome: Outcome, why: FaultClass) -> RunReport:
    fault = None if outcome is Outcome.COMPLETED else Fault(kind=why, stage=Stage.ITERATE, message="so it is")
    printed = IterationRecord(number=0, exit_code=0, stdout=CapturedText(text=f"{job.attempt} {outcome}"))
    return RunReport(job=job.job, attempt=job.attempt, outcome=outcome, fault=fault, iterations=[printed])


TestLeaseProtocol = LeaseProtocol.TestCase
TestLeaseProtocol.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
