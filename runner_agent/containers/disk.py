"""How much a running container has written, for engines that cannot hold it to a quota.

Between looks it sleeps for as long as the container cannot possibly have reached its limit. On the engine's own host
a look is one `statvfs`; files are counted (`du`) only once the whole file system has grown by more than the limit.
From afar the engine counts (`SizeRw`, apparent sizes), which walks the container's files: rarer looks.
It kills nothing itself.
"""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

# Faster than the drives of today write through a file system; so no look comes too late by more than PAUSE_S_MIN.
WRITE_BYTES_PER_S_MAX = 4 << 30
PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 1.0
# A count that took a second may be repeated ten seconds later: under a tenth of one housekeeping CPU.
COUNT_PAUSE_FACTOR = 10
COUNT_S_MAX = 60.0
FAR_PAUSE_S_MIN = 2.0
# Where so few inodes are left on the host, a container is making files to harm it.
INODES_FREE_SHARE_MIN = 0.02


# What a file costs at the least; so a limit in bytes is a limit in files too, empty ones included.
BLOCK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Free:
    """What is left of a file system."""

    bytes: int
    files: int
    files_all: int
    """Zero where the file system makes inodes as it needs them."""

    def scarce(self, bytes_min: int) -> bool:
        """Whether the host itself is about to run out."""
        return self.bytes < bytes_min or self.files < self.files_all * INODES_FREE_SHARE_MIN


class Found(Enum):
    """What a look may find."""

    WITHIN = "within its limit"
    OVER = "over its limit"
    HOST = "within its limit, and the host is running out"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found, and when the next is due."""

    found: Found
    again_in_s: float


class DiskGauge(Protocol):
    """Tells whether a container has written more than it may."""

    def look(self) -> Look:
        """Blocking: look once."""
        ...


class NearGauge:
    """On the engine's host: the file system's free space first, the container's own files when that has shrunk."""

    def __init__(self, paths: list[str], *, pid: int, limit_bytes: int, before: Free, free_bytes_min: int) -> None:
        self._paths = paths
        self._pid = pid
        self._limit_bytes = limit_bytes
        self._limit_files = limit_bytes // BLOCK_BYTES
        self._before = before
        self._free_bytes_min = free_bytes_min

    def look(self) -> Look:
        """Over the limit, or the host's file system near its end."""
        try:
            free = free_at(self._paths[0])
        except FileNotFoundError:  # Somebody removes the container under us. Whoever waits for its end says so.
            return Look(Found.WITHIN, PAUSE_S_MAX)
        room = self._limit_bytes - (self._before.bytes - free.bytes)
        suspect = room < 0 or self._before.files - free.files > self._limit_files
        if free.scarce(self._free_bytes_min):
            # No time to count. Whoever took more than it may while this happened has done it.
            return Look(Found.OVER if suspect else Found.HOST, PAUSE_S_MAX)
        if not suspect:
            return Look(Found.WITHIN, min(PAUSE_S_MAX, max(PAUSE_S_MIN, room / WRITE_BYTES_PER_S_MAX)))
        began = time.monotonic()
        found = Found.OVER if self._over() else Found.WITHIN
        return Look(found, max(PAUSE_S_MIN, COUNT_PAUSE_FACTOR * (time.monotonic() - began)))

    def _over(self) -> bool:
        taken = counted(self._paths, "--block-size=1") + nameless_bytes(self._pid, self._paths)
        return taken > self._limit_bytes or counted(self._paths, "--inodes") > self._limit_files


class FarGauge:
    """Through the engine alone."""

    def __init__(self, inspect: Callable[[], dict[str, Any]], *, limit_bytes: int) -> None:
        self._inspect = inspect
        self._limit_bytes = limit_bytes

    def look(self) -> Look:
        """Over the limit, by the engine's own count."""
        began = time.monotonic()
        over = int(self._inspect().get("SizeRw") or 0) > self._limit_bytes
        found = Found.OVER if over else Found.WITHIN
        return Look(found, max(FAR_PAUSE_S_MIN, COUNT_PAUSE_FACTOR * (time.monotonic() - began)))


def writable_paths(inspected: dict[str, Any]) -> list[str] | None:
    """Where on this host a container's writes land: its layer and its volumes. None where they cannot be seen."""
    upper = ((inspected.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
    volumes = [mount["Source"] for mount in inspected.get("Mounts") or [] if mount.get("Type") == "volume"]
    paths = [upper, *volumes] if upper else []
    return paths if paths and all(os.access(path, os.R_OK | os.X_OK) for path in paths) else None


def free_if_here(path: str) -> Free | None:
    """What is left for an engine's directory; none where the engine is on another host."""
    return free_at(path) if path and Path(path).exists() else None


def free_at(path: str | Path) -> Free:
    """What an ordinary process could still take of the file system of `path`."""
    state = os.statvfs(path)
    return Free(state.f_bavail * state.f_frsize, state.f_favail, state.f_files)


def counted(paths: list[str], unit: str) -> int:
    """Disk that the files below take up, or how many they are: holes left out, hard links once, no link followed."""
    # `du` and not a walk of our own: trees may be deeper than Python recurses, and names are hostile.
    command = ["du", "--summarize", "--one-file-system", unit, "--", *paths]
    try:
        done = subprocess.run(command, capture_output=True, timeout=COUNT_S_MAX, check=False)  # noqa: S603 - fixed program, paths from the engine
    except subprocess.TimeoutExpired:
        # So many files that they cannot be counted are too many.
        return 1 << 62
    return sum(int(line.split(b"\t", 1)[0]) for line in done.stdout.splitlines() if line[:1].isdigit())


def nameless_bytes(pid: int, paths: list[str]) -> int:
    """Disk of files that a container has deleted and still holds open, which no walk of its files can find.

    Looks at every process in the PID namespace of `pid`; zero where the agent may not, or where it is gone.
    """
    try:
        space, root = Path(f"/proc/{pid}/ns/pid").readlink(), Path(f"/proc/{pid}/root").stat()
        devices = {root.st_dev, *(Path(path).stat().st_dev for path in paths)}
        inside = [process for process in Path("/proc").glob("[0-9]*") if _space(process) == space]
    except OSError:
        return 0
    states = (state for process in inside for state in _open_files(process))
    # Anonymous memory is a nameless file too, on a device of its own; the memory limit counts that.
    held = {(state.st_dev, state.st_ino): state for state in states if not state.st_nlink and state.st_dev in devices}
    return sum(state.st_blocks * 512 for state in held.values())


def _space(process: Path) -> Path | None:
    try:
        return (process / "ns" / "pid").readlink()
    except OSError:
        return None


def _open_files(process: Path) -> list[os.stat_result]:
    found = []
    for folder in ("fd", "map_files"):
        # The process may end while we look, or close the very file.
        with suppress(OSError), os.scandir(process / folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    found.append(entry.stat())
    return found
