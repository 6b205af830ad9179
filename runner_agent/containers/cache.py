"""Which images this runner pulled, when each was last used, and which go when they become too many.

Only what stands in the ledger is ever removed, by the name under which it was pulled, and never by force: an image
that a container uses, or that somebody else named too, stays. The ledger is a file beside the agent's other state.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from runner_agent.containers.door import Door
from runner_agent.containers.faults import EngineRefusedError

log = structlog.get_logger(__name__)

# A paired job holds two images, and the second must not push out the first.
KEPT_MIN = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of ours."""

    names: tuple[str, ...]
    """As it was pulled: `registry/repository@digest`, each time that it was."""
    size_bytes: int
    used_s: float
    """Seconds since 1970."""


def victims(entries: Mapping[str, Entry], *, bytes_max: int) -> list[str]:
    """Which images go, least recently used first, so that the rest fits. The last two used stay in any case."""
    oldest_first = sorted(entries, key=lambda image: entries[image].used_s)
    total, chosen = sum(entry.size_bytes for entry in entries.values()), []
    for image in oldest_first[: max(0, len(entries) - KEPT_MIN)]:
        if total <= bytes_max:
            break
        total -= entries[image].size_bytes
        chosen.append(image)
    return chosen


class Cache:
    """The ledger, and the removal of what it lists."""

    def __init__(self, door: Door, path: Path | None, *, bytes_max: int) -> None:
        self._door = door
        self._path = path
        self._bytes_max = bytes_max
        self._entries = _read(path)

    @property
    def size(self) -> tuple[int, int]:
        """How many images are ours, and their bytes."""
        return len(self._entries), sum(entry.size_bytes for entry in self._entries.values())

    def note(self, image: str, name: str, size_bytes: int) -> None:
        """An image of ours has been pulled, under this name."""
        before = self._entries.get(image)
        names = dict.fromkeys((*(before.names if before else ()), name))
        self._entries[image] = Entry(tuple(names), size_bytes, time.time())
        self._write()

    def used(self, image: str) -> None:
        """An image is about to be run. One that is not ours is nobody's concern."""
        entry = self._entries.get(image)
        if entry is not None:
            self._entries[image] = replace(entry, used_s=time.time())
            self._write()

    async def trim(self) -> None:
        """Remove the least recently used until the rest fits the bound."""
        for image in victims(self._entries, bytes_max=self._bytes_max):
            await self._remove(image)

    async def give_way(self) -> bool:
        """Remove the least recently used one, for disk space. False where none may go."""
        for image in victims(self._entries, bytes_max=0):
            if await self._remove(image):
                return True
        return False

    async def _remove(self, image: str) -> bool:
        """Whether it is gone. The engine refuses what a container uses; that is no error."""
        entry = self._entries[image]
        try:
            for name in entry.names:
                await self._untag(name)
        except EngineRefusedError as error:
            log.info("image_kept", names=entry.names, why=str(error))
            return False
        del self._entries[image]
        self._write()
        log.info("image_removed", names=entry.names)
        return True

    async def _untag(self, name: str) -> None:
        """Take one name away; with its last name an image goes. That it is gone already is as good."""
        try:
            await self._door.call(lambda: self._door.ask("DELETE", f"/images/{name}"))
        except EngineRefusedError as error:
            if error.status != 404:
                raise

    def _write(self) -> None:
        """Whole or not at all. Not synced: a ledger lost to a power cut leaves images behind, and harms nothing."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps({image: asdict(entry) for image, entry in self._entries.items()}))
        draft.replace(self._path)


def _read(path: Path | None) -> dict[str, Entry]:
    """The ledger on disk. A damaged one is set aside: what it listed is then not ours, and stays."""
    if path is None or not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        return {
            image: Entry(tuple(entry["names"]), int(entry["size_bytes"]), float(entry["used_s"]))
            for image, entry in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("image_ledger_damaged", path=str(path), error=str(error))
        with suppress(OSError):
            path.replace(path.with_suffix(".damaged"))
        return {}
