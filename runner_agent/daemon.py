"""The story of the agent: carries out what the session commands, one thing at a time, and tells it what came of it.

Catches the error families that concern the server; those of a job are turned into its report by `execute.py`. Decides
nothing: which thing follows which is in `session.py`.
"""

import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio.abc import TaskGroup

from runner_agent.bench import Host
from runner_agent.client import Client, delivery_s_max, poll_s_max
from runner_agent.current_job import CurrentJob, handed_back
from runner_agent.engine import Engine, EngineFacts
from runner_agent.errors import HostFault, IdentityFault, LeaseLostError, RefusedError, ServerFault
from runner_agent.execute import WIND_UP_S_MAX, KillSwitch, Rig, run_job
from runner_agent.figures import Figures
from runner_agent.gate import look
from runner_agent.lease_thread import LeaseKeeper
from runner_agent.ledger import Ledger
from runner_agent.listener import answer_prometheus
from runner_agent.memory import give_back
from runner_agent.notify import Notifier, Watchdog
from runner_agent.plan import Policy
from runner_agent.points import at
from runner_agent.preflight import Floors, blocked
from runner_agent.session import (
    CallFailed,
    Claim,
    Claimed,
    Command,
    Deliver,
    Delivered,
    DrainAsked,
    DrainTimeUp,
    Ending,
    Event,
    Exit,
    Interrupt,
    Interrupted,
    JobEnded,
    KeyRefused,
    KillJob,
    NothingToDo,
    ReloadAsked,
    RunJob,
    Session,
    StartDrainClock,
    Started,
    Wait,
    Waited,
    Why,
)
from runner_agent.signals import Signals
from runner_agent.spool import Spool, SpooledReport
from runner_agent.tracing import Traces
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import ClaimRequest, HostState
from runner_protocol.results import INFRASTRUCTURE, Outcome, RunReport

# While the host is not fit for work it looks again this often, instead of once a poll.
BLOCKED_POLL_S = 10

SPOOL_AGAIN_S = 5.0

# An engine that answers removes a container in a second; one that does not must not hold up whoever stops us.
LAST_SWEEP_S_MAX = 10.0

# What no limit of a poll, a job, a delivery or a pause counts: an engine that answers slowly call after call, a disk
# that takes its time, the statistics of a large report. Beyond it the agent gets nowhere, and systemd ends it.
SLACK_S_MAX = 600.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Habits:
    """How this agent behaves: the owner's settings that concern the daemon alone."""

    poll_timeout_s: int
    pause_s_max: float
    drain_s_max: float
    floors: Floors
    policy: Policy
    sandboxes: frozenset[str] = frozenset()
    jobs_max: int | None = None
    metrics_listen: str | None = None


@dataclass(frozen=True, slots=True)
class Hands:
    """The doors to everything outside."""

    client: Client
    leases: LeaseKeeper
    engine: Engine
    host: Callable[[EngineFacts], Host]
    """The quiet host, once the engine has said what it is."""
    spool: Spool
    current_job: CurrentJob
    state_dir: Path
    notifier: Notifier
    figures: Figures = field(default_factory=Figures)
    traces: Traces = field(default_factory=Traces)


