"""The story of a pull: from a job's name for an image to one digest, on this host, for this platform.

    read the name → resolve at the registry → make room → fetch by digest → check what came → note it in the cache

The registry is asked for every job, also where the image is here already: whoever may not pull it may not run it.
Passing faults are tried again, a few times. The engine speaks to registries, verifies every digest, and goes
on in the middle of a layer after a dropped line; this module decides where from, and when enough is enough.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio

from runner_agent.containers import credentials, disk, faults, reference
from runner_agent.containers.box import hung_up
from runner_agent.containers.cache import Cache
from runner_agent.containers.credentials import CredentialsError
from runner_agent.containers.door import Door, Stream, tasks
from runner_agent.containers.faults import EngineCallError, EngineRefusedError, EngineSilentError
from runner_agent.containers.progress import PullMeter
from runner_agent.containers.reference import Reference
from runner_agent.containers.terms import EngineSettings
from runner_agent.engine import PODMAN, EngineFacts, Image, PullProgress
from runner_agent.errors import HostFault, JobFault
from runner_protocol.jobs import RegistryAuth
from runner_protocol.results import Fault, FaultClass, Stage

T = TypeVar("T")

# Between tries at a registry that stalls or is over its quota. After the last the job is handed back: whether it is
# tried again, and where, is the server's affair, and this host has other jobs to run.
RETRY_S = (1.0, 2.0, 5.0, 10.0, 20.0)
PROGRESS_S = 0.5
# The public API's names for what OCI calls amd64 and arm64.
OCI_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where to ask, and as whom."""

    reference: Reference
    credentials: dict[str, str]


