"""Fakes at the rim of the agent: a container engine that runs a script, and a server that obeys the wire contract.

The server stands behind an `httpx.MockTransport`, so the agent's own client, its table of answers and its sessions are
the real ones. Both record whole conversations for tests to compare.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import anyio
import httpx

from runner_agent.bench import Bench
from runner_agent.engine import EngineFacts, Image, IterationOrder, OutputTail, PullProgress
from runner_protocol.jobs import Budgets, ClaimedJob, RegistryAuth, Spec, Work
from runner_protocol.messages import ClaimRequest, Heartbeat, HeartbeatReply, ReportEnvelope, ReportReceipt
from runner_protocol.problems import Problem, Stale
from runner_protocol.results import CapturedText, IterationRecord, Outcome, RunReport
from runner_protocol.states import JobState

FACTS = EngineFacts(
    name="fake",
    version="1",
    api_version="1.41",
    cgroup_driver="cgroupfs",
    cgroup_version=1,
    storage_driver="overlay2",
    root_dir="/",
    runtimes=frozenset({"runc"}),
    default_runtime="runc",
    security=frozenset(),
    architecture="x86_64",
)

Script = Callable[[IterationOrder], IterationRecord]


def make_job(
    work: Work | None = None, *, attempt: int = 1, heartbeat_s: float = 0.02, job_s_max: float = 60
) -> ClaimedJob:
    """A job that asks for little."""
    return ClaimedJob(
        job=uuid4(),
        attempt=attempt,
        lease_s=heartbeat_s * 3,
        heartbeat_s=heartbeat_s,
        project="project",
        spec=Spec(uuid=uuid4(), name="small", slug="small", cpu=1, memory=1 << 26, disk=1 << 26),
        work=work or Work(image="registry.test/bench:1"),
        budgets=Budgets(pull_s_max=10, iteration_s_max=10, job_s_max=job_s_max),
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def record_of(order: IterationOrder, *, exit_code: int = 0, stdout: str = "") -> IterationRecord:
    """What a container that ends at once leaves."""
    return IterationRecord(
        number=order.number,
        variant=order.variant,
        warm_up=order.warm_up,
        repeats=order.repeats,
        exit_code=exit_code,
        wall_ns=1_000_000,
        stdout=CapturedText(text=stdout or f"{order.image.reference} {order.number}"),
    )


@dataclass
class FakeEngine:
    """Runs `script` in place of a container. `gate` holds every container back until it is set."""

    script: Script = record_of
    pull_error: Exception | None = None
    run_error: Exception | None = None
    facts_error: Exception | None = None
    gate: anyio.Event | None = None
    running: anyio.Event = field(default_factory=anyio.Event)
    orders: list[IterationOrder] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    sweeps: int = 0
    left_over: int = 0

    async def facts(self) -> EngineFacts:
        """Always the same, unless it is to fail."""
        if self.facts_error:
            raise self.facts_error
        return FACTS

    async def pull(
        self, reference: str, *, auth: RegistryAuth | None, spec: Spec, within_s: float, progress: PullProgress
    ) -> Image:
        """There at once."""
        self.pulled.append(reference)
        if self.pull_error:
            raise self.pull_error
        progress(0.5, f"pulling {reference}")
        return Image(
            reference, id=f"id of {reference}", digest="sha256:" + hashlib.sha256(reference.encode()).hexdigest()
        )

    async def run(self, order: IterationOrder, bench: Bench, tail: OutputTail) -> IterationRecord:
        """The script's record, once the gate is open. Cancelled: the container is killed."""
        self.orders.append(order)
        self.running.set()
        await bench.prepare(order.number)
        await bench.begin()
        tail(f"line of {order.number}")
        try:
            if self.gate:
                await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.killed.append(order.number)
            raise
        if self.run_error:
            raise self.run_error
        observation = await bench.end()
        record = self.script(order)
        return record if record.verdict else record.model_copy(update={"verdict": observation.verdict})

    async def sweep(self, *, keep_job: str | None = None) -> int:
        """Remove what is left over."""
        self.sweeps += 1
        removed, self.left_over = self.left_over, 0
        return removed


