"""The queue of one server process: hands jobs to agents that wait, keeps their leases, takes in their reports.

One transaction for each thing that happens, or for all of a kind that happen at once; what it decides stands in
`leases`, what it writes in `claims`, `intake` and `store`. Any number of these processes may share one database: leases
run out in whichever process is alive, and a job queued in one is handed to an agent that waits in another. Parses
nothing: that is left to `on_completed`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog

from runner_protocol.jobs import ClaimedJob, Limits
from runner_protocol.messages import ClaimRequest, Heartbeat, HeartbeatReply, ReportEnvelope, ReportReceipt
from runner_protocol.results import RunReport
from runner_protocol.states import JobState
from server_stub import claims, intake, sweeping
from server_stub.canceling import cancel
from server_stub.departure import Departure
from server_stub.errors import ConflictError, UnavailableError
from server_stub.leases import LeaseTerms
from server_stub.parsing import Parsing
from server_stub.seen import Seen
from server_stub.sessions import Rival
from server_stub.settings import Settings
from server_stub.store import job_claims, jobs
from server_stub.store.database import Database
from server_stub.store.runner_keys import authenticate
from server_stub.store.runners import CHANGED
from server_stub.store.tx import Tx
from server_stub.telemetry import Telemetry
from server_stub.tracing import Traces
from server_stub.waiters import Waiter, Waiters

CROWD_MIN = 128
"""Arrivals at the same moment: busy runners are fewer, a fleet that comes back is more."""
TURNS = 2 * CROWD_MIN
"""Of a crowd, how many arrive at the same time: one lot is written down while the next is read."""

log = structlog.get_logger()


def terms_of(settings: Settings) -> LeaseTerms:
    """What the settings promise and ask of agents."""
    return LeaseTerms(
        heartbeat_ms=round(settings.heartbeat_s * 1000),
        lease_ms=round(settings.lease_s * 1000),
        confirm_ms=round(settings.confirm_s * 1000),
        outage_grace_ms=round(settings.outage_grace_s * 1000),
        attempts_max=settings.attempts_max,
        requeue_ms_max=round(settings.requeue_s_max * 1000),
        grace_ms=round(settings.job_grace_s * 1000),
        pull_s_max=settings.pull_s_max,
        job_s_max=settings.job_s_max,
        limits=Limits(
            stream_bytes_max=settings.stream_bytes_max,
            files_bytes_max=settings.files_bytes_max,
            report_bytes_max=settings.report_bytes_max,
            piece_bytes_max=settings.piece_bytes_max,
        ),
    )


@dataclass(frozen=True, slots=True)
class Poll:
    """A runner's request for work, once it is known who asks. Small: ten thousand of them may wait."""

    asker: claims.Asker
    caller: claims.Caller
    until: float
    """By the event loop's clock."""
    claim: claims.Claim | None
    """The job that it met."""
    stirs: int | None
    """Of the waiters, before it looked for one; None where it did not look."""


