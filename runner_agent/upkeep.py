"""What an owner does to a host between jobs: put it back after a crash, and see how it stands."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.current_job import CurrentJob
from runner_agent.doctor import Finding, doctor
from runner_agent.errors import HostFault
from runner_agent.lock import held
from runner_agent.settings import Settings
from runner_agent.spool import SUFFIX
from runner_agent.tune import AS_LEFT, status_lines
from runner_agent.undo import restore


async def restored(state_dir: Path, identities: Iterable[EngineSettings]) -> list[str]:
    """Put back what a killed agent left: the containers of each identity, then the host. Tells what was done.

    An engine that does not answer keeps its containers until the next start of the agent; the host is put back anyway.
    """
    lines = [line for terms in identities for line in await _swept(DockerEngine(terms))]
    return lines + restore(state_dir)


async def _swept(engine: DockerEngine) -> list[str]:
    try:
        removed = await engine.sweep()
    except HostFault as fault:
        return [f"containers were not looked for: {fault}"]
    return [f"{removed} containers, networks or volumes removed"] if removed else []


def standing(settings: Settings) -> Iterator[tuple[str, str]]:
    """How the agent on this host stands: name and value, without asking anybody."""
    directory = settings.state_dir / "spool"
    yield "runner", settings.runner or "not set"
    yield "server", settings.server
    running = held(settings.lock_file)
    yield "agent", "running" if running else "not running"
    if not settings.state_dir.exists():
        return
    promise = CurrentJob(settings.state_dir).promised()
    yield "job", f"{promise.job} attempt {promise.attempt}" if promise else "none"
    yield "reports waiting", str(len(list(directory.glob(f"*{SUFFIX}"))))
    for path in _set_aside(directory):
        yield "set aside", str(path)
    lines = list(status_lines(settings.state_dir))
    yield from (("host", line) for line in lines)
    if not running and lines != [AS_LEFT]:
        yield "host", "this is of an agent that was killed; `runner-agent restore` puts it back"


async def examined(state_dir: Path, terms: EngineSettings) -> list[Finding]:
    """What this host lacks for quiet measurements, the worst first. An engine that does not answer is a finding."""
    try:
        facts = await DockerEngine(terms).facts()
    except HostFault:
        facts = None
    return doctor(state_dir, facts, root=os.geteuid() == 0)


def _set_aside(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*") if path.suffix in {".damaged", ".refused"})
