"""Decides what the agent does next. Reads no clock, rolls no dice, does no I/O: events go in, commands come out.

The agent does one thing at a time: it delivers, claims, runs or waits. Each of these commands is answered by exactly
one event; `Interrupt` makes the answer come early. Only `KillJob` and `StartDrainClock` have no answer of their own.
Events speak of claims, deliveries and leases, never of HTTP: another transport can stand behind the same door.

    Started → Deliver … (oldest first) → Claim → RunJob → Deliver → Claim → … → Exit
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from runner_protocol.jobs import ClaimedJob
from runner_protocol.problems import Stale


# Events: what has happened.
@dataclass(frozen=True, slots=True)
class Started:
    """The agent is up, the host is put back, and so many reports lie in the spool."""

    spooled: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The server has handed us a job."""

    job: ClaimedJob


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The poll ended without a job."""

    early: bool = False
    """Long before it was due: a proxy cut it, or the server does not hold polls."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A claim or a delivery failed in a way that passes."""

    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A report has left the spool: acknowledged, overtaken, refused for good or set aside."""


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The job is over and its containers are gone."""

    spooled: bool
    """Whether it left a report; a lost lease leaves none."""
    host_at_fault: bool = False
    """It was handed back because this machine failed: claim again only after a pause."""


@dataclass(frozen=True, slots=True)
class Waited:
    """The pause is over."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What was under way was cut short, as asked."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A heartbeat brought back that the job is canceled."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The server refused a heartbeat: the attempt is no longer ours."""

    reason: Stale


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """SIGTERM, the first time or again."""


@dataclass(frozen=True, slots=True)
class DrainTimeUp:
    """The running job had its time to finish."""


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """SIGHUP."""


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """The server does not know our key."""


Event = (
    Started
    | Claimed
    | NothingToDo
    | CallFailed
    | Delivered
    | JobEnded
    | Waited
    | Interrupted
    | CancelAsked
    | LeaseLost
    | DrainAsked
    | DrainTimeUp
    | ReloadAsked
    | KeyRefused
)


# Commands: what is to be done.
class Why(Enum):
    """Why a running job is killed; it decides what its report says."""

    CANCELED = auto()
    LEASE_LOST = auto()
    STOPPED = auto()


class Ending(Enum):
    """Why the agent leaves off."""

    DRAINED = auto()
    RELOAD = auto()
    KEY_REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send the oldest report of the spool."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Ask for work and be willing to wait."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """Run it and keep its lease; its report goes to the spool."""

    job: ClaimedJob


@dataclass(frozen=True, slots=True)
class KillJob:
    """Kill the running job's container now."""

    why: Why


@dataclass(frozen=True, slots=True)
class Wait:
    """Pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Cut short the claim, delivery or pause that is under way."""


@dataclass(frozen=True, slots=True)
class StartDrainClock:
    """Give the running job its time to finish."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave off."""

    ending: Ending


Command = Deliver | Claim | RunJob | KillJob | Wait | Interrupt | StartDrainClock | Exit


# Pauses grow from the first to the second. A minute at most: a server that is back is found within it, and with full
# jitter ten thousand agents come back spread evenly over that minute.
BACK_OFF_S_FIRST = 1.0
BACK_OFF_S_MAX = 60.0


# An answer that comes at once every time must not become a flood of requests.
EARLY_POLL_S_MAX = 4.0


def back_off_s(failures: int, chance: float, s_max: float = BACK_OFF_S_MAX) -> float:
    """Exponential back-off with full jitter, in seconds, after `failures` (≥ 1) in a row; `chance` is in [0, 1)."""
    ceiling = min(s_max, BACK_OFF_S_FIRST * 2.0 ** min(failures - 1, 16))
    return ceiling * chance


class Doing(Enum):
    """The one thing that is under way."""

    NOTHING = auto()
    DELIVERING = auto()
    CLAIMING = auto()
    RUNNING = auto()
    WAITING = auto()


