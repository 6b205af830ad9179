"""Brings a schema up to date: numbered files of SQL, applied in order, each recorded with its checksum.

Forward only. A file that was applied and then edited is refused by name: the database would not be what it says.
"""

import hashlib
import importlib.resources
import re
from dataclasses import dataclass

from server_stub.errors import BadRequestError
from server_stub.store.tx import Tx

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
# Any number that is ours: two processes that start at once must not both migrate.
LOCK = 7_061_016

LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied_ms BIGINT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The file's statements: each ends with a semicolon at the end of a line."""
        return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", self.sql) if _says_something(part)]


def migrations() -> list[Migration]:
    """All of them, in order."""
    folder = importlib.resources.files("server_stub.store") / "migrations"
    found = [(match, file) for file in folder.iterdir() if (match := _FILE.fullmatch(file.name))]
    made = [Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")) for match, file in found]
    return sorted(made, key=lambda migration: migration.number)


def migrate(tx: Tx, *, up_to: int | None = None) -> list[str]:
    """Apply what is missing (up to number `up_to`, if given); tell the names of what was applied."""
    if tx.dialect == "postgresql":
        tx.value("SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
    tx.run(LEDGER)
    applied = {row["number"]: row for row in tx.all("SELECT number, name, sha256 FROM schema_migration")}
    done = []
    for migration in migrations():
        before = applied.get(migration.number)
        if before is not None:
            _same(before["sha256"], migration)
        elif up_to is None or migration.number <= up_to:
            _apply(tx, migration)
            done.append(f"{migration.number:04}_{migration.name}")
    return done


def _apply(tx: Tx, migration: Migration) -> None:
    for statement in migration.statements:
        tx.run(statement)
    tx.insert(
        "schema_migration",
        ("number", "name", "sha256", "applied_ms"),
        [(migration.number, migration.name, migration.sha256, tx.now_ms())],
    )


def _same(sha256: str, migration: Migration) -> None:
    if sha256 != migration.sha256:
        raise BadRequestError(f"migration {migration.number:04}_{migration.name} was edited after it was applied")


def _says_something(part: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in part.splitlines())
