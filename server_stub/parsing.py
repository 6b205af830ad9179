"""Has completed jobs parsed, one after another: this process's own at once, others' where they were left."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn
from uuid import UUID

import structlog

from runner_protocol.results import Fault, FaultClass, Stage
from server_stub.errors import UnavailableError
from server_stub.store import jobs
from server_stub.store.database import Database
from server_stub.tracing import Traces

log = structlog.get_logger()


class Parsing:
    """Belongs to one event loop. Parses nothing itself: that is what `parse` is for."""

    def __init__(self, database: Database, parse: Callable[[UUID], Awaitable[None]], traces: Traces) -> None:
        self._database = database
        self._parse = parse
        self._traces = traces
        self._line: asyncio.Queue[UUID] = asyncio.Queue()

    def put(self, job: UUID) -> None:
        """This one has completed."""
        self._line.put_nowait(job)

    async def forever(self, look_s: float) -> NoReturn:
        """Parse each as it comes; look for one that was left behind when none has come for `look_s`."""
        while True:
            try:
                job = await asyncio.wait_for(self._line.get(), look_s)
            except TimeoutError:
                job = None
            try:
                await self._next(job)
            except UnavailableError as error:
                log.warning("parsing_postponed", reason=error.message)
            except Exception:  # The next job's results have nothing to do with it.
                log.exception("parsing_failed")

    async def _next(self, job: UUID | None) -> None:
        if job is None:
            job = await self._database.write(jobs.take_unparsed)
        if job is None:
            return
        begin_s = time.time()
        try:
            await self._parse(job)
            self._traces.span("processed", job, begin_s, time.time())
        except UnavailableError:
            raise
        except Exception as error:  # Whatever is wrong with one report must not stop the next from being parsed.
            log.exception("results_not_stored", job=str(job))
            message = f"the results could not be stored: {type(error).__name__}"
            fault = Fault(kind=FaultClass.RESULTS_UNREADABLE, stage=Stage.PROCESS, message=message)
            await self._database.write(partial(jobs.settle, uuid=job, fault=fault))
