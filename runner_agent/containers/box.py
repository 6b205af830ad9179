"""One container, held for the length of a block: made, started, ended, and removed on every way out.

Removal is shielded from cancellation and has a deadline; what outlives it is found by its label (`sweep`).
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import structlog

from runner_agent.containers.door import Door, Stream
from runner_agent.containers.faults import EngineCallError, EngineRefusedError, EngineSilentError

log = structlog.get_logger(__name__)

# The engine unmounts a container's file system on removal, which waits for the disk.
REMOVE_S_MAX = 60.0
# A process that does not die of SIGKILL in this time waits in the kernel for a device.
DIE_S_MAX = 20.0
# Containers on one bridge do not see each other. Source: docs.docker.com/engine/network/drivers/bridge.
NETWORK_OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}


class Box:
    """A container that exists."""

    def __init__(self, door: Door, container: str) -> None:
        self._door = door
        self._path = f"/containers/{container}"
        self.id = container

    async def output(self, *, silent_s_max: float) -> Stream:
        """Both output streams. Asked for before the start, so that nothing is missed."""
        params = {"stream": 1, "stdout": 1, "stderr": 1}
        return await self._open("/attach", params, silent_s_max)

    async def exit(self, *, silent_s_max: float) -> Stream:
        """An answer that comes when the container ends. Registered before the start, so that no exit is too quick."""
        return await self._open("/wait", {"condition": "next-exit"}, silent_s_max)

    async def start(self) -> None:
        """Start the command. Returns when its process exists."""
        await self._ask("POST", "/start")

    async def kill(self) -> None:
        """Kill everything in it at once. That it has ended by itself meanwhile is as good."""
        try:
            await self._ask("POST", "/kill", params={"signal": "SIGKILL"})
        except EngineRefusedError as error:
            if error.status not in (404, 409):
                raise

    async def inspect(self, *, size: bool = False) -> dict[str, Any]:
        """The engine's whole record of it; with `SizeRw` where the size is asked for, which walks its files."""
        found: dict[str, Any] = await self._ask("GET", "/json", params={"size": int(size)})
        return found

    async def _open(self, path: str, params: dict[str, Any], silent_s_max: float) -> Stream:
        def opened() -> Stream:
            return self._door.open("POST", self._path + path, within_s=silent_s_max, params=params)

        return await self._door.call(opened)

    async def _ask(self, method: str, path: str, **what: Any) -> Any:
        return await self._door.call(lambda: self._door.ask(method, self._path + path, **what))


@contextmanager
def hung_up(stream: Stream) -> Iterator[Stream]:
    """Hang up at the end of the block; a thread that still reads comes back."""
    try:
        yield stream
    finally:
        stream.hang_up()


@asynccontextmanager
async def fresh(door: Door, name: str, body: dict[str, Any]) -> AsyncIterator[Box]:
    """A new container of this name, removed with its volumes at the end of the block."""
    try:
        yield Box(door, await _create(door, name, body))
    finally:
        await _remove(door, f"/containers/{name}", {"force": 1, "v": 1})


@asynccontextmanager
async def network(door: Door, name: str, labels: dict[str, str], *, wanted: bool) -> AsyncIterator[str]:
    """A network for one container alone, removed at the end of the block; `none` where none is wanted."""
    if not wanted:
        yield "none"
        return
    body = {"Name": name, "Driver": "bridge", "Labels": labels, "Options": NETWORK_OPTIONS}
    try:
        await door.make(lambda: door.ask("POST", "/networks/create", json=body))
        yield name
    finally:
        await _remove(door, f"/networks/{name}", {})


async def _create(door: Door, name: str, body: dict[str, Any]) -> str:
    def created() -> str:
        return str(door.ask("POST", "/containers/create", params={"name": name}, json=body)["Id"])

    try:
        return await door.make(created)
    except EngineRefusedError as error:
        if error.status == 409:
            # An earlier creation of the same iteration was given up on, and came through after all.
            await _remove(door, f"/containers/{name}", {"force": 1, "v": 1})
        elif "storage-opt" in str(error).lower():
            # This file system has no quotas. The story sees that none is in force, and watches the disk itself.
            del body["HostConfig"]["StorageOpt"]
        else:
            raise
    return await door.make(created)


async def _remove(door: Door, path: str, params: dict[str, Any]) -> None:
    """Remove, or say in the log what stays behind. Raises nothing: the result at hand is worth more than tidiness."""
    with anyio.move_on_after(REMOVE_S_MAX, shield=True) as limit:
        try:
            await door.call(lambda: door.ask("DELETE", path, params=params))
        except EngineRefusedError as error:
            if error.status != 404 and "already in progress" not in str(error):
                log.warning("removal_failed", path=path, error=str(error))
        except EngineCallError as error:
            log.warning("removal_failed", path=path, error=str(error))
    if limit.cancelled_caught:
        log.warning("removal_failed", path=path, error=f"not done within {REMOVE_S_MAX:.0f} s")


async def await_death(ended: anyio.Event) -> None:
    """Raises `EngineSilentError` where a killed container does not end."""
    with anyio.move_on_after(DIE_S_MAX):
        await ended.wait()
        return
    raise EngineSilentError(f"the container did not end within {DIE_S_MAX:.0f} s of being killed")
