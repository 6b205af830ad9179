"""Writes files so that a power cut finds them whole or not at all. Knows nothing of what is in them; calls block."""

import os
from pathlib import Path


def set_aside(path: Path, suffix: str) -> None:
    """Rename, so that nobody takes it for a report again."""
    path.rename(path.with_name(path.name + suffix))
    sync_directory(path.parent)


def write_durably(path: Path, *parts: bytes) -> None:
    """Write beside, fsync, rename, fsync the directory: whole or not at all, also after a power cut."""
    beside = path.with_name(path.name + ".tmp")
    try:
        with beside.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """A rename or removal is durable only with its directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
