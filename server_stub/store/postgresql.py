"""PostgreSQL, for several server processes on one database: a pool of connections, and one that listens.

Short calls that wait at the same moment share one transaction, and those of one kind its statements. Where one of them
spoils it, it is rolled back and each of them gets one of its own, so that a group costs no savepoints. Before version
19 hundreds of listening connections slow every NOTIFY down, so each process has exactly one and fans out in memory. A
connection that broke is replaced; the transaction it carried is told as unavailable, never half done.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import psycopg.sql
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from server_stub.errors import BadRequestError, ConflictError, UnavailableError
from server_stub.store.tx import Row, Tx, Work, is_list, rows_of, spell
from server_stub.store.waiting_line import Member, WaitingLine, answer_all, batches, settle

CONNECTIONS = 12
"""Measured: 8 to 16 hand out the most claims a second; more only queue inside the database."""
COPIED_MIN = 100
"""Rows from which on COPY is worth its two round trips: it spares the server parsing a parameter for each value."""
WAIT_S_MAX = 10.0
_NOW = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now"
ALONE = f"BEGIN; {_NOW}"
TOGETHER = f"BEGIN; SET LOCAL lock_timeout = '500ms'; {_NOW}"
"""A shared transaction waits for no lock as long as PostgreSQL needs to notice a deadlock (1 s)."""
_NOTIFY = psycopg.sql.SQL(
    "SELECT pg_notify(channel, payload) FROM json_to_recordset({}) AS n(channel text, payload text);"
)
RELISTEN_S = 1.0
HEAR_S = 0.2
"""How long the listener takes to notice that it shall stop."""


NOTICED = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A host that vanished says no goodbye: its connections are given up after about 20 s, where the URL says no other."""


class _StaleError(psycopg.OperationalError):
    """A pooled connection had broken since it was last used: nothing was asked of it yet, and another one serves."""


class _ApartError(Exception):
    """The functions of a group cannot share a transaction: one of them spoiled it."""


class PostgresTx(Tx):
    """A transaction on one pooled connection."""

    dialect = "postgresql"

    def __init__(self, connection: psycopg.Connection[Row], now_ms: int = 0) -> None:
        super().__init__()
        self._connection = connection
        self._cursor = connection.cursor()
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms  # One moment for a whole transaction.

    def begin(self, words: str = ALONE) -> None:
        """Start it and read the clock, in one round trip."""
        cursor = self._cursor.execute(words.encode(), prepare=False)
        while cursor.nextset():
            pass
        self._now_ms = int(cursor.fetchall()[0]["now"])

    def member(self) -> "PostgresTx":
        """The same transaction for one of those that share it."""
        return PostgresTx(self._connection, self._now_ms)

    def commit(self) -> None:
        """Say what there is to say and end it, in one round trip."""
        notices = [{"channel": channel, "payload": payload} for channel, payload in dict.fromkeys(self.notices)]
        words = _NOTIFY.format(json.dumps(notices)) if notices else psycopg.sql.SQL("")
        self._cursor.execute(words + psycopg.sql.SQL("COMMIT"), prepare=False)

    def _fetch(self, sql: str, parameters: Any) -> list[Row]:
        cursor = self._cursor.execute(sql, parameters)
        # Not `description`: that describes every column of every answer.
        return cursor.fetchall() if cursor.pgresult is not None and cursor.pgresult.nfields else []

    def _execute(self, sql: str, parameters: Any) -> int:
        return self._cursor.execute(sql, parameters).rowcount

    def _parts(self, sql: str, parameters: dict[str, Any]) -> list[tuple[str, Any]]:
        bound = {name: list(value) if is_list(value) else value for name, value in parameters.items()}
        if found := rows_of(sql):
            name, _ = found
            bound[name] = json.dumps(parameters[name])
        return [(spell(sql, self.dialect), bound)]

    def _placeholders(self, count: int) -> str:
        return "(" + ", ".join(["%s"] * count) + ")"

    def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, returning: str | None = None
    ) -> list[Row]:
        pending = list(rows)
        self.changed = True
        if returning is not None or len(pending) < COPIED_MIN:
            return super().insert(table, columns, pending, returning=returning)
        self.statements += 1
        with self._connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in pending:
                copy.write_row(row)
        return []


