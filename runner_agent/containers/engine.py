"""The container engine's four verbs over Docker: facts, pull, run, sweep. Builds the parts and hands the work to them.

Keeps the promise of `runner_agent.engine.Engine`. Connects on first use.
"""

import json
from dataclasses import replace
from typing import Any

import anyio

from runner_agent.bench import Bench
from runner_agent.containers import create, faults
from runner_agent.containers.cache import Cache
from runner_agent.containers.door import Door
from runner_agent.containers.faults import EngineCallError, EngineRefusedError
from runner_agent.containers.pull import Pull
from runner_agent.containers.run import Ground, Run
from runner_agent.containers.terms import EngineSettings
from runner_agent.engine import PODMAN, EngineFacts, Image, IterationOrder, OutputTail, PullProgress
from runner_agent.errors import HostFault, JobFault
from runner_protocol.jobs import RegistryAuth, Spec
from runner_protocol.results import FaultClass, IterationRecord, Stage

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
# File systems under overlay2 that have no project quotas; asking for one would only be refused.
QUOTALESS = frozenset({"extfs", "tmpfs"})


class DockerEngine:
    """One runner's engine."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._door = Door(settings.docker_host, call_s_max=settings.call_s_max)
        ledger = None if settings.state_dir is None else settings.state_dir / "images.json"
        self._cache = Cache(self._door, ledger, bytes_max=settings.cache_bytes_max)
        self._ground: Ground | None = None

    async def facts(self) -> EngineFacts:
        """Ask the engine what it is. Raises `HostFault(engine_unavailable)` where none answers."""
        try:
            info = await self._door.call(lambda: self._door.ask("GET", "/info"))
            version = await self._door.call(lambda: self._door.ask("GET", "/version"))
        except EngineCallError as error:
            raise faults.raised(faults.fault_of(error, Stage.PLAN, what="the container engine")) from error
        self._ground = _ground(info, version)
        images, size_bytes = self._cache.size
        return replace(self._ground.facts, cached_images=images, cached_bytes=size_bytes)

    async def pull(
        self, reference: str, *, auth: RegistryAuth | None, spec: Spec, within_s: float, progress: PullProgress
    ) -> Image:
        """Resolve `reference` to a digest for this host's platform and fetch it once, by digest."""
        facts = await self.facts()
        self._check(spec)
        pull = Pull(self._door, self._settings, self._cache, facts, progress)
        with anyio.move_on_after(within_s):
            try:
                return await pull.image(reference, auth)
            except EngineCallError as error:
                raise faults.raised(faults.fault_of(error, Stage.PULL, what="the image could not be pulled")) from error
        why = f" ({pull.last_fault.message})" if pull.last_fault else ""
        message = f"{reference} did not arrive within {within_s:g} s{why}"
        raise HostFault(FaultClass.REGISTRY_UNAVAILABLE, Stage.PULL, message)

    async def run(self, order: IterationOrder, bench: Bench, tail: OutputTail) -> IterationRecord:
        """Run a fresh container to its end, whatever the end is, and leave nothing of it behind."""
        if self._ground is None:
            await self.facts()
        ground = self._check(order.spec)
        return await Run(self._door, self._settings, ground, order, bench, tail).record()

    async def sweep(self, *, keep_job: str | None = None) -> int:
        """Remove every container, network and volume that bears this runner's label; tell how many."""
        try:
            return await self._sweep(keep_job)
        except EngineCallError as error:
            raise faults.raised(faults.fault_of(error, Stage.PLAN, what="sweeping")) from error

    def close(self) -> None:
        """Let the connections go."""
        self._door.close()

    def _check(self, spec: Spec) -> Ground:
        ground = self._ground
        if ground is None:
            raise HostFault(FaultClass.ENGINE_UNAVAILABLE, Stage.PLAN, "the container engine was never asked")
        fault = create.refusal(spec, ground.facts, self._settings, cpus=ground.cpus, memory=ground.memory_bytes)
        if fault is not None:
            raise JobFault(fault)
        return ground

    async def _sweep(self, keep_job: str | None) -> int:
        containers = await self._own("/containers/json", {"all": 1})
        networks = await self._own("/networks", {})
        volumes = (await self._own("/volumes", {}))["Volumes"] or []
        # Containers first: a network or volume in use cannot go.
        paths = [(f"/containers/{found['Id']}", {"force": 1, "v": 1}) for found in _others(containers, keep_job)]
        paths += [(f"/networks/{found['Id']}", {}) for found in _others(networks, keep_job)]
        paths += [(f"/volumes/{found['Name']}", {}) for found in _others(volumes, keep_job)]
        return sum([await self._removed(path, params) for path, params in paths])

    async def _own(self, path: str, params: dict[str, Any]) -> Any:
        label = f"{create.IDENTITY_LABEL}={self._settings.identity}"
        filters = json.dumps({"label": [label]})
        return await self._door.call(lambda: self._door.ask("GET", path, params={**params, "filters": filters}))

    async def _removed(self, path: str, params: dict[str, int]) -> bool:
        """False for what was gone already or is going."""
        try:
            await self._door.call(lambda: self._door.ask("DELETE", path, params=params))
        except EngineRefusedError as error:
            if error.status not in (404, 409):
                raise
            return False
        return True


def _others(found: list[dict[str, Any]], keep_job: str | None) -> list[dict[str, Any]]:
    return [one for one in found if keep_job is None or (one.get("Labels") or {}).get(create.JOB_LABEL) != keep_job]


def _ground(info: dict[str, Any], version: dict[str, Any]) -> Ground:
    driver_status = dict(pair for pair in info.get("DriverStatus") or [] if len(pair) == 2)
    backing = driver_status.get("Backing Filesystem", "")
    architecture = str(version.get("Arch", ""))
    facts = EngineFacts(
        name=_name(version),
        version=str(version.get("Version", "")),
        api_version=str(version.get("ApiVersion", "")),
        cgroup_driver=str(info.get("CgroupDriver", "")),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        storage_driver=str(info.get("Driver", "")),
        root_dir=str(info.get("DockerRootDir", "")),
        runtimes=frozenset(info.get("Runtimes") or {}),
        default_runtime=str(info.get("DefaultRuntime", "")),
        security=frozenset(_option(text) for text in info.get("SecurityOptions") or []),
        architecture=ARCHITECTURES.get(architecture, architecture),
    )
    return Ground(
        facts=facts,
        cpus=int(info["NCPU"]),
        memory_bytes=int(info["MemTotal"]),
        quota=facts.storage_driver in create.QUOTA_DRIVERS and backing not in QUOTALESS,
    )


def _name(version: dict[str, Any]) -> str:
    """Podman gives the host's platform for its own."""
    parts = {str(part.get("Name")) for part in version.get("Components") or []}
    return PODMAN if "Podman Engine" in parts else str((version.get("Platform") or {}).get("Name") or "Docker")


def _option(text: str) -> str:
    """`seccomp` of `name=seccomp,profile=default`."""
    return text.split(",", 1)[0].removeprefix("name=")
