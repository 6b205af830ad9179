"""Keeps the lease of one attempt alive: a heartbeat at once, then at the pace that the server asked for.

Runs wherever it is put: on its own thread with its own event loop in the daemon (a starved loop loses jobs), beside the
job in tests. It never decides about the job; it tells what the server said, once, and goes on beating after a cancel,
because killing and collecting takes time too.
"""

import random
from collections.abc import Awaitable, Callable

import anyio
import structlog

from runner_agent.errors import AgentError, IdentityFault, LeaseLostError
from runner_agent.leases import Lease
from runner_agent.session import CancelAsked, LeaseLost
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import Heartbeat, HeartbeatReply, Progress
from runner_protocol.problems import Stale

# A key that is refused for so long, in answer after answer, is gone, and with it the lease. At the pace of failed beats
# these are some ten refusals: a server's passing mistake or a key that is being exchanged must not cost a day-long run.
REFUSED_S_MAX = 15.0

Beat = Callable[[ClaimedJob, Heartbeat], Awaitable[HeartbeatReply]]
News = Callable[[CancelAsked | LeaseLost], None]

log = structlog.get_logger()


class Pulse:
    """The heartbeats of one attempt, until its scope is cancelled or the lease is lost."""

    def __init__(self, job: ClaimedJob, beat: Beat, progress: Callable[[], Progress], news: News) -> None:
        self._job = job
        self._beat = beat
        self._progress = progress
        self._news = news
        self._cancel_told = False
        self._overdue_told = False
        self._silence_told = False
        self._refused_since_s: float | None = None
        """When the key was refused first, of refusals with no other answer in between."""

    async def keep(self) -> None:
        """Beat until cancelled or refused. Raises nothing: a server that cannot be reached is asked again."""
        lease: Lease | None = Lease.of(self._job, anyio.current_time())
        while lease is not None:
            sent_at_s = anyio.current_time()
            before, lease = lease, await self._renew(lease, sent_at_s)
            if lease is not None:
                pause_s = lease.pause_s(
                    sent_at_s,
                    anyio.current_time(),
                    answered=lease is not before,
                    chance=random.random(),  # noqa: S311  Jitter, not a secret.
                )
                await anyio.sleep(pause_s)

    async def _renew(self, lease: Lease, sent_at_s: float) -> Lease | None:
        """Send one beat. The same lease back means no answer; none means that it is lost."""
        body = Heartbeat(attempt=self._job.attempt, progress=self._progress())
        try:
            with anyio.fail_after(max(1.0, lease.heartbeat_s)):
                reply = await self._beat(self._job, body)
        except LeaseLostError as lost:
            self._news(LeaseLost(lost.reason))
            return None
        except IdentityFault as error:
            return self._refused(lease, str(error))
        except (AgentError, TimeoutError) as error:
            self._refused_since_s = None
            self._unanswered(lease, str(error) or "no answer in time")
            return lease
        self._heard(reply)
        return lease.renewed(sent_at_s, reply.lease_s)

    def _refused(self, lease: Lease, why: str) -> Lease | None:
        """The client has looked for a new key already. A key that stays refused ends the job: its runner is removed."""
        now_s = anyio.current_time()
        if self._refused_since_s is None:
            self._refused_since_s = now_s
        if now_s - self._refused_since_s < min(REFUSED_S_MAX, lease.heartbeat_s):
            self._unanswered(lease, why)
            return lease
        log.error("key_refused_under_job", why=why)
        self._news(LeaseLost(Stale.UNKNOWN))
        return None

    def _unanswered(self, lease: Lease, why: str) -> None:
        """Once for a streak, and once more when the lease has run out: a day without a server is two lines."""
        if lease.overdue(anyio.current_time()) and not self._overdue_told:
            self._overdue_told = True
            log.warning("lease_overdue", why=why, note="the job goes on; the server judges its report")
        elif not self._silence_told:
            self._silence_told = True
            log.warning("heartbeat_unanswered", why=why)

    def _heard(self, reply: HeartbeatReply) -> None:
        if self._silence_told:
            log.info("heartbeat_answered_again")
        self._overdue_told = self._silence_told = False
        self._refused_since_s = None
        if reply.cancel and not self._cancel_told:
            self._cancel_told = True
            self._news(CancelAsked())
