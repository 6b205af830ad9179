"""Puts a backup in place of a SQLite database, after a look at whether it is one."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from server_stub.errors import BadRequestError, ConflictError

WAIT_S = 0.5


def restore(copy: Path, target: Path) -> None:
    """Replace `target` by `copy`. Raises `BadRequestError` for a file that is no sound copy, `ConflictError` where a
    process has the database open."""
    _check(copy)
    if target.exists():
        _refuse_open(target)
    fresh = target.with_name(f"{target.name}.restoring")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(fresh)) as made:
        source.backup(made)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    # The log of the old database must not be replayed into the new one.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    fresh.replace(target)


def _check(copy: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as opened:
            verdict = opened.execute("PRAGMA integrity_check").fetchone()[0]
            opened.execute("SELECT COUNT(*) FROM schema_migration").fetchone()
    except sqlite3.Error as error:
        raise BadRequestError(f"{copy} is no backup of ours: {error}") from error
    if verdict != "ok":
        raise BadRequestError(f"{copy} is damaged: {verdict}")


def _refuse_open(target: Path) -> None:
    """A server keeps connections: then the log cannot be folded in by us and leave WAL mode."""
    try:
        with closing(sqlite3.connect(target, timeout=WAIT_S)) as opened:
            # Leaving WAL needs the only connection there is.
            mode = opened.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise ConflictError(f"{target} is in use; stop the server first ({error})") from error
    if mode != "delete":
        raise ConflictError(f"{target} is in use; stop the server first")
