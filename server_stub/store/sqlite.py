"""SQLite, the embedded default: WAL, synchronous=FULL, one writer thread with group commit, a few reader threads.

Several writing processes starve each other for seconds, so one thread of one process writes. Functions that queue up
while a commit is being synced share the next one: each runs in a savepoint of its own, and all are durable before any
is answered.
"""

import json
import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

from server_stub.errors import BadRequestError, ConflictError, UnavailableError
from server_stub.store.tx import NAMED, PARAMETERS_MAX, ROWS, Row, Tx, Work, is_list, rows_of, spell
from server_stub.store.waiting_line import Member, WaitingLine, answer_all, batches, settle

READERS = 4
BUSY_MS = 5_000


class SqliteTx(Tx):
    """A transaction on one connection of the embedded database."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection, now_ms: Callable[[], int]) -> None:
        super().__init__()
        self._connection = connection
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms()

    def _fetch(self, sql: str, parameters: Any) -> list[Row]:
        cursor = self._connection.execute(sql, parameters)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return list(map(dict, map(zip, repeat(names), cursor)))  # Twice as fast as a loop over a thousand rows.

    def _execute(self, sql: str, parameters: Any) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def _parts(self, sql: str, parameters: dict[str, Any]) -> list[tuple[str, Any]]:
        name, columns = rows_of(sql) or ("", ())
        rows = parameters.pop(name, None)
        bound = {name: json.dumps(list(value)) if is_list(value) else value for name, value in parameters.items()}
        if rows is None:
            return [(spell(sql, self.dialect), bound)]
        step = 1 << (PARAMETERS_MAX // len(columns)).bit_length() - 1  # A power of two, as the room for them is.
        starts = range(0, max(1, len(rows)), step)
        return [_with_rows(sql, bound, columns, rows[start : start + step]) for start in starts]

    def _placeholders(self, count: int) -> str:
        return "(" + ", ".join("?" * count) + ")"


def _with_rows(
    sql: str, parameters: dict[str, Any], columns: tuple[str, ...], rows: Sequence[Row]
) -> tuple[str, list[Any]]:
    """A statement with `{rows:…}` and what is bound to its places, one after the other.

    SQLite would take longer to read the rows out of one JSON text than for all else that such a statement does.
    """
    room = 1 << (len(rows) - 1).bit_length() if rows else 1
    text, before, behind = _laid_out(sql, columns, room)
    flat = [row[column] for row in rows for column in columns]
    nulls = [None] * (room * len(columns) - len(flat))
    return text, [*(parameters[name] for name in before), *flat, *nulls, *(parameters[name] for name in behind)]


@lru_cache(maxsize=512)
def _laid_out(sql: str, columns: tuple[str, ...], room: int) -> tuple[str, list[str], list[str]]:
    """A statement with places for so many rows, and the names of the parameters before and behind them.

    Their number is a power of two, so that SQLite has compiled most statements before. What is left over is null.
    """
    before, rows, _, behind = ROWS.split(spell(sql, "sqlite"))
    chosen = ", ".join(f"column{number} AS {column}" for number, column in enumerate(columns, 1))
    row = "(" + ", ".join("?" * len(columns)) + ")"
    values = f"(SELECT {chosen} FROM (VALUES {', '.join([row] * room)}) WHERE column1 IS NOT NULL) AS {rows}"
    text = NAMED.sub("?", before) + values + NAMED.sub("?", behind)
    return text, NAMED.findall(before), NAMED.findall(behind)


class _Doubles:
    """`doubles(x, …)`: an aggregate that hands the numbers of all rows over as they lie in memory."""

    def __init__(self) -> None:
        self._numbers = array("d")

    def step(self, *numbers: float) -> None:
        """Take one row."""
        self._numbers.extend(numbers)

    def finalize(self) -> bytes:
        """All of them."""
        return self._numbers.tobytes()


class SqliteEngine:
    """One database file."""

    dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self._path = path
        if path != ":memory:":
            _make_directory(path)
        self._anchor_ms = time.time() * 1000 - time.monotonic() * 1000
        self._line = WaitingLine()
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._reader_connections: list[sqlite3.Connection] = []
        self.on_notices: Callable[[list[tuple[str, str]]], None] = lambda _notices: None
        self.on_statements: Callable[[int], None] = lambda _count: None
        connection = self._connect()  # A file that cannot be opened is told here, not in a thread.
        self._writer = threading.Thread(
            target=self._write_forever, args=(connection,), name="sqlite-writer", daemon=True
        )
        self._writer.start()

    def write(self, work: Work) -> Future[Any]:
        """Queue a writing transaction."""
        return self._line.add(work)

    write_together = write
    """There is one writer: all that wait share its commits."""

    def read(self, work: Work) -> Future[Any]:
        """Queue a reading transaction."""
        return self._readers.submit(self._read, work)

    def close(self) -> None:
        """Finish what is queued, then let go of the file."""
        self._line.close()
        self._writer.join()
        self._readers.shutdown()
        for connection in self._reader_connections:
            connection.close()

    def backup(self, target: Path) -> None:
        """Copy the live database into `target`, consistently."""
        with self._connect() as source, sqlite3.connect(target) as copy:
            source.backup(copy)
        source.close()
        copy.close()

    def _now_ms(self) -> int:
        return int(self._anchor_ms + time.monotonic() * 1000)

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL, not NORMAL: an answered request survives a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -65536")
            connection.create_aggregate("doubles", -1, _Doubles)  # type: ignore[arg-type]  # It may give bytes.
        except sqlite3.DatabaseError as error:  # A file that is no database is none of its operational errors.
            if connection is not None:
                connection.close()
            raise UnavailableError(f"the database {self._path} cannot be opened: {error}") from error
        return connection

    def _read(self, work: Work) -> Any:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            self._reader_connections.append(connection)
        tx = SqliteTx(connection, self._now_ms)
        try:
            connection.execute("BEGIN")
            try:
                return work(tx)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise told(error) from error
        finally:
            self.on_statements(tx.statements)

    def _write_forever(self, connection: sqlite3.Connection) -> None:
        try:
            while group := self._line.next_group():
                self._commit_group(connection, group)
        finally:
            connection.close()

    def _commit_group(self, connection: sqlite3.Connection, group: list[Member]) -> None:
        """Run every function of a group in one transaction."""
        done: list[tuple[Future[Any], Any]] = []
        notices: list[tuple[str, str]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for batch in batches(group):
                outcomes = self._outcomes(connection, batch, notices)
                done += [(future, outcome) for (_, future), outcome in zip(batch, outcomes, strict=True)]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            done = [(future, told(error)) for _, future in group]
            notices = []
        self.on_notices(notices)
        for future, outcome in done:
            settle(future, outcome)

    def _outcomes(
        self, connection: sqlite3.Connection, batch: list[Member], notices: list[tuple[str, str]]
    ) -> list[Any]:
        """What each of a batch is answered or raises; where answering them together fails, each by itself."""
        if len(batch) > 1:
            answers = self._outcome(connection, partial(answer_all, batch=batch), notices)
            if isinstance(answers, list):
                return answers
        return [self._outcome(connection, work, notices) for work, _ in batch]

    def _outcome(self, connection: sqlite3.Connection, work: Work, notices: list[tuple[str, str]]) -> Any:
        """What a function gives, or the exception that it raises: then all that it did is undone."""
        tx = SqliteTx(connection, self._now_ms)
        connection.execute("SAVEPOINT member")
        try:
            result = work(tx)
        except BaseException as error:  # Whatever a member raises is its caller's, not the group's.
            if not connection.in_transaction:  # A full disk rolls the whole transaction back by itself.
                raise sqlite3.OperationalError(str(error)) from error
            connection.execute("ROLLBACK TO member")
            connection.execute("RELEASE member")
            return told(error)
        finally:
            self.on_statements(tx.statements)
        connection.execute("RELEASE member")
        notices.extend(tx.notices)
        return result


def _make_directory(path: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"the database {path} cannot be opened: {error.strerror}") from error


def told(error: BaseException) -> BaseException:
    """Turn a driver's error into one of ours; leave every other as it is."""
    if isinstance(error, OverflowError):
        return BadRequestError(f"a value cannot be stored: {error}")
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(f"the database refused it: {error}")
    if isinstance(error, sqlite3.OperationalError):
        return UnavailableError(f"the database cannot answer just now: {error}")
    return error
