"""Who was heard of, in this process's memory until it is written down: in batches, never once a poll."""

from functools import partial

import structlog

from server_stub.errors import ConflictError, UnavailableError
from server_stub.sessions import Session
from server_stub.store.database import Database
from server_stub.store.sessions import write_sessions

log = structlog.get_logger()


class Seen:
    """Belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.unwritten: dict[int, Session] = {}
        """What runners have said of themselves since the last time."""
        self._heard: set[int] = set()

    def told(self, runner_id: int, said: Session) -> None:
        """It came, and said something new of itself."""
        self.unwritten[runner_id] = said

    def met(self, runner_id: int) -> None:
        """Another process of it came, and was written down at once: what the one before said is over."""
        self.unwritten.pop(runner_id, None)

    def heard(self, *runner_ids: int) -> None:
        """They are there, as they were."""
        self._heard.update(runner_ids)

    async def write(self) -> None:
        """Write down who was heard of since the last time."""
        told, self.unwritten = self.unwritten, {}
        heard, self._heard = self._heard, set()
        if not told and not heard:
            return
        try:
            await self._database.write(partial(write_sessions, told=list(told.items()), heard=heard))
        except (UnavailableError, ConflictError) as error:
            # Another process wrote the same runner, or the database is away: the next word is written next time.
            log.warning("seen_not_written", reason=error.message)
