"""The database, whichever it is: transactions as functions, and word between processes.

database = Database.open("sqlite:///bench.db")
project = await database.read(lambda tx: tx.one("SELECT * FROM project WHERE slug = :slug", slug="demo"))
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from server_stub.errors import BadRequestError, UnavailableError
from server_stub.store.migrate import migrate
from server_stub.store.sqlite import SqliteEngine
from server_stub.store.tx import Call, Dialect, Tx

T = TypeVar("T")
C = TypeVar("C")
Hearer = Callable[[str], None]

# Longer than either database waits for a lock or a connection of its own accord, shorter than a client waits for us.
ANSWER_S_MAX = 20.0

CHANNELS = ("job_queued", "job_changed", "runner_changed")
"""What processes tell each other.

`job_queued`: a job waits, payload its spec's id. `job_changed`: a job moved, payload its UUID. `runner_changed`: a
runner was drained, resumed, removed, or given or denied a spec, payload its id.
"""


class Database:
    """Runs transactions on the engine that a URL names."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.answer_s_max = ANSWER_S_MAX
        """A database that stands still is told as unavailable after so long."""
        self._hearers: dict[str, list[tuple[asyncio.AbstractEventLoop, Hearer]]] = defaultdict(list)
        self.statements = 0
        """Statements run so far: tests bound how many one request takes."""
        engine.on_notices = self._spread
        engine.on_statements = self._count

    @classmethod
    def open(cls, url: str, *, migrated: bool = True) -> Self:
        """Open `sqlite:///FILE` or `postgresql://…` and bring its schema up to date.

        Raises `BadRequestError` for another kind of URL, `UnavailableError` where the database does not answer.
        """
        database = cls(_engine(url))
        if migrated:
            database.wait(migrate)
        return database

    @property
    def dialect(self) -> Dialect:
        """Which of the two this is."""
        dialect: Dialect = self._engine.dialect
        return dialect

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in one transaction; it is durable when this returns. Raises what `work` raises, rolled back.

        Raises `UnavailableError` where no answer comes: what had begun may still be done then, and what had not is not.
        """
        result: T = await self._answer(self._engine.write(work))
        return result

    async def write_together(
        self, answer: Callable[[Tx, list[C]], list[T | Exception]], caller: str | None, body: C
    ) -> T:
        """`write`, for a short call: `answer` is handed all calls of its kind that wait at the same moment.

        It gives an answer for each, or the exception that is raised here. A call that is refused has changed nothing.
        No two calls of one batch have the same `caller`. Where `answer` raises, nothing of the batch stands, and each
        call is answered by itself: it must change nothing but the database. Batches may share a transaction.
        """
        result: T = await self._answer(self._engine.write_together(Call(answer, caller, body)))
        return result

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on one consistent state of the database."""
        result: T = await self._answer(self._engine.read(work))
        return result

    def wait(self, work: Callable[[Tx], T]) -> T:
        """`write`, for callers without an event loop (the command line)."""
        result: T = self._engine.write(work).result()
        return result

    def subscribe(self, channel: str, hearer: Hearer) -> None:
        """Call `hearer(payload)` on the running event loop after each commit, of any process, that notified `channel`.

        An empty payload means: something may have been missed, look for yourself.
        """
        self._hearers[channel].append((asyncio.get_running_loop(), hearer))
        if self.dialect == "postgresql" and not self._engine.listening:
            self._engine.listen(CHANNELS)

    def backup(self, target: Path) -> None:
        """Copy a live SQLite database to a file."""
        if self.dialect != "sqlite":
            raise BadRequestError("backup: only of SQLite; PostgreSQL has pg_dump")
        self._engine.backup(target)

    def close(self) -> None:
        """Finish what is queued and close."""
        self._hearers.clear()
        self._engine.close()

    async def _answer(self, future: Future[T]) -> T:
        """The answer, awaited for a bounded time. A caller that is cancelled leaves what has begun to its end."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def give_up() -> None:
            future.cancel()
            if not answer.done():
                reason = f"the database gave no answer within {self.answer_s_max:g} s"
                answer.set_exception(UnavailableError(reason))

        timer = loop.call_later(self.answer_s_max, give_up)
        future.add_done_callback(partial(_hand_over, loop=loop, answer=answer))
        try:
            return await answer
        finally:
            timer.cancel()

    def _spread(self, notices: list[tuple[str, str]]) -> None:
        for channel, payload in dict.fromkeys(notices):
            for loop, hearer in list(self._hearers.get(channel, ())):
                if not loop.is_closed():
                    loop.call_soon_threadsafe(hearer, payload)

    def _count(self, statements: int) -> None:
        self.statements += statements


def _hand_over(done: Future[T], *, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T]) -> None:
    """Carry an answer from the thread that found it to the loop where somebody waits for it, or did."""

    def settle() -> None:
        if answer.done() or done.cancelled():
            return
        error = done.exception()
        if error is None:
            answer.set_result(done.result())
        else:
            answer.set_exception(error)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


def _engine(url: str) -> Any:
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteEngine(rest.removeprefix("/"))
    if scheme in ("postgresql", "postgres"):
        from server_stub.store.postgresql import PostgresEngine

        return PostgresEngine(url)
    named = f"{scheme}://…" if separator else "the URL"  # What follows may hold a password.
    raise BadRequestError(f"database: {named} is neither sqlite:///FILE nor postgresql://…")
