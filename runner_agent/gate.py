"""Looks at the host before a claim: engine, disks, clock. Reads only; what it means is decided in `preflight.py`."""

import os
from dataclasses import dataclass
from pathlib import Path

from runner_agent.client import Client
from runner_agent.engine import Engine, EngineFacts
from runner_agent.errors import HostFault
from runner_agent.preflight import GateFacts
from runner_agent.spool import Spool


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found."""

    facts: GateFacts
    engine: EngineFacts | None
    """None: it did not answer."""


async def look(engine: Engine, state_dir: Path, spool: Spool, client: Client) -> Look:
    """Ask the engine and the file systems. Never raises for a host that is not well."""
    engine_facts, engine_error = await _ask(engine)
    image_bytes, image_inodes = free(Path(engine_facts.root_dir)) if engine_facts else (None, None)
    facts = GateFacts(
        engine_error=engine_error,
        image_free_bytes=image_bytes,
        image_free_inodes=image_inodes,
        state_free_bytes=free(state_dir)[0],
        spool_bytes=spool.size_bytes(),
        clock_offset_s=client.clock_offset_s,
        cached_images=engine_facts.cached_images if engine_facts else None,
        cached_bytes=engine_facts.cached_bytes if engine_facts else None,
    )
    return Look(facts, engine_facts)


async def _ask(engine: Engine) -> tuple[EngineFacts | None, str | None]:
    try:
        return await engine.facts(), None
    except HostFault as fault:
        return None, str(fault)


def free(directory: Path) -> tuple[int | None, int | None]:
    """Bytes and inodes that are free there; none where that cannot be told (a remote engine, no such directory)."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None, None
    # Some file systems (btrfs) count no inodes and say 0 of 0.
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None
