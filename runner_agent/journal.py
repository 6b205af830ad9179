"""Remembers on disk what the host was like before each change: even a SIGKILL leaves a way back. Undoes nothing.

One file of JSON lines in the state directory: a head with the boot's id, then two lines for each change. The first is
fsynced before the host is touched; the second says what was read back. A line that a crash cut short belongs to a
change that never came to be, and is dropped. After a reboot the file is void: everything that it can name is volatile.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner_agent.durable import sync_directory

VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the host."""

    kind: str
    """Which hand undoes it: `file`, `service`, `affinity`, `group`, `unit`."""
    target: str
    """A path, a unit's name, or `pid:start` of a thread."""
    before: str
    wanted: str
    achieved: str | None = None
    """As read back after the write; none: a crash came between."""


class Journal:
    """The journal of one hold. Opened when the first change is remembered, gone when all is put back."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._descriptor: int | None = None
        self._number = 0

    def remember(self, changes: Sequence[Change]) -> list[int]:
        """On disk when this returns: only then may the host be touched. The numbers are for `note`."""
        if self._descriptor is None:
            self._open()
        numbers = list(range(self._number + 1, self._number + 1 + len(changes)))
        self._number += len(changes)
        self._append([{"number": number, **asdict(change)} for number, change in zip(numbers, changes, strict=True)])
        self._sync()
        return numbers

    def note(self, number: int, achieved: str) -> None:
        """What the host says after the change. Not synced: a machine that lost it has lost the change as well."""
        self._append([{"number": number, "achieved": achieved}])

    def forget(self) -> None:
        """Everything is put back."""
        self.close()
        self._path.unlink(missing_ok=True)
        if self._path.parent.exists():
            sync_directory(self._path.parent)

    def close(self) -> None:
        """Leave the file for a later `restore`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: what a predecessor left must be put back first; written over, its originals would be lost for good.
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._append([{"version": VERSION, "boot_id": self._boot_id}])
        sync_directory(self._path.parent)

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        assert self._descriptor is not None, "a journal is opened by its first change"
        os.write(self._descriptor, b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def _sync(self) -> None:
        assert self._descriptor is not None, "a journal is opened by its first change"
        os.fdatasync(self._descriptor)


def left_behind(path: Path, boot_id: str) -> list[Change]:
    """The changes of a journal that was never closed, in the order they were made; none of an earlier boot."""
    lines = list(_lines(path))
    if not lines or lines[0].get("boot_id") != boot_id:
        return []
    achieved = {line["number"]: line["achieved"] for line in lines[1:] if "kind" not in line}
    return [
        Change(line["kind"], line["target"], line["before"], line["wanted"], achieved.get(line["number"]))
        for line in lines[1:]
        if "kind" in line
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.split(b"\n")[:-1]:  # What follows the last newline is cut short, or nothing.
        try:
            yield json.loads(line)
        except ValueError:
            return