@dataclass
class FakeServer:
    """The calls of `runner_protocol.messages`, with leases and fences, in memory and without a clock."""

    key: str = "bencher_runner_" + "a" * 30
    queue: deque[ClaimedJob] = field(default_factory=deque)
    attempts: dict[UUID, int] = field(default_factory=dict)
    """The attempt that holds each job."""
    cancels: set[UUID] = field(default_factory=set)
    stale: dict[UUID, Stale] = field(default_factory=dict)
    claims: list[ClaimRequest] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)
    reports: list[RunReport] = field(default_factory=list)
    pieces: dict[tuple[str, int], bytes] = field(default_factory=dict)
    faults: deque[httpx.Response | Exception] = field(default_factory=deque)
    """Answers the next calls instead of the server."""
    fault_paths: tuple[str, ...] = ("jobs", "heartbeat", "report", "pieces")
    arrived: anyio.Event = field(default_factory=anyio.Event)
    reported: anyio.Event = field(default_factory=anyio.Event)
    beaten: anyio.Event = field(default_factory=anyio.Event)

    def submit(self, job: ClaimedJob) -> ClaimedJob:
        """Queue a job; a waiting agent has it at once."""
        self.queue.append(job)
        self.attempts[job.job] = job.attempt
        self.arrived.set()
        return job

    def supersede(self, job: ClaimedJob) -> ClaimedJob:
        """Its lease is over: the next attempt is queued."""
        return self.submit(job.model_copy(update={"attempt": self.attempts[job.job] + 1}))

    @property
    def transport(self) -> httpx.MockTransport:
        """What to put behind the agent's client."""
        return httpx.MockTransport(self.answer)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """One call."""
        parts = request.url.path.split("/")
        call = "pieces" if "pieces" in parts else parts[-1]
        if self.faults and call in self.fault_paths:
            fault = self.faults.popleft()
            if isinstance(fault, Exception):
                raise fault
            return fault
        if request.headers["authorization"] != f"Bearer {self.key}":
            return problem(401, "unknown key")
        body = await request.aread()
        if call == "jobs":
            return await self._claim(ClaimRequest.model_validate_json(body))
        return self._about_attempt(call, UUID(parts[5]), parts, body)

    async def _claim(self, request: ClaimRequest) -> httpx.Response:
        self.claims.append(request)
        with anyio.move_on_after(request.poll_timeout * 0.6):
            while request.state.blocked or not self.queue:
                self.arrived = anyio.Event()
                await self.arrived.wait()
        if request.state.blocked or not self.queue:
            return httpx.Response(204)
        return httpx.Response(200, content=self.queue.popleft().model_dump_json())

    def _about_attempt(self, call: str, job: UUID, parts: list[str], body: bytes) -> httpx.Response:
        if call == "pieces":
            self.pieces[parts[7], int(parts[9])] = body
            return httpx.Response(204)
        if call == "heartbeat":
            beat = Heartbeat.model_validate_json(body)
            self.beats.append(beat)
            self.beaten.set()
            return self._fenced(job, beat.attempt) or self._beaten(job)
        envelope = ReportEnvelope.model_validate_json(body)
        return self._fenced(job, envelope.attempt) or self._reported(envelope)

    def _fenced(self, job: UUID, attempt: int) -> httpx.Response | None:
        if job in self.stale:
            return problem(409, "no longer yours", stale=self.stale[job])
        if self.attempts.get(job, attempt) != attempt:
            return problem(409, "another attempt holds it", stale=Stale.SUPERSEDED)
        return None

    def _beaten(self, job: UUID) -> httpx.Response:
        return httpx.Response(200, content=HeartbeatReply(lease_s=0.06, cancel=job in self.cancels).model_dump_json())

    def _reported(self, envelope: ReportEnvelope) -> httpx.Response:
        self.reports.append(envelope.report or self._joined(envelope))
        self.reported.set()
        state = JobState.COMPLETED if self.reports[-1].outcome is Outcome.COMPLETED else JobState.FAILED
        return httpx.Response(200, content=ReportReceipt(state=state).model_dump_json())

    def _joined(self, envelope: ReportEnvelope) -> RunReport:
        assert envelope.pieces is not None
        whole = b"".join(self.pieces[str(envelope.attempt), index] for index in range(envelope.pieces))
        assert hashlib.sha256(whole).hexdigest() == envelope.sha256
        return RunReport.model_validate_json(whole)


def problem(
    status: int, message: str, *, stale: Stale | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    """The server's own error body."""
    body = Problem(request_id=uuid4(), message=message, stale=stale).model_dump_json()
    return httpx.Response(status, content=body, headers=headers)


def with_bytes_max(job: ClaimedJob, *, piece: int, report: int = 256 << 20) -> ClaimedJob:
    """The same job with other bounds on what may be sent back."""
    limits = job.limits.model_copy(update={"piece_bytes_max": piece, "report_bytes_max": report})
    return job.model_copy(update={"limits": limits})


__all__ = ["FACTS", "FakeEngine", "FakeServer", "make_job", "problem", "record_of", "with_bytes_max"]