class Pull:
    """One pull for one job."""

    def __init__(
        self, door: Door, settings: EngineSettings, cache: Cache, facts: EngineFacts, progress: PullProgress
    ) -> None:
        self._door, self._settings, self._cache = door, settings, cache
        self._progress = progress
        self.last_fault: Fault | None = None
        """Of the try before this one, for whoever ends the waiting."""
        self._architecture = OCI_ARCHITECTURE.get(facts.architecture, facts.architecture)
        self._resolves = facts.name != PODMAN
        self._root = Path(facts.root_dir) if Path(facts.root_dir).exists() else None

    async def image(self, asked: str, auth: RegistryAuth | None) -> Image:
        """The image, pinned and here. Raises `JobFault` or `HostFault`."""
        named = reference.parse(asked)
        if named is None:
            raise _fault(FaultClass.IMAGE_INVALID, f"{asked!r} is not an image reference")
        local = await self._local(asked) if self._settings.local_images else None
        if local is not None:
            return local
        for source in await self._mirrored(named):
            try:
                return await self._from(source, asked)
            except (EngineCallError, JobFault, HostFault):
                # A mirror that fails costs nothing but the question; the origin has the last word.
                continue
        return await self._patiently(lambda: self._attempt(named, auth, asked))

    async def _attempt(self, named: Reference, auth: RegistryAuth | None, asked: str) -> Image:
        own = credentials.of_job(auth) if auth is not None else await self._of_host(named.registry)
        return await self._from(Source(named, own), asked)

    async def _mirrored(self, named: Reference) -> list[Source]:
        if self._settings.mirror is None:
            return []
        mirrored = named.through(self._settings.mirror)
        return [Source(mirrored, await self._of_host(mirrored.registry))]

    async def _of_host(self, registry: str) -> dict[str, str]:
        try:
            return await self._door.call(lambda: credentials.of_host(registry, self._settings.docker_config))
        except CredentialsError as error:
            raise HostFault(FaultClass.HOST_FAULT, Stage.PULL, str(error)) from error

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again what passes."""
        for pause_s in (*RETRY_S, None):
            try:
                return await attempt()
            except EngineCallError as error:
                fault = faults.fault_of(error, Stage.PULL, what="the image could not be pulled")
                if fault.kind is not FaultClass.REGISTRY_UNAVAILABLE or pause_s is None:
                    raise faults.raised(fault) from error
                self.last_fault = fault
                self._progress(None, f"{fault.message}; trying again in {pause_s:.0f} s")
                await anyio.sleep(pause_s)
        raise AssertionError("the last try has raised")

    async def _from(self, source: Source, asked: str) -> Image:
        if not self._resolves:
            return await self._by_name(source, asked)
        found = await self._ask("GET", f"/distribution/{source.reference}/json", source)
        self._check_platforms(asked, found.get("Platforms") or [])
        pinned = source.reference.at(found["Descriptor"]["digest"])
        inspected = await self._inspect(str(pinned))
        if inspected is None:
            await self._make_room()
            await self._fetch(Source(pinned, source.credentials))
            inspected = await self._inspect(str(pinned))
            if inspected is None:
                raise EngineRefusedError(500, f"{pinned} was pulled and is not there")
            self._cache.note(inspected["Id"], str(pinned), int(inspected["Size"]))
        return await self._taken(asked, inspected, pinned)

    async def _by_name(self, source: Source, asked: str) -> Image:
        """Have the engine resolve the name and fetch what is missing, in one: Podman answers no question of digests."""
        await self._make_room()
        await self._fetch(source)
        inspected = await self._inspect(str(source.reference))
        if inspected is None:
            raise EngineRefusedError(500, f"{source.reference} was pulled and is not there")
        names = [name.partition("@") for name in inspected.get("RepoDigests") or []]
        here = [digest for name, _, digest in names if name == source.reference.name]
        if not here:
            raise EngineRefusedError(500, f"{source.reference} was pulled and has no digest")
        pinned = source.reference if source.reference.digest else source.reference.at(here[0])
        self._cache.note(inspected["Id"], str(pinned), int(inspected["Size"]))
        return await self._taken(asked, inspected, pinned)

    async def _taken(self, asked: str, inspected: dict[str, Any], pinned: Reference) -> Image:
        self._check_platforms(asked, [{"os": inspected["Os"], "architecture": inspected["Architecture"]}])
        self._cache.used(inspected["Id"])
        await self._cache.trim()
        return _image(asked, inspected, pinned.digest or "")

    async def _local(self, asked: str) -> Image | None:
        """The engine's own image of this name, for someone who stands before the machine."""
        inspected = await self._inspect(asked)
        if inspected is None:
            return None
        digests = [name.partition("@")[2] for name in inspected.get("RepoDigests") or []]
        return _image(asked, inspected, digests[0] if digests else inspected["Id"])

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._door.call(lambda: self._door.ask("GET", f"/images/{name}/json"))
        except EngineRefusedError as error:
            if error.status in (400, 404):
                return None
            raise
        return found

    def _check_platforms(self, asked: str, platforms: list[dict[str, Any]]) -> None:
        """Refuse by name what was not built for this host; an image that does not say is tried."""
        wanted = ("linux", self._architecture)
        offered = {(str(found.get("os")), str(found.get("architecture"))) for found in platforms}
        named = {pair for pair in offered if all(part and part != "None" for part in pair)}
        if named and wanted not in named:
            has = ", ".join(sorted("/".join(pair) for pair in named))
            raise _fault(FaultClass.WRONG_PLATFORM, f"{asked} has {has}; this host needs {'/'.join(wanted)}")

    async def _make_room(self) -> None:
        while self._root is not None and disk.free_at(self._root).bytes < self._settings.disk_free_bytes_min:
            if not await self._cache.give_way():
                raise _full(self._root, self._settings.disk_free_bytes_min)

    async def _fetch(self, pinned: Source) -> None:
        meter = PullMeter()
        params = {
            "fromImage": pinned.reference.name,
            "tag": pinned.reference.wanted,
            "platform": f"linux/{self._architecture}",
        }
        stream = await self._door.call(lambda: self._open("POST", "/images/create", pinned, params=params))
        async with tasks() as group:
            with hung_up(stream):
                group.start_soon(self._tell, meter)
                # Without a limit of its own: silence ends at the socket, the whole at the pull's budget.
                await self._heard(lambda: self._follow(stream, meter), within_s=float("inf"))
            group.cancel_scope.cancel()
        if meter.error is not None:
            raise EngineRefusedError(500, meter.error)

    def _follow(self, stream: Stream, meter: PullMeter) -> None:
        """Read the engine's progress to its end. Hangs up, which ends the pull, where the disk runs short."""
        free_before = disk.free_at(self._root).bytes if self._root else 0
        for event in stream.lines():
            meter.feed(event)
            if self._root is not None:
                self._check_disk(disk.free_at(self._root).bytes, free_before)

    def _check_disk(self, free: int, free_before: int) -> None:
        if free < self._settings.disk_free_bytes_min:
            raise _full(self._root, self._settings.disk_free_bytes_min)
        if free_before - free > self._settings.cache_bytes_max:
            limit = self._settings.cache_bytes_max
            raise _fault(FaultClass.IMAGE_REFUSED, f"unpacks to more than {limit} bytes, this host's whole image cache")

    async def _tell(self, meter: PullMeter) -> None:
        while True:
            self._progress(meter.fraction, meter.line)
            await anyio.sleep(PROGRESS_S)

    async def _ask(self, method: str, path: str, source: Source) -> Any:
        headers = credentials.header(source.credentials)
        stall_s = self._settings.stall_s_max
        return await self._heard(
            lambda: self._door.ask(method, path, within_s=stall_s, headers=headers), within_s=stall_s
        )

    async def _heard(self, fn: Callable[[], T], *, within_s: float) -> T:
        """A call that the engine passes on to a registry: where it falls silent, whose silence is it?"""
        try:
            return await self._door.call(fn, within_s=within_s)
        except EngineSilentError as error:
            await self._door.call(lambda: self._door.ask("GET", "/version"))
            silence = f"timeout: nothing arrived for {self._settings.stall_s_max:g} s"
            raise EngineRefusedError(504, silence) from error

    def _open(self, method: str, path: str, source: Source, *, params: dict[str, str]) -> Stream:
        headers = credentials.header(source.credentials)
        return self._door.open(method, path, within_s=self._settings.stall_s_max, headers=headers, params=params)


def _image(asked: str, inspected: dict[str, Any], digest: str) -> Image:
    config = inspected.get("Config") or {}
    return Image(
        reference=asked,
        id=inspected["Id"],
        digest=digest,
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
    )


def _fault(kind: FaultClass, message: str) -> JobFault:
    return JobFault(Fault(kind=kind, stage=Stage.PULL, message=message))


def _full(root: Path | None, bytes_min: int) -> HostFault:
    return HostFault(FaultClass.HOST_DISK_FULL, Stage.PULL, f"{root} has less than {bytes_min} bytes free")
