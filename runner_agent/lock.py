"""One agent a host: whoever holds the lock of one file. The kernel lets go of it with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner_agent.errors import AgentError, SettingFault


class HostTakenError(AgentError):
    """Another agent holds this host."""


@contextmanager
def host_lock(path: Path) -> Iterator[None]:
    """Hold the host for the length of the block. Raises `HostTakenError` at once where another process holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Never truncated on opening: the holder's number stands in it. Not inherited by children (O_CLOEXEC).
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise SettingFault(f"`lock_file` {path}: {error.strerror}") from error
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise HostTakenError(f"another agent (process {holder}) holds this host: {path}") from None
    with suppress(OSError):  # The number is for people; on a full disk the lock holds without it.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def held(path: Path) -> bool:
    """Whether some agent holds the host just now."""
    try:
        with host_lock(path):
            return False
    except HostTakenError:
        return True
