"""Where heartbeats are sent from: a thread of its own, with its own event loop and its own connection.

A loop that is busy with a large report, a slow disk or a mistake of ours must not lose a lease. The thread runs no code
of the job's story; what it hears it hands over to the daemon's loop. `Beside` keeps the pulse on the daemon's own loop,
for one process that holds both sides.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio
import anyio.from_thread
import anyio.lowlevel
import structlog
from anyio.from_thread import BlockingPortal

from runner_agent.client import Client
from runner_agent.pulse import News, Pulse
from runner_agent.session import CancelAsked, LeaseLost
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import Progress

log = structlog.get_logger()


class LeaseKeeper(Protocol):
    """Keeps the lease of one job alive for the length of a block."""

    def keeping(
        self, job: ClaimedJob, progress: Callable[[], Progress], news: News
    ) -> AbstractAsyncContextManager[None]:
        """`progress` may be called from another thread; `news` is called on the loop that entered the block."""
        ...


class Beside:
    """The pulse as a task on the caller's own loop."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @asynccontextmanager
    async def keeping(self, job: ClaimedJob, progress: Callable[[], Progress], news: News) -> AsyncIterator[None]:
        """See `LeaseKeeper`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Pulse(job, self._client.beat, progress, news).keep)
            yield
            tasks.cancel_scope.cancel()


class LeaseThread:
    """The pulse on a thread that does nothing else."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    @asynccontextmanager
    async def keeping(self, job: ClaimedJob, progress: Callable[[], Progress], news: News) -> AsyncIterator[None]:
        """See `LeaseKeeper`."""
        here = anyio.lowlevel.current_token()

        def hand_over(event: CancelAsked | LeaseLost) -> None:
            anyio.from_thread.run_sync(news, event, token=here)

        beating = self._portal.start_task_soon(Pulse(job, self._client.beat, progress, hand_over).keep)
        try:
            yield
        finally:
            beating.cancel()


@asynccontextmanager
async def lease_thread(connect: Callable[[], AbstractAsyncContextManager[Client]]) -> AsyncIterator[LeaseThread]:
    """Start the thread, with a connection that is opened and closed on it."""
    # Starting and ending the thread blocks this loop for a moment; nothing runs on it yet, or any more.
    with (
        anyio.from_thread.start_blocking_portal("asyncio", name="lease") as portal,
        portal.wrap_async_context_manager(connect()) as client,
    ):
        yield LeaseThread(portal, client)
