"""Fetches result files out of a stopped container, through the engine's archive API alone.

Never walks a path of the host: the engine resolves names inside the container's own root, so no link leads out.
Only regular files come; links below a directory, devices, FIFOs and sockets are refused or passed over by name.
Every bound is in `Bounds`.
"""

import io
import tarfile
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from runner_agent.containers import files
from runner_agent.containers.door import Door, Stream
from runner_agent.containers.faults import EngineRefusedError, EngineSilentError
from runner_protocol.results import CollectedFile, Fault, FaultClass, Stage

# For one directory or pattern.
SCAN_S_MAX = 120.0
# The engine resolves a whole chain of links at once; a second hop is a link that changed, a third is a game.
HOPS_MAX = 3
READ_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept of one iteration's files."""

    total_bytes_max: int
    file_bytes_max: int
    files_max: int
    scan_bytes_max: int
    scan_entries_max: int
    contents: bool
    """False: names and sizes only."""


@dataclass(slots=True)
class Haul:
    """What came, and the first thing that did not."""

    files: list[CollectedFile] = field(default_factory=list)
    fault: Fault | None = None


class NotCollectedError(Exception):
    """A wanted file cannot be had, for a reason to report."""

    def __init__(self, kind: FaultClass, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Collector:
    """One container's files. Blocking; runs in a worker thread."""

    def __init__(self, door: Door, container: str, bounds: Bounds) -> None:
        self._door = door
        self._container = container
        self._bounds = bounds
        self._left = bounds.total_bytes_max
        self._seen: set[str] = set()
        self._haul = Haul()

    def collect(self, wants: list[files.Want]) -> Haul:
        """Fetch all of them. One that cannot be had is named in the fault and does not cost the others."""
        for want in wants:
            try:
                self._fetch(want)
            except NotCollectedError as error:
                self._miss(want, error.kind, str(error))
            except (tarfile.TarError, EngineSilentError):
                # An engine that is there, and broke off, met a file that it cannot pack. One that is gone says so here.
                self._door.ask("GET", "/version")
                self._miss(want, FaultClass.FILE_REFUSED, "the engine could not pack it")
        return self._haul

    def _miss(self, want: files.Want, kind: FaultClass, why: str) -> None:
        fault = Fault(kind=kind, stage=Stage.COLLECT, message=f"{want.asked}: {why}")
        self._haul.fault = self._haul.fault or fault

    def _fetch(self, want: files.Want) -> None:
        path, mode, size = self._resolve(want.path)
        if mode & files.GO_DIRECTORY:
            self._scan(want, path)
        elif want.pattern:
            raise NotCollectedError(FaultClass.FILE_MISSING, f"{want.path} is no directory")
        else:
            self._single(want.path, path, size)

    def _resolve(self, path: str) -> tuple[str, int, int]:
        """Where a path leads inside the container: (path, mode, size)."""
        for _ in range(HOPS_MAX):
            found = self._stat(path)
            if not found["mode"] & files.GO_SYMLINK:
                odd = files.odd_kind(found["mode"])
                if odd is not None:
                    raise NotCollectedError(FaultClass.FILE_REFUSED, f"is {odd}, not a file or directory")
                return path, found["mode"], found["size"]
            path = found["linkTarget"]
        raise NotCollectedError(FaultClass.FILE_REFUSED, "is a link that leads in circles")

    def _stat(self, path: str) -> dict[str, Any]:
        try:
            return self._door.stat(self._container, path)
        except EngineRefusedError as error:
            raise NotCollectedError(FaultClass.FILE_MISSING, "does not exist in the container") from error

    def _single(self, name: str, path: str, size: int) -> None:
        if not self._bounds.contents:
            self._keep(name, size, None)
            return
        with closing(self._members(path)) as members:
            tar, member = next(members)
            self._keep(name, member.size, self._content(tar, member))

    def _scan(self, want: files.Want, root: str) -> None:
        """A directory, or what matches in it. Links inside are passed over: they name what stands elsewhere."""
        matched, linked = 0, []
        with closing(self._members(root)) as members:
            for entries, (tar, member) in enumerate(members):
                if entries > self._bounds.scan_entries_max:
                    bound = f"more than {self._bounds.scan_entries_max} entries in {root}"
                    raise NotCollectedError(FaultClass.FILE_REFUSED, bound)
                path = want.path.rstrip("/") + "/" + member.name.partition("/")[2]
                if not (member.isreg() or member.islnk()) or not want.matches(path):
                    continue
                matched += 1
                if member.islnk():
                    linked.append(path)
                else:
                    self._keep(path, member.size, self._content(tar, member) if self._bounds.contents else None)
        for path in linked:
            # A second name of a file has no content of its own in an archive; by itself it has.
            self._fetch(files.Want(asked=path, path=path))
        if want.pattern and not matched:
            raise NotCollectedError(FaultClass.FILE_MISSING, "no file in the container matches")

    def _keep(self, path: str, size: int, content: bytes | None) -> None:
        if path in self._seen:
            return
        if len(self._seen) >= self._bounds.files_max:
            raise NotCollectedError(FaultClass.FILE_REFUSED, f"more than {self._bounds.files_max} files")
        self._seen.add(path)
        self._left -= len(content or b"")
        self._haul.files.append(files.collected(path, size, content))

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        """As much of a file as may still be kept."""
        opened = tar.extractfile(member)
        if opened is None:
            return b""
        return opened.read(min(member.size, self._bounds.file_bytes_max, self._left))

    def _members(self, path: str) -> Generator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """The entries of an archive as they arrive. Hangs up when the reader has seen enough."""
        try:
            stream = self._door.open("GET", f"/containers/{self._container}/archive", params={"path": path})
        except EngineRefusedError as error:
            raise NotCollectedError(FaultClass.FILE_REFUSED, f"the engine does not hand it out: {error}") from error
        try:
            metered = Metered(stream, self._bounds)
            with tarfile.open(fileobj=metered, mode="r|", bufsize=READ_BYTES, errors="surrogateescape") as tar:
                while (member := tar.next()) is not None:
                    yield tar, member
                    # The module would keep every header for a second reading that never comes.
                    tar.members = []  # type: ignore[attr-defined]  # CPython has it; the stubs do not.
        finally:
            stream.hang_up()


class Metered(io.RawIOBase):
    """A stream that ends in an error when it has cost too much."""

    def __init__(self, stream: Stream, bounds: Bounds) -> None:
        super().__init__()
        self._stream = stream
        self._bytes_max = self._left = bounds.scan_bytes_max
        self._until = time.monotonic() + SCAN_S_MAX

    def read(self, size: int = -1, /) -> bytes:
        """As the stream has it. Raises `NotCollectedError` past a bound."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            bound = f"more than {self._bytes_max} bytes there; name the file itself"
            raise NotCollectedError(FaultClass.FILE_REFUSED, bound)
        if time.monotonic() > self._until:
            raise NotCollectedError(FaultClass.FILE_REFUSED, f"took longer than {SCAN_S_MAX:.0f} s")
        return data
