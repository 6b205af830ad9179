"""Has completed jobs parsed, one after another: this process's own at once, others' where they were left."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn
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
        """Parse each as it comes; every `look_s` look for those that were left behind, in turn with those that come."""
        clock = asyncio.get_running_loop().time
        look_at = clock() + look_s
        while True:
            if (job := await self._next(look_at - clock())) is not None:
                await self._careful(self._parse_one(job))
            if clock() >= look_at:
                look_at = clock() + look_s
                if await self._careful(self._left_behind()):
                    look_at = clock()

    async def _next(self, wait_s: float) -> UUID | None:
        """The next one of this process's own; None where none comes for so long."""
        if not self._line.empty():
            return self._line.get_nowait()
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._line.get(), wait_s)
        return None

    async def _careful(self, work: Coroutine[Any, Any, bool]) -> bool:
        """What it gives; False where it fails, for the next job's results have nothing to do with it."""
        try:
            return await work
        except UnavailableError as error:
            log.warning("parsing_postponed", reason=error.message)
        except Exception:
            log.exception("parsing_failed")
        return False

    async def _left_behind(self) -> bool:
        """Parse one that nobody parses; False where there is none."""
        job = await self._database.write(jobs.take_unparsed)
        return job is not None and await self._parse_one(job)

    async def _parse_one(self, job: UUID) -> bool:
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
        return True
