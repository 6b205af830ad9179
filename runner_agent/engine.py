"""The seam to the container engine: what the story of a job asks of it, as records and one protocol.

`containers/` keeps the promise with Docker; tests keep it with a fake, and one suite runs over both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from runner_agent.bench import Bench
from runner_protocol.jobs import Limits, RegistryAuth, Spec
from runner_protocol.results import IterationRecord, Variant

PullProgress = Callable[[float | None, str], None]
"""Told the fraction of the bytes that have arrived (none while unknown) and one line for a person."""

OutputTail = Callable[[str], None]
"""Told the last lines of output, bounded, now and then; never from a benchmark CPU."""


PODMAN = "Podman"


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine says of itself."""

    name: str
    """`PODMAN`, or whatever one that is none calls itself."""
    version: str
    api_version: str
    cgroup_driver: str
    """`systemd` or `cgroupfs`."""
    cgroup_version: int
    storage_driver: str
    root_dir: str
    runtimes: frozenset[str]
    default_runtime: str
    security: frozenset[str]
    """Such as `apparmor`, `seccomp`, `userns`."""
    architecture: str
    """By the public API's names: `x86_64`, `aarch64`."""
    cached_images: int = 0
    cached_bytes: int = 0
    """Of the images on it, those that this runner has pulled."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on this host, pinned."""

    reference: str
    """As the job named it."""
    id: str
    """The engine's own id: what containers are created from."""
    digest: str
    """`sha256:…` of the manifest that was resolved."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IterationOrder:
    """One run of one container: everything that its creation needs, decided."""

    job: str
    attempt: int
    number: int
    image: Image
    spec: Spec
    limits: Limits
    within_s: float
    variant: Variant = Variant.CANDIDATE
    warm_up: bool = False
    repeats: int | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: dict[str, str] = field(default_factory=dict)
    file_paths: tuple[str, ...] = ()
    file_contents: bool = True
    """False: only names and sizes are fetched (`file_size`)."""

    @property
    def program(self) -> str:
        """The first word of what is run. An entrypoint of the job's drops the image's command."""
        entrypoint = self.image.entrypoint if self.entrypoint is None else self.entrypoint
        cmd = self.image.cmd if self.cmd is None and self.entrypoint is None else self.cmd or ()
        return next(iter((*entrypoint, *cmd)), "")


class Engine(Protocol):
    """The container engine. Raises `HostFault` where it fails itself, `JobFault` where the job asks the impossible."""

    async def facts(self) -> EngineFacts:
        """Ask the engine what it is. Raises `HostFault(engine_unavailable)` where none answers."""
        ...

    async def pull(
        self, reference: str, *, auth: RegistryAuth | None, spec: Spec, within_s: float, progress: PullProgress
    ) -> Image:
        """Resolve `reference` to a digest for this host's platform and fetch it once, by digest."""
        ...

    async def run(self, order: IterationOrder, bench: Bench, tail: OutputTail) -> IterationRecord:
        """Run a fresh container to its end, whatever the end is, and leave nothing of it behind.

        The job's own failures (exit code, timeout, …) come back as the record's `fault`. Cancelling the call kills the
        container and removes it before the cancellation goes on.
        """
        ...

    async def sweep(self, *, keep_job: str | None = None) -> int:
        """Remove every container, network and volume that bears this runner's label; tell how many."""
        ...