@dataclass
class Session:
    """One life of the agent, from its start to its exit."""

    chance: Callable[[], float]
    """A number in [0, 1) for the jitter."""
    jobs_left: int | None = None
    """Jobs after which to leave off; none: no end."""
    pause_s_max: float = BACK_OFF_S_MAX
    doing: Doing = field(default=Doing.NOTHING, init=False)
    _spooled: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _host_faults: int = field(default=0, init=False)
    """Jobs in a row that were handed back because of this machine."""
    _pause_due: bool = field(default=False, init=False)
    _drains: int = field(default=0, init=False)
    _reload: bool = field(default=False, init=False)
    _gave_up_delivering: bool = field(default=False, init=False)

    def step(self, event: Event) -> list[Command]:
        """Take one event; return what is to be done now, in this order."""
        match event:
            case Started() | Claimed() | NothingToDo() | Delivered() | CallFailed() | JobEnded() | Waited():
                return self._answered(event)
            case Interrupted():
                return self._interrupted()
            case CancelAsked():
                return self._kill(Why.CANCELED)
            case LeaseLost():
                return self._kill(Why.LEASE_LOST)
            case DrainAsked():
                return self._drain()
            case DrainTimeUp():
                return self._kill(Why.STOPPED)
            case ReloadAsked():
                self._reload = True
                return [Interrupt()] if self.doing in (Doing.CLAIMING, Doing.WAITING) else []
            case KeyRefused():
                # While draining the reports stay on disk; whoever stops us expects the exit code of a drain.
                return [Exit(Ending.DRAINED if self._drains else Ending.KEY_REFUSED)]

    def _answered(
        self, event: Started | Claimed | NothingToDo | Delivered | CallFailed | JobEnded | Waited
    ) -> list[Command]:
        """What was under way has come to its end."""
        match event:
            case Started(spooled):
                self._spooled = spooled
            case Claimed(job):
                # Also while draining: the server has given it to us, so we run it rather than let its lease run out.
                # Its clock starts now: the signal found no job to set it for.
                self._failures = 0
                clock: list[Command] = [StartDrainClock()] if self._drains else []
                return self._begin(Doing.RUNNING, RunJob(job)) + clock
            case NothingToDo(early):
                self._failures = 0
                if early:
                    return self._begin(Doing.WAITING, Wait(EARLY_POLL_S_MAX * self.chance()))
            case Delivered():
                self._spooled -= 1
                self._failures = 0
            case CallFailed(retry_after_s):
                return self._failed(retry_after_s)
            case JobEnded():
                return self._job_ended(event)
            case Waited():
                pass
        return self._onward()

    def _onward(self) -> list[Command]:
        """Choose the next thing. What is finished is delivered before anything new is asked for."""
        if self._reload and not self._drains:
            # Before the spool: what keeps reports from being delivered may be the setting that has been mended.
            return [Exit(Ending.RELOAD)]
        if self._spooled and not self._gave_up_delivering:
            return self._begin(Doing.DELIVERING, Deliver())
        if self._drains or self.jobs_left == 0:
            return [Exit(Ending.DRAINED)]
        if self._pause_due:
            # A host that fails every job must not go through the whole queue while nobody looks.
            self._pause_due = False
            return self._begin(Doing.WAITING, Wait(self._back_off_s(self._host_faults)))
        return self._begin(Doing.CLAIMING, Claim())

    def _begin(self, doing: Doing, command: Command) -> list[Command]:
        self.doing = doing
        return [command]

    def _job_ended(self, event: JobEnded) -> list[Command]:
        self._spooled += event.spooled
        if self.jobs_left is not None:
            self.jobs_left -= 1
        self._host_faults = self._host_faults + 1 if event.host_at_fault else 0
        self._pause_due = event.host_at_fault
        return self._onward()

    def _failed(self, retry_after_s: float | None) -> list[Command]:
        if self._drains:
            # The report stays on disk and goes out at the next start. Whoever stops us is waiting.
            self._gave_up_delivering = True
            return self._onward()
        self._failures += 1
        # Never earlier than the server asked for, and spread beyond it: everybody was told the same number.
        return self._begin(Doing.WAITING, Wait(self._back_off_s(self._failures) + (retry_after_s or 0.0)))

    def _back_off_s(self, failures: int) -> float:
        return back_off_s(failures, self.chance(), self.pause_s_max)

    def _interrupted(self) -> list[Command]:
        if self.doing is Doing.DELIVERING:
            self._gave_up_delivering = True
        return self._onward()

    def _kill(self, why: Why) -> list[Command]:
        """News about a job that has ended meanwhile changes nothing."""
        return [KillJob(why)] if self.doing is Doing.RUNNING else []

    def _drain(self) -> list[Command]:
        self._drains += 1
        match self.doing, self._drains:
            case ((Doing.CLAIMING | Doing.WAITING), _):
                return [Interrupt()]
            case Doing.RUNNING, 1:
                return [StartDrainClock()]
            case Doing.RUNNING, _:
                return [KillJob(Why.STOPPED)]
            case Doing.DELIVERING, count if count > 1:
                return [Interrupt()]
            case _:
                return []