class PostgresEngine:
    """One database of a PostgreSQL server."""

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self._url = _conninfo(url)
        self.on_notices: Callable[[list[tuple[str, str]]], None] = lambda _notices: None
        self.on_statements: Callable[[int], None] = lambda _count: None
        self._pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            self._url,
            connection_class=psycopg.Connection[Row],
            kwargs={"row_factory": dict_row, "autocommit": True},  # BEGIN and COMMIT carry other statements with them.
            min_size=1,
            max_size=CONNECTIONS,
            timeout=WAIT_S_MAX,
            open=False,
        )
        try:
            self._pool.open(wait=True, timeout=WAIT_S_MAX)
        except PoolTimeout as error:
            self._pool.close()
            raise UnavailableError(f"the database cannot be reached: {error}") from error
        self._threads = ThreadPoolExecutor(CONNECTIONS - 1, thread_name_prefix="postgresql")
        self._line = WaitingLine()
        self._writer = threading.Thread(target=self._write_forever, name="postgresql-writer", daemon=True)
        self._writer.start()
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None

    def write(self, work: Work) -> Future[Any]:
        """Queue a transaction."""
        return self._threads.submit(self._transact, work)

    def write_together(self, work: Work) -> Future[Any]:
        """Queue a transaction that others may share."""
        return self._line.add(work)

    def read(self, work: Work) -> Future[Any]:
        """Queue a transaction that only reads."""
        return self._threads.submit(self._transact, work)

    @property
    def listening(self) -> bool:
        """Whether the one listening connection was asked for."""
        return self._listener is not None

    def listen(self, channels: Sequence[str]) -> None:
        """Hear what other processes say on `channels`, from a thread of its own."""
        self._listener = threading.Thread(target=self._listen_forever, args=(channels,), daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Finish what is queued and let go of every connection."""
        self._closing.set()
        self._line.close()
        self._writer.join()
        self._threads.shutdown()
        if self._listener is not None:
            self._listener.join(timeout=2 * RELISTEN_S)
        self._pool.close()

    def _transact(self, work: Work) -> Any:
        try:
            for _ in range(CONNECTIONS):
                with suppress(_StaleError):
                    return self._once(work)
            return self._once(work)
        except (psycopg.Error, PoolTimeout) as error:
            raise told(error) from error

    def _once(self, work: Work) -> Any:
        with self._pool.connection() as connection:
            tx = PostgresTx(connection)
            try:
                tx.begin()
            except psycopg.OperationalError as error:
                raise _StaleError(str(error)) from error
            try:
                result = work(tx)
                tx.commit()
                return result
            finally:
                self.on_statements(tx.statements)

    def _write_forever(self) -> None:
        while group := self._line.next_group():
            try:
                done = self._group(group)
            except _ApartError:
                for work, future in group:
                    self._threads.submit(self._transact, work).add_done_callback(partial(_pass_on, waiting=future))
            except (psycopg.Error, PoolTimeout) as error:
                for _, future in group:
                    future.set_exception(told(error))
            else:
                for future, outcome in done:
                    settle(future, outcome)

    def _group(self, group: list[Member]) -> list[tuple[Future[Any], Any]]:
        """Run every function of a group in one transaction; what each gave or raised. Nothing is done if this raises.

        Except where the connection breaks during the commit: then nobody knows.
        """
        done: list[tuple[Future[Any], Any]] = []
        with self._pool.connection() as connection:
            whole = PostgresTx(connection)
            try:
                whole.begin(TOGETHER)
                for batch in batches(group):
                    outcomes = self._outcomes(whole, batch)
                    done += [(future, outcome) for (_, future), outcome in zip(batch, outcomes, strict=True)]
            except psycopg.Error as error:
                raise _ApartError from error
            whole.commit()
        return done

    def _outcomes(self, whole: PostgresTx, batch: list[Member]) -> list[Any]:
        """What each of a batch is answered or raises."""
        if len(batch) == 1:
            return [self._outcome(whole, batch[0][0])]
        answers = self._outcome(whole, partial(answer_all, batch=batch))
        if not isinstance(answers, list):
            raise _ApartError from answers
        return answers

    def _outcome(self, whole: PostgresTx, work: Work) -> Any:
        """What a function gives, or the exception that it raises before it has changed anything."""
        tx = whole.member()
        try:
            result = work(tx)
        except psycopg.Error:
            raise
        except BaseException as error:
            if tx.changed:
                raise _ApartError from error
            return error
        finally:
            self.on_statements(tx.statements)
        whole.notices += tx.notices
        return result

    def _listen_forever(self, channels: Sequence[str]) -> None:
        while not self._closing.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    for channel in channels:
                        connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                    # What was said while nobody listened is lost: wake everyone once.
                    self.on_notices([(channel, "") for channel in channels])
                    self._hear(connection)
            except psycopg.Error:
                self._closing.wait(RELISTEN_S)

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        while not self._closing.is_set():
            for notice in connection.notifies(timeout=HEAR_S):
                self.on_notices([(notice.channel, notice.payload)])


def _conninfo(url: str) -> str:
    """The URL as the driver takes it, with what it leaves open."""
    try:
        return make_conninfo(url, **{**NOTICED, **conninfo_to_dict(url)})
    except psycopg.ProgrammingError:
        # What the driver says of it quotes the password.
        reason = "is no URL of PostgreSQL's; in a password, `@`, `/` and `%` are written %40, %2F and %25"
        raise BadRequestError(f"database: postgresql://… {reason}") from None


def _pass_on(done: Future[Any], *, waiting: Future[Any]) -> None:
    settle(waiting, done.exception() or done.result())


def told(error: BaseException) -> BaseException:
    """Turn a driver's error into one of ours; leave a defect in our SQL as it is."""
    if isinstance(error, pg.DataError):  # A NUL character in a text, or an integer beyond its column.
        return BadRequestError(f"a value cannot be stored: {error}")
    if isinstance(error, pg.IntegrityError):
        return ConflictError(f"the database refused it: {error}")
    passing = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)  # Deadlocks are operational errors too.
    if isinstance(error, passing):
        return UnavailableError(f"the database cannot answer just now: {error}")
    return error
