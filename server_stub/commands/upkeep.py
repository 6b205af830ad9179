"""`migrate`, `backup` and `restore`: the care of the database."""

from pathlib import Path
from typing import Annotated

import typer

from server_stub.commands.context import (
    ConfigOption,
    DatabaseOption,
    Exit,
    exit_codes,
    fail,
    is_there,
    open_database,
    settings_for,
)

SQLITE = "sqlite:///"


def migrate(database: DatabaseOption = None, config: ConfigOption = None) -> None:
    """Bring the schema up to date and say what was applied. `serve` does it too, when it starts."""
    from server_stub.store.database import Database
    from server_stub.store.migrate import migrate as apply

    with exit_codes():
        opened = Database.open(settings_for(database, config).database, migrated=False)
        try:
            applied = opened.wait(apply)
        finally:
            opened.close()
    print("\n".join(applied) if applied else "nothing to do")


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write the copy; it must not exist.")],
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Copy a live SQLite database into a file. The server may go on; PostgreSQL has `pg_dump`."""
    # Beside its place and then renamed: a copy that was cut short never has the name of a whole one.
    partial = file.with_name(f"{file.name}.partial")
    try:
        if file.exists():
            fail(f"{file} exists", Exit.CONFLICT)
        partial.touch()
    except OSError as error:
        fail(f"{partial} cannot be written: {error.strerror}", Exit.REFUSED)
    with open_database(database, config) as opened:
        opened.backup(partial)
    partial.rename(file)
    print(f"{file}: {file.stat().st_size} bytes")


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A copy that `backup` made.")],
    database: DatabaseOption = None,
    config: ConfigOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a database that is there.")] = False,
) -> None:
    """Put a copy in place of a SQLite database. No server may be running on it."""
    from server_stub.store.restore import restore as put_in_place

    url = settings_for(database, config).database
    if not url.startswith(SQLITE):
        fail("restore: only of SQLite; PostgreSQL has `psql` and `pg_restore`", Exit.REFUSED)
    target = Path(url.removeprefix(SQLITE))
    if is_there(str(target)) and not force:
        fail(f"{target} exists; --force replaces it", Exit.CONFLICT)
    with exit_codes():
        put_in_place(file, target)
    print(f"{target} is restored from {file}")
