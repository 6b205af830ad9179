"""A real PostgreSQL server for tests: Debian's binaries, a temporary directory, a free loopback port."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import leftovers
import psycopg


@dataclass
class PostgresServer:
    """A running server."""

    folder: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=count)

    @classmethod
    @contextlib.contextmanager
    def started(cls, *, durable: bool = False) -> Iterator["PostgresServer"]:
        """Run a server for the length of a block. Not durable: no fsync, since these tests kill no PostgreSQL."""
        folder = Path(tempfile.mkdtemp(prefix=f"postgresql-{leftovers.MARK}-"))
        folder.chmod(0o755)
        server = cls(folder, free_port())
        try:
            server._initialise(durable=durable)
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def url(self, name: str) -> str:
        """Where a database of this server is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    @contextlib.contextmanager
    def fresh_database(self, template: str = "template1") -> Iterator[str]:
        """A database for the length of a block, empty or a copy of one that nobody is connected to."""
        name = f"bench_{next(self._numbers)}"
        self._say(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            self._say(f'DROP DATABASE "{name}" WITH (FORCE)')

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self._as_owner(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop it, by default as a crash would."""
        if (self.data / "postmaster.pid").exists():
            self._as_owner("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    @property
    def pid(self) -> int:
        """Of the process that started all others."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def _initialise(self, *, durable: bool) -> None:
        owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._as_owner(
            "initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"
        )
        settings = ["max_connections = 200", "shared_buffers = 128MB"]
        if not durable:
            settings += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("\n".join(settings) + "\n")

    def _as_owner(self, program: str, *arguments: str) -> None:
        """PostgreSQL refuses to run as root: go down to its own user first."""
        down = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        command = [*down, str(binaries() / program), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", check=False
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {done.stderr.decode()}{log.read_text() if log.exists() else ''}")

    def drop_connections(self) -> None:
        """End every connection there is, as a failover does."""
        self._say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def _say(self, sql: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.encode())


def binaries() -> Path:
    """Where Debian keeps the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise RuntimeError("no PostgreSQL server: ./dev test installs it (apt-get install postgresql)")
    return found[-1]


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
