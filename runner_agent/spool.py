"""Finished reports that the server has not acknowledged: one file each, oldest first, on disk before anything is sent.

A file is written beside its place, fsynced, renamed, and its directory fsynced: after a power cut it is there whole or
not at all. Its first line describes the rest, with a checksum. A file that does not match its own description is
renamed to `.damaged` and never stands in the way of the others; one that the server refuses for good is kept as
`.refused`. Knows nothing of the server. Calls block: the daemon makes them from a worker thread.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from pydantic import Field, ValidationError

from runner_agent.durable import set_aside, sync_directory, write_durably
from runner_protocol.results import RunReport
from runner_protocol.wire import Message

SUFFIX = ".report"
HEAD_BYTES_MAX = 4096
READ_BYTES = 1 << 20


class Head(Message):
    """The first line of a spool file."""

    job: UUID
    attempt: int = Field(ge=1)
    size_bytes: int = Field(ge=1)
    sha256: str
    """Of everything after the first line, lower-case hex."""
    piece_bytes_max: int = Field(ge=1)
    """As the claim allowed."""


class DamagedError(Exception):
    """A spool file does not hold what it says."""


@dataclass(frozen=True, slots=True)
class SpooledReport:
    """One report on disk, checked against its own description."""

    path: Path
    job: UUID
    attempt: int
    size_bytes: int
    sha256: str
    piece_bytes_max: int
    offset: int
    """Where the report begins in its file."""

    def read(self) -> bytes:
        """The whole report, as JSON."""
        return self._read(0, self.size_bytes)

    def read_piece(self, index: int) -> bytes:
        """Piece `index`, of `piece_bytes_max` bytes; the last one may be shorter."""
        start = index * self.piece_bytes_max
        return self._read(start, min(self.piece_bytes_max, self.size_bytes - start))

    def _read(self, start: int, count: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset + start)
            return file.read(count)


class Spool:
    """The reports in one directory. Names count upwards, so that their order survives any jump of the clock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob("*.tmp"):  # Of a predecessor that died while writing: never was a report.
            left.unlink()

    def put(self, report: RunReport, *, piece_bytes_max: int) -> Path:
        """Store one report durably. Raises `OSError` where the disk does not take it; nothing is left behind then."""
        body = report.as_json()
        head = Head(
            job=report.job,
            attempt=report.attempt,
            size_bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            piece_bytes_max=piece_bytes_max,
        )
        path = self._directory / f"{self._next_number():012d}-{report.job}-{report.attempt}{SUFFIX}"
        write_durably(path, head.as_json(), b"\n", body)
        return path

    def oldest(self) -> SpooledReport | None:
        """The report to deliver next; none when the spool is empty. Damaged ones are set aside on the way."""
        for path in self._paths():
            try:
                return _check(path)
            except (DamagedError, OSError):
                set_aside(path, ".damaged")
        return None

    def has(self, job: UUID, attempt: int) -> bool:
        """Whether a report of this attempt waits here."""
        return any(path.name.endswith(f"-{job}-{attempt}{SUFFIX}") for path in self._paths())

    def drop(self, report: SpooledReport) -> None:
        """The server has it, or another attempt has overtaken it."""
        report.path.unlink(missing_ok=True)
        sync_directory(self._directory)

    def refuse(self, report: SpooledReport) -> None:
        """The server will never take it: keep it for a person."""
        set_aside(report.path, ".refused")

    def count(self) -> int:
        """Reports that wait."""
        return len(self._paths())

    def size_bytes(self) -> int:
        """Of everything here, set aside or not."""
        return sum(path.stat().st_size for path in self._directory.iterdir() if path.is_file())

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob(f"*{SUFFIX}"))

    def _next_number(self) -> int:
        """One above every file that ever got here and still stands, set aside or not."""
        numbers = [int(name[:12]) for path in self._directory.iterdir() if (name := path.name)[:12].isdigit()]
        return max(numbers, default=0) + 1


def _check(path: Path) -> SpooledReport:
    with path.open("rb") as file:
        line = file.readline(HEAD_BYTES_MAX)
        try:
            head = Head.model_validate_json(line)
        except ValidationError as error:
            raise DamagedError(f"{path.name}: the first line is no description") from error
        digest = hashlib.sha256()
        size = 0
        while part := file.read(READ_BYTES):
            digest.update(part)
            size += len(part)
    if (size, digest.hexdigest()) != (head.size_bytes, head.sha256):
        raise DamagedError(f"{path.name}: {size} bytes that do not match the description")
    return SpooledReport(
        path=path,
        job=head.job,
        attempt=head.attempt,
        size_bytes=head.size_bytes,
        sha256=head.sha256,
        piece_bytes_max=head.piece_bytes_max,
        offset=len(line),
    )
