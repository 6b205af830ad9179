"""What every verb shares: its options, the database it works on, and how a refusal becomes an exit code.

0 done · 1 refused · 2 wrong usage · 3 there is no such thing · 4 taken, or in a state that forbids it ·
5 the job failed · 6 the job is canceled · 69 the server or the database cannot be reached · 78 a setting is wrong
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from server_stub.settings import Settings
    from server_stub.store.database import Database
    from server_stub.store.tx import Tx

T = TypeVar("T")

DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="`sqlite:///FILE` or `postgresql://…`. Default: as the settings say.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")]
LOCAL = "http://localhost:61016"
"""Where a server answers on its own host."""
SERVER_URL = re.compile(r"https?://[^/\s?#]+(/[^\s?#]*)?")
"""What an agent's setting `server` takes."""
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class Exit(IntEnum):
    """Exit codes. The last two are those of sysexits.h."""

    REFUSED = 1
    NOT_FOUND = 3
    CONFLICT = 4
    JOB_FAILED = 5
    JOB_CANCELED = 6
    UNAVAILABLE = 69
    CONFIG = 78


_BY_STATUS = {404: Exit.NOT_FOUND, 409: Exit.CONFLICT, 503: Exit.UNAVAILABLE}


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn a refusal into one line on stderr and an exit code."""
    from server_stub.errors import ApiError

    try:
        yield
    except ApiError as error:
        fail(error.message, _BY_STATUS.get(error.status, Exit.REFUSED))


def fail(message: str, code: Exit) -> NoReturn:
    """Say what is wrong and exit."""
    print(f"server-stub: {message}", file=sys.stderr)
    raise typer.Exit(code)


def server_url(given: str) -> str:
    """Check an option that says where a server answers; what is no URL of one is wrong usage."""
    import httpx

    if not SERVER_URL.fullmatch(given):
        raise typer.BadParameter("has to be http://HOST or https://HOST, with a port or a path where needed")
    try:
        httpx.URL(given)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(str(error)) from error
    return given.rstrip("/")


def settings_for(database: str | None, config: Path | None, **overrides: object) -> "Settings":
    """Read the settings; a wrong one ends the program with `Exit.CONFIG`."""
    from server_stub.errors import ApiError
    from server_stub.settings import read_settings

    try:
        return read_settings(config, database=database, **overrides)
    except ApiError as error:
        fail(error.message, Exit.CONFIG)


def is_there(file: str) -> bool:
    """Whether there is such a database file; where it cannot be told, the program ends."""
    try:
        return Path(file).exists()
    except OSError as error:  # Such as a directory that is closed to this user.
        return fail(f"the database {file} cannot be opened: {error.strerror}", Exit.UNAVAILABLE)


@contextmanager
def open_database(database: str | None, config: Path | None, *, create: bool = False) -> Iterator["Database"]:
    """Open the database for one verb. A SQLite file that is not there is only made where `create` says so."""
    from server_stub.store.database import Database

    url = settings_for(database, config).database
    file = url.removeprefix("sqlite:///")
    if file != url and not create and not is_there(file):
        fail(f"there is no database {file}; `server-stub serve` and `runner create` make one", Exit.NOT_FOUND)
    with exit_codes():
        opened = Database.open(url)
        try:
            yield opened
        finally:
            opened.close()


def once(database: str | None, config: Path | None, work: "Callable[[Tx], T]", *, create: bool = False) -> T:
    """Run one transaction for a verb and return its result."""
    with open_database(database, config, create=create) as opened:
        return opened.wait(work)
