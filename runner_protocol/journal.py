"""Lines for systemd's journal, with fields of their own, so that `journalctl JOB=…` finds all that was logged of a job.

Both programs log so, under the same names: one search finds a job on the server and on its host.
"""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TextIO

JOURNAL: Final = "/run/systemd/journal/socket"
FIELDS: Final = ("event", "job", "attempt", "runner")
"""What a line is searched by in the journal, in capitals there."""
PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""As syslog(3) numbers them; anything worse is 2."""


def is_journal(stream: TextIO) -> bool:
    """Whether this very stream leads to the journal: the variable alone is inherited by every child."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


@dataclass(frozen=True, slots=True)
class Journal:
    """A logger whose lines reach the journal with fields of their own; those that it refuses go to the stream."""

    stream: TextIO
    address: str = JOURNAL

    def send(self, **line: Any) -> None:
        """One line, as JSON, with what it is searched by beside it."""
        text = json.dumps(line, default=str)
        fields = {name.upper(): str(line[name]) for name in FIELDS if name in line}
        fields |= {"MESSAGE": text, "PRIORITY": str(PRIORITIES.get(line["level"], 2))}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.sendto(b"".join(_fields(fields)), self.address)
        except OSError:  # No journal there, or a line that is longer than a datagram may be.
            print(text, file=self.stream, flush=True)

    debug = info = warning = error = critical = send


def _fields(fields: dict[str, str]) -> Iterator[bytes]:
    """In the journal's own form, in which a value may hold anything (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    for name, value in fields.items():
        encoded = value.encode()
        yield name.encode() + b"\n" + len(encoded).to_bytes(8, "little") + encoded + b"\n"