class Daemon:
    """One life of the agent."""

    def __init__(self, hands: Hands, habits: Habits) -> None:
        self._hands = hands
        self._habits = habits
        self._session = Session(random.random, habits.jobs_max, habits.pause_s_max)
        self._send, self._events = anyio.create_memory_object_stream[Event](
            math.inf
        )  # One activity answers once: few wait.
        self._under_way = anyio.CancelScope()
        self._switch = KillSwitch()
        self._watchdog = Watchdog(hands.notifier)
        self._engine_facts: EngineFacts | None = None
        self._swept = False
        """Whether no container of ours can be left: not so at the start, nor after a job, however it ended."""

    async def run(self, signals: Signals | None = None) -> Ending:
        """Live until drained. `signals` drain and reload; without them use `tell`."""
        signals = signals or Signals()
        with self._send, self._events:
            with signals.told_to(self.tell):
                ending = await self._live()
            for event in self._unheard():
                signals.hear(event)
        return ending

    def _unheard(self) -> Iterator[DrainAsked | ReloadAsked]:
        """Signals that came when the session had ended already."""
        with suppress(anyio.WouldBlock):
            while True:
                event = self._events.receive_nowait()
                if isinstance(event, DrainAsked | ReloadAsked):
                    yield event

    async def _live(self) -> Ending:
        async with anyio.create_task_group() as tasks:
            self._allow("start")
            tasks.start_soon(self._watchdog.feed)
            if self._habits.metrics_listen:
                tasks.start_soon(answer_prometheus, self._habits.metrics_listen, self._hands.figures.page)
            await anyio.to_thread.run_sync(self._settle_predecessor)
            self.tell(Started(self._hands.spool.count()))
            self._hands.notifier.ready("idle")
            ending = await self._converse(tasks)
            self._allow("end")
            with anyio.move_on_after(LAST_SWEEP_S_MAX):
                await self._sweep(self._engine_facts)
            self._say_goodbye(ending)
            tasks.cancel_scope.cancel()
        log.info("agent_leaves_off", ending=ending.name.lower())
        return ending

    def _say_goodbye(self, ending: Ending) -> None:
        # systemd takes STOPPING=1 as the end of the process and kills what goes on: a reload must not say it.
        if ending is Ending.RELOAD:
            self._hands.notifier.reloading()
        else:
            self._hands.notifier.stopping(ending.name.lower())

    @property
    def jobs_left(self) -> int | None:
        """Jobs after which to leave off; none: no end."""
        return self._session.jobs_left

    def tell(self, event: Event) -> None:
        """Give the session an event. From the daemon's own loop only."""
        self._send.send_nowait(event)

    async def _converse(self, tasks: TaskGroup) -> Ending:
        async for event in self._events:
            for command in self._session.step(event):
                if isinstance(command, Exit):
                    return command.ending
                self._carry_out(command, tasks)
        raise AssertionError("the stream of events is never closed")

    def _carry_out(self, command: Command, tasks: TaskGroup) -> None:
        match command:
            case Deliver():
                self._start(tasks, self._deliver)
            case Claim():
                self._start(tasks, self._claim)
            case RunJob(job):
                self._switch = KillSwitch()
                self._start(tasks, partial(self._run_job, job, self._switch))
            case Wait(seconds):
                self._start(tasks, partial(self._wait, seconds))
            case Interrupt():
                self._under_way.cancel()
            case KillJob(why):
                log.warning("job_killed", why=why.name.lower())
                self._switch.pull(why)
            case StartDrainClock():
                log.info("draining", within_s=self._habits.drain_s_max)
                tasks.start_soon(self._drain_clock)

    def _start(self, tasks: TaskGroup, thing: Callable[[], Awaitable[Event]]) -> None:
        """Begin the one thing that is under way; it answers with exactly one event."""
        self._under_way = anyio.CancelScope()
        tasks.start_soon(self._see_through, thing, self._under_way)

    async def _see_through(self, thing: Callable[[], Awaitable[Event]], scope: anyio.CancelScope) -> None:
        event: Event = Interrupted()
        with scope:
            event = await thing()
        self.tell(event)

    def _allow(self, what: str, seconds: float = 0) -> None:
        """Tell the watchdog what gets on now, and how long it may take by its own limits."""
        self._watchdog.allow(what, seconds + SLACK_S_MAX)

    async def _claim(self) -> Event:
        """Ask for work, saying how the host is."""
        self._allow("look")
        await anyio.to_thread.run_sync(give_back)
        request = await self._look()
        at("claim.before")
        self._allow("poll", poll_s_max(request.poll_timeout))
        asked_at_s = anyio.current_time()
        try:
            job = await self._hands.client.claim(request)
        except (ServerFault, RefusedError, LeaseLostError) as error:
            return _failed_call("claim_failed", error)
        except IdentityFault as error:
            log.error("key_refused", why=str(error))  # noqa: TRY400  A refused key needs no traceback.
            return KeyRefused()
        at("claim.after")
        if job is not None:
            return Claimed(job)
        waited_s = anyio.current_time() - asked_at_s
        early = waited_s < request.poll_timeout / 2
        if early:
            log.warning("poll_cut_short", after_s=round(waited_s, 1), asked_s=request.poll_timeout)
        return NothingToDo(early)

    async def _look(self) -> ClaimRequest:
        """See whether the host is fit; one that is not asks for no work but says why."""
        hands, poll_timeout_s = self._hands, self._habits.poll_timeout_s
        found = await look(hands.engine, hands.state_dir, hands.spool, hands.client)
        self._engine_facts = found.engine
        reasons = blocked(found.facts, self._habits.floors) + await self._sweep(found.engine)
        hands.figures.looked(found.facts, hands.spool.count())
        self._show(", ".join(reasons) or "idle", "blocked" if reasons else "idle")
        if reasons:
            log.warning("host_not_fit", reasons=reasons)
        state = HostState(
            host=hands.host(found.engine).record() if found.engine else None,
            blocked=reasons,
            spooled=hands.spool.count(),
            sandboxes=sorted(self._habits.sandboxes),
        )
        return ClaimRequest(
            poll_timeout=min(BLOCKED_POLL_S, poll_timeout_s) if reasons else poll_timeout_s, state=state
        )

    async def _sweep(self, engine: EngineFacts | None) -> list[str]:
        """Remove what a killed predecessor or a faulty engine has left, before anything new is measured or we leave."""
        if self._swept or engine is None:
            return []
        try:
            removed = await self._hands.engine.sweep()
        except HostFault as fault:
            return [f"engine: {fault}"]
        self._swept = True
        if removed:
            log.warning("left_containers_removed", count=removed)
        return []

    async def _run_job(self, job: ClaimedJob, switch: KillSwitch) -> Event:
        """Keep the promise, run the job under its lease, and put its report on disk."""
        with structlog.contextvars.bound_contextvars(job=str(job.job), attempt=job.attempt):
            self._allow("job", job.budgets.job_s_max + WIND_UP_S_MAX)
            log.info("job_claimed", project=job.project, image=job.work.image, iterations=job.work.iterations)
            ledger = Ledger(job, anyio.current_time)
            self._show(f"running {job.job}", "running")
            async with self._hands.leases.keeping(job, ledger.progress, self.tell):
                # The first heartbeat is on its way while the promise goes to disk.
                await self._keep_promise(partial(self._hands.current_job.remember, job))
                at("promise.after")
                self._swept = False
                rig = Rig(self._hands.engine, self._hands.host, self._habits.policy, self._engine_facts)
                report = await run_job(job, rig, ledger, switch)
                at("release.after")
                return await self._close(job, report, switch)

    async def _close(self, job: ClaimedJob, report: RunReport | None, switch: KillSwitch) -> Event:
        """First the report is on disk, then the promise is fulfilled: a crash in between settles it once, not never."""
        at("spool.before")
        if report is not None and not await self._spool(job, report, switch):
            return JobEnded(spooled=False)  # The promise stays: the next agent hands the job back.
        at("spool.after")
        await self._keep_promise(self._hands.current_job.forget)
        at("forget.after")
        if report is None:
            log.warning("job_forgotten")
            return JobEnded(spooled=False)
        took_s = {stage.value: round(seconds, 3) for stage, seconds in report.stage_s.items()}
        self._hands.figures.ended(report)
        self._hands.traces.ended(job, report)
        log.info("job_ended", outcome=report.outcome, fault=report.fault and report.fault.kind, took_s=took_s)
        return JobEnded(spooled=True, host_at_fault=_host_at_fault(report))

    async def _spool(self, job: ClaimedJob, report: RunReport, switch: KillSwitch) -> bool:
        """Until the disk takes it, with the lease kept alive; given up when nobody wants it or we are told to stop."""
        put = partial(self._hands.spool.put, report, piece_bytes_max=job.limits.piece_bytes_max)
        while True:
            self._allow("spool")
            try:
                await anyio.to_thread.run_sync(put)
            except OSError as error:
                log.error("spool_refused_by_disk", why=str(error))  # noqa: TRY400  The disk's word says it all.
                await anyio.sleep(SPOOL_AGAIN_S)
            else:
                return True
            if switch.why in (Why.LEASE_LOST, Why.STOPPED):
                return False

    async def _keep_promise(self, write: Callable[[], None]) -> None:
        """Best effort: what is not on disk is settled by the server, when the lease runs out or with a 409."""
        try:
            await anyio.to_thread.run_sync(write)
        except OSError as error:
            log.warning("promise_not_on_disk", why=str(error))

    async def _deliver(self) -> Event:
        self._allow("delivery")
        report = await anyio.to_thread.run_sync(self._hands.spool.oldest)
        if report is None:  # What was there is damaged and set aside: count it as gone.
            log.error("spool_holds_nothing_whole")
            return Delivered()
        with structlog.contextvars.bound_contextvars(job=str(report.job), attempt=report.attempt):
            return await self._deliver_one(report)

    async def _deliver_one(self, report: SpooledReport) -> Event:
        at("deliver.before")
        self._allow("delivery", delivery_s_max(report))
        try:
            receipt = await self._hands.client.deliver(report)
        except LeaseLostError as stale:
            log.warning("report_overtaken", reason=stale.reason)
        except RefusedError as error:
            log.error("report_refused", why=str(error), kept_as=f"{report.path}.refused")  # noqa: TRY400  No traceback.
            await anyio.to_thread.run_sync(self._hands.spool.refuse, report)
            return Delivered()
        except ServerFault as error:
            return _failed_call("delivery_failed", error)
        except IdentityFault as error:
            log.error("key_refused", why=str(error))  # noqa: TRY400  A refused key needs no traceback.
            return KeyRefused()
        else:
            log.info("report_delivered", state=receipt.state, size_bytes=report.size_bytes)
        at("deliver.after")
        await anyio.to_thread.run_sync(self._hands.spool.drop, report)
        at("drop.after")
        await anyio.to_thread.run_sync(self._hands.traces.send)
        return Delivered()

    async def _wait(self, seconds: float) -> Event:
        self._allow("pause", seconds)
        self._hands.figures.spooled(self._hands.spool.count())
        self._show(f"waiting {seconds:.0f} s for the server", "waiting")
        await anyio.sleep(seconds)
        return Waited()

    def _settle_predecessor(self) -> None:
        """What an agent before us had promised: its report is in the spool, or we hand the job back now."""
        promise = self._hands.current_job.promised()
        if promise is None:
            return
        spool = self._hands.spool
        known = spool.has(promise.job, promise.attempt)
        log.warning("interrupted_job_found", job=str(promise.job), attempt=promise.attempt, report_spooled=known)
        if not known:
            spool.put(handed_back(promise), piece_bytes_max=promise.piece_bytes_max)
        self._hands.current_job.forget()

    async def _drain_clock(self) -> None:
        await anyio.sleep(self._habits.drain_s_max)
        self.tell(DrainTimeUp())

    def _show(self, status: str, state: str) -> None:
        self._hands.notifier.status(status)
        self._hands.figures.turned(state)


def _failed_call(event: str, error: ServerFault | RefusedError | LeaseLostError) -> CallFailed:
    """A refusal of what we always send is a server of another mind: ask again, at the pace of failures."""
    retry_after_s = error.retry_after_s if isinstance(error, ServerFault) else None
    log.warning(event, why=str(error), retry_after_s=retry_after_s)
    return CallFailed(retry_after_s)


def _host_at_fault(report: RunReport) -> bool:
    return report.outcome is Outcome.RELEASED and report.fault is not None and report.fault.kind in INFRASTRUCTURE