class JobQueue:
    """Belongs to one event loop, between the start and the end of `running`."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        on_completed: Callable[[UUID], Awaitable[None]],
        traces: Traces | None = None,
    ) -> None:
        self.terms = terms_of(settings)
        self.waiters = Waiters()
        self.telemetry = Telemetry()
        self._traces = traces or Traces()
        self._database = database
        self._settings = settings
        self._offer = claims.Offer(self.terms, settings.tiers)
        self._alive_ms = round(settings.lost_s * 1000)
        self._seen = Seen(database)
        self.swept: sweeping.Sight | None = None
        """What the last sweep saw; None before the first, which gives every lease some time."""
        self._arriving = 0
        self.turns = asyncio.Semaphore(TURNS)
        """Held by each of a crowd while it arrives."""
        self._parsing = Parsing(database, on_completed, self._traces)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch leases, wake waiting agents and have reports parsed, for the length of a block."""
        self._database.subscribe("job_queued", self._job_queued)
        self._database.subscribe(CHANGED, self._runner_changed)
        parse_forever = self._parsing.forever(self._settings.seen_flush_s)
        tasks = [asyncio.create_task(work) for work in (self._sweep_forever(), self._flush_forever(), parse_forever)]
        try:
            yield
        finally:
            self.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._seen.write()

    def close(self) -> None:
        """Answer every poll that waits: the process is about to stop."""
        self.waiters.close()

    # What agents call.

    @property
    def crowded(self) -> bool:
        """Whether a whole fleet seems to come at once."""
        return self._arriving >= CROWD_MIN

    async def arrive(self, named: str, key: str | None, body: ClaimRequest, came: float | None = None) -> Poll:
        """A runner asks for work: see who it is, and whether a job waits for it.

        `came`: the loop's time from which its `poll_timeout` counts, where that is not now. Raises `UnauthorizedError`
        for a wrong key, `ConflictError` for a clone.
        """
        until = (asyncio.get_running_loop().time() if came is None else came) + body.poll_timeout
        caller, stirs = claims.Caller.of(named, key, body), self.waiters.stirs
        self._arriving += 1
        try:
            arrival = await self._arrive(caller, body)
        finally:
            self._arriving -= 1
        caller = replace(caller, came_ms=arrival.came_ms)
        return Poll(arrival.asker, caller, until, arrival.claim, stirs if arrival.looked else None)

    async def wait(self, poll: Poll, departure: Departure) -> ClaimedJob | None:
        """Hand it a job, waiting for one as long as it wants to; None where there is nothing to do."""
        with self.waiters.parked(poll.asker.runner_id) as waiter:
            departure.then(waiter.leave)
            if poll.claim is not None:
                return await self._deliver(poll.claim, waiter)
            return await self._wait(waiter, poll)

    async def beat(self, named: str, key: str | None, job: UUID, body: Heartbeat) -> HeartbeatReply:
        """Extend a lease. Raises `ConflictError` with the reason where it is lost."""

        sender = intake.From(named, key, job)
        runner_id, reply = await self._database.write_together(self._answer_beats, key, (sender, body))
        self._seen.heard(runner_id)
        return reply

    async def put_piece(self, named: str, key: str | None, job: UUID, attempt: int, number: int, body: bytes) -> None:
        """Keep one piece of a large report."""

        def work(tx: Tx) -> None:
            intake.put_piece(tx, authenticate(tx, named, key), job, attempt, number, body, self.terms)

        await self._database.write(work)

    async def report(
        self, named: str, key: str | None, job: UUID, envelope: ReportEnvelope, *, large: bool = True
    ) -> ReportReceipt:
        """End an attempt with its report, durably. The same report again gets the same answer again.

        One that is not `large` is compressed right here: a thread would take longer to wake.
        """
        whole = None
        if envelope.sha256 is not None:
            sha256 = envelope.sha256

            def before(tx: Tx) -> intake.Taken | bytes:
                runner = authenticate(tx, named, key)
                row = jobs.of_attempt(tx, job, envelope.attempt)
                earlier = intake.earlier_receipt(row, runner, sha256)
                return earlier or intake.pieces_of(tx, runner, job, envelope)

            found = await self._database.read(before)
            if isinstance(found, intake.Taken):
                self._have_parsed(job, found)
                return found.receipt
            whole = found
        if large:
            parcel = await asyncio.to_thread(intake.parcel_of, job, envelope, whole)
        else:
            parcel = intake.parcel_of(job, envelope, whole)

        sender = intake.From(named, key, job)
        taken = await self._database.write_together(self._answer_reports, key, (sender, parcel))
        if not taken.repeated:
            self._note(taken, parcel.report)
        self._have_parsed(job, taken)
        log.info("job_reported", job=str(job), attempt=envelope.attempt, state=taken.receipt.state)
        return taken.receipt

    def _have_parsed(self, job: UUID, taken: intake.Taken) -> None:
        """Also for a repeated report: its first answer may have been lost with the process that was to parse it."""
        if taken.receipt.state is JobState.COMPLETED:
            self._parsing.put(job)

    def _note(self, taken: intake.Taken, report: RunReport) -> None:
        fault = report.fault.kind if report.fault else "none"
        self.telemetry.attempts.labels(taken.receipt.state, fault).inc()
        if taken.ran_s is not None:
            self.telemetry.run.observe(taken.ran_s)

    # What submitters and operators call.

    async def cancel(self, job: UUID, project_id: int) -> None:
        """End a pending job at once; have the holder of a leased one told. A canceled job stays so.

        Raises `NotFoundError`, and `ConflictError` for a job that has ended another way.
        """
        await self._database.write(partial(cancel, uuid=job, project_id=project_id))

    # How a poll waits.

    async def _arrive(self, caller: claims.Caller, body: ClaimRequest) -> claims.Arrival:
        """Note who asks, and take a job for it where one waits: one transaction for most claims of a busy server."""
        together, call = self._database.write_together, (caller, body)
        try:
            arrival: claims.Arrival = await together(self._answer_arrivals, caller.key, call)
        except ConflictError:  # Two polls of one runner raced; the other one holds the lease.
            arrival = await together(self._answer_arrivals_with_nothing, caller.key, call)
        asker = arrival.asker
        if isinstance(arrival.met, Rival):
            self.telemetry.clones.inc()
            log.warning("clone_refused", runner=asker.slug, hostname=arrival.met.hostname)
            raise ConflictError(arrival.met.message, error_code="cloned_key")
        if arrival.gave_back:
            self.telemetry.ended(arrival.gave_back)
        if arrival.fresh:
            self._seen.met(asker.runner_id)
        elif arrival.changed:
            self._seen.told(asker.runner_id, arrival.met)
        else:
            self._seen.heard(asker.runner_id)
        return arrival

    async def _wait(self, waiter: Waiter, poll: Poll) -> ClaimedJob | None:
        """Look, sleep until woken, look again. The waiter is armed before each look, so that no job slips between.

        Where nothing has stirred since it looked on arrival, there is nothing to look for at first.
        """
        asker, caller = poll.asker, poll.caller
        woken_for: int | None = None
        news = poll.stirs != self.waiters.stirs
        while not waiter.left:
            self.waiters.arm(waiter, asker.takes(blocked=caller.blocked))
            if woken_for is not None or (news and await self._worth_a_look(asker, waiter)):
                claim = await self._look(caller)
                if claim is not None:
                    return await self._deliver(claim, waiter)
                # Someone else was faster, or this runner may not take it: then the next one in line may.
                asker = await self._database.read(partial(claims.ask, caller=caller))
                busy = asker.held_id is not None  # A newer poll of this runner was handed a job.
                takes = frozenset[int]() if busy else asker.takes(blocked=caller.blocked)
                if woken_for is not None and woken_for not in takes:
                    self.waiters.pass_on(waiter, woken_for)
                if busy:
                    return None
                woken_for = None
                if takes != waiter.spec_ids:
                    continue
            if not await waiter.wait(poll.until):
                return None
            woken_for, news = waiter.woken_by, True
            if woken_for is None:
                asker = await self._database.read(partial(claims.ask, caller=caller))
        return None

    async def _worth_a_look(self, asker: claims.Asker, waiter: Waiter) -> bool:
        """Whether a look would change anything: an idle poll costs no write."""
        if asker.held_id is not None:
            return True
        due = partial(job_claims.due, spec_ids=waiter.spec_ids, at_most=1)
        return bool(waiter.spec_ids) and (await self._database.read(due)).total() > 0

    async def _look(self, caller: claims.Caller) -> claims.Claim | None:
        try:
            return await self._database.write_together(self._answer_looks, caller.key, caller)
        except ConflictError:
            return None  # Two polls of one runner raced; the other one holds the lease.

    # What the database is asked for many calls at once.

    def _answer_arrivals(
        self, tx: Tx, calls: list[tuple[claims.Caller, ClaimRequest]]
    ) -> list[claims.Arrival | Exception]:
        offer = None if self.waiters.closing else self._offer
        return claims.arrive(tx, calls, told=self._seen.unwritten, alive_ms=self._alive_ms, offer=offer)

    def _answer_arrivals_with_nothing(
        self, tx: Tx, calls: list[tuple[claims.Caller, ClaimRequest]]
    ) -> list[claims.Arrival | Exception]:
        return claims.arrive(tx, calls, told=self._seen.unwritten, alive_ms=self._alive_ms, offer=None)

    def _answer_looks(self, tx: Tx, callers: list[claims.Caller]) -> list[claims.Claim | Exception | None]:
        return claims.look(tx, callers, self._offer)

    def _answer_beats(
        self, tx: Tx, calls: list[tuple[intake.From, Heartbeat]]
    ) -> list[tuple[int, HeartbeatReply] | Exception]:
        return intake.beat(tx, calls, self.terms)

    def _answer_reports(self, tx: Tx, calls: list[tuple[intake.From, intake.Parcel]]) -> list[intake.Taken | Exception]:
        return intake.take_reports(tx, calls, self.terms)

    async def _deliver(self, claim: claims.Claim, waiter: Waiter) -> ClaimedJob | None:
        if waiter.left:
            await self._database.write(partial(claims.put_back, claim=claim))
            return None
        self.waiters.handed(waiter.runner_id)
        self.telemetry.claims.labels(claim.message.spec.slug).inc()
        self.telemetry.wait.labels(claim.message.spec.slug).observe(claim.waited_s)
        log.info("job_claimed", job=str(claim.message.job), attempt=claim.message.attempt)
        return self._traced(claim)

    def _traced(self, claim: claims.Claim) -> ClaimedJob:
        """The message, with the job's place in its trace where there is one."""
        job, now_s = claim.message.job, time.time()
        self._traces.span("queued", job, now_s - claim.waited_s, now_s, attempt=claim.message.attempt)
        return claim.message.model_copy(update={"traceparent": self._traces.traceparent(job)})

    def _job_queued(self, spec_id: str) -> None:
        if spec_id:
            self.waiters.wake_one(int(spec_id))
        else:
            self.waiters.wake_all()

    def _runner_changed(self, runner_id: str) -> None:
        if runner_id:
            self.waiters.wake_runner(int(runner_id))
        else:
            self.waiters.wake_all()

    # What goes on beside.

    async def _sweep_forever(self) -> None:
        silence_ms = max(self.terms.heartbeat_ms, round(2000 * self._settings.sweep_s))
        while True:
            try:
                self.swept = await sweeping.sweep(
                    self._database,
                    self.terms,
                    self.waiters.specs_wanted(),
                    self.telemetry,
                    last=self.swept,
                    silence_ms=silence_ms,
                )
                for spec_id in self.swept.due.elements():
                    self.waiters.wake_one(spec_id)
            except UnavailableError as error:
                log.warning("sweep_postponed", reason=error.message)
            except Exception:  # Leases must run out whatever is wrong with one job.
                log.exception("sweep_failed")
            await asyncio.sleep(self._settings.sweep_s)

    async def _flush_forever(self) -> None:
        """A poll that waits is a word that goes on, and is written down often enough for nobody to be called lost."""
        clock = asyncio.get_running_loop().time
        parked_at = clock()
        while True:
            await asyncio.sleep(self._settings.seen_flush_s)
            if clock() - parked_at >= self._settings.lost_s / 3:
                parked_at = clock()
                self._seen.heard(*self.waiters.runner_ids())
            await self._seen.write()
