"""Builds the agent from its settings and lets it live: the only place that knows how the parts are put together.

Exit codes: 0 drained · 75 another agent holds the host · 77 the key is refused · 78 a setting is wrong.
"""

import platform
import socket
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from runner_agent.bench import Host
from runner_agent.client import Client, connected
from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.current_job import CurrentJob
from runner_agent.daemon import Daemon, Habits, Hands
from runner_agent.engine import EngineFacts
from runner_agent.errors import SettingFault
from runner_agent.figures import Figures
from runner_agent.isolation import BenchHost, IsolationSettings
from runner_agent.lease_thread import lease_thread
from runner_agent.lock import host_lock
from runner_agent.logs import configure
from runner_agent.memory import keep_from_core_dumps, map_large_blocks
from runner_agent.notify import Notifier
from runner_agent.plan import Policy
from runner_agent.preflight import Floors
from runner_agent.session import Ending
from runner_agent.settings import Loaded, Settings, load, read_key
from runner_agent.signals import Signals, listening
from runner_agent.spool import Spool
from runner_agent.tracing import Traces
from runner_agent.undo import restore
from runner_protocol.messages import AgentIdentity

EXIT_CODES = {Ending.DRAINED: 0, Ending.KEY_REFUSED: 77}

log = structlog.get_logger()


async def serve(config: Path | None, flags: Mapping[str, Any], jobs_max: int | None) -> int:
    """Live until drained; SIGHUP begins a new life with the settings read again. Returns the exit code."""
    map_large_blocks()
    keep_from_core_dumps()
    with listening() as signals:
        return await _serve(config, flags, jobs_max, signals)


async def _serve(config: Path | None, flags: Mapping[str, Any], jobs_max: int | None, signals: Signals) -> int:
    settings = checked(load(config, flags)).settings
    configure(settings.log_level, settings.log_format)
    instance = uuid.uuid4()
    with host_lock(settings.lock_file):
        put_back(settings)
        while True:
            ending, jobs_max = await live(settings, instance, jobs_max, signals)
            if ending is not Ending.RELOAD:
                return EXIT_CODES[ending]
            settings = _reread(settings, config, flags)


async def live(
    settings: Settings, instance: uuid.UUID, jobs_max: int | None, signals: Signals
) -> tuple[Ending, int | None]:
    """One life of the agent: from its settings to its end."""
    notifier = Notifier.from_environment()
    figures = Figures(settings.metrics_file)
    connect = connector(settings, instance, figures.answered)
    async with connect() as client, lease_thread(connect) as leases:
        hands = Hands(
            client=client,
            leases=leases,
            engine=DockerEngine(engine_settings(settings)),
            host=partial(host_of, settings),
            spool=Spool(settings.state_dir / "spool"),
            current_job=CurrentJob(settings.state_dir),
            state_dir=settings.state_dir,
            notifier=notifier,
            figures=figures,
            traces=Traces.to(settings.traces_url),
        )
        log.info("agent_started", version=version("benchmark-runner"), server=settings.server, runner=settings.runner)
        daemon = Daemon(hands, habits(settings, jobs_max))
        return await daemon.run(signals), daemon.jobs_left


def put_back(settings: Settings) -> list[str]:
    """What a predecessor that was killed has left tuned. Tells what was done."""
    lines = restore(settings.state_dir)
    for line in lines:
        log.warning("host_restored", what=line)
    return lines


def checked(loaded: Loaded) -> Loaded:
    """What can only be wrong once a server is involved. Raises `SettingFault`."""
    if not loaded.settings.runner:
        raise SettingFault("`runner` is not set: the name under which the server knows this host")
    read_key(loaded.settings.key_file)
    return loaded


def _reread(settings: Settings, config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """The settings as they are now; a mistake in them leaves those in force that worked."""
    try:
        fresh = checked(load(config, flags)).settings
    except SettingFault as fault:
        log.error("settings_not_read_again", why=str(fault))  # noqa: TRY400  The message names the place.
        return settings
    configure(fresh.log_level, fresh.log_format)
    # The lock that is held is that of the first life; and a spool must not be left behind in another directory.
    kept = {"lock_file": settings.lock_file, "state_dir": settings.state_dir}
    log.info("settings_read_again")
    return fresh.model_copy(update=kept)


def connector(
    settings: Settings, instance: uuid.UUID, answered: Callable[[float], None] | None = None
) -> Callable[[], AbstractAsyncContextManager[Client]]:
    """Opens connections to the server, as this agent. `answered` hears when the server answered any of them."""
    return partial(
        connected,
        settings.server,
        runner=settings.runner,
        identity=identity(instance),
        key=partial(read_key, settings.key_file),
        answered=answered,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
    )


def identity(instance: uuid.UUID) -> AgentIdentity:
    """Who asks: this process on this machine."""
    return AgentIdentity(
        version=version("benchmark-runner"),
        instance=instance,
        machine_id=machine_id(),
        architecture=platform.machine(),
    )


def machine_id() -> str:
    """Stays over restarts and reboots (machine-id(5)); where the host has none, its name has to do."""
    try:
        return Path("/etc/machine-id").read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def engine_settings(settings: Settings, *, identity: str | None = None, local_images: bool = False) -> EngineSettings:
    """The terms for the engine. The runner's name keeps two agents on one engine from reaping each other."""
    return EngineSettings(
        identity=identity or settings.runner,
        state_dir=settings.state_dir,
        local_images=local_images,
        **settings.engine.model_dump(),
    )


def habits(settings: Settings, jobs_max: int | None) -> Habits:
    """What the daemon alone needs to know."""
    return Habits(
        poll_timeout_s=settings.poll_timeout_s,
        pause_s_max=settings.pause_s_max,
        drain_s_max=settings.drain_s_max,
        floors=Floors(**settings.gate.model_dump()),
        policy=Policy(warm_ups=settings.warm_ups, reruns_max=settings.reruns_max),
        sandboxes=frozenset(settings.engine.sandboxes),
        jobs_max=jobs_max,
        metrics_listen=settings.metrics_listen,
    )


def host_of(settings: Settings, facts: EngineFacts) -> Host:
    """This machine, kept quiet as the owner wants it."""
    return BenchHost(Path("/"), isolation_settings(settings), settings.state_dir, facts)


def isolation_settings(settings: Settings) -> IsolationSettings:
    """The owner's choices about the quiet host."""
    return IsolationSettings(**settings.isolation.model_dump())
