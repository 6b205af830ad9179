"""What the host's owner grants a container and the image cache, as plain values. Decides nothing, reads nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The terms on which a `DockerEngine` works. Sizes are bytes, times seconds."""

    identity: str
    """Names this runner on its engine: every container and network bears it, and only its own are ever removed."""
    docker_host: str | None = None
    """Such as `unix:///run/docker.sock`; none: the engine's usual socket."""
    state_dir: Path | None = None
    """Where the ledger of pulled images lies. None: the ledger is in memory, and what was pulled before is not ours."""
    cache_bytes_max: int = 20 * GIB
    """Of images that this runner pulled, by the engine's own account of their size."""
    disk_free_bytes_min: int = 2 * GIB
    """Of the engine's file system. Below it nothing is pulled, and a container that gets there is killed."""
    local_images: bool = False
    """Whether an image that no registry offers may run from the engine's own store. For `exec`, never for a daemon."""
    mirror: str | None = None
    """`host:port` or `host:port/prefix`, asked first for every image; the origin is asked where it fails."""
    docker_config: Path | None = None
    """The owner's Docker config with registry credentials and helpers; none: the usual place of the agent's user."""
    stall_s_max: float = 60.0
    """A pull in which nothing arrives for so long is broken off and tried again."""
    sandboxes: Mapping[str, str] = field(default_factory=dict)
    """From a spec's `sandbox` to the engine runtime that provides it, such as `{"gvisor": "runsc"}`."""
    pids_max: int = 4096
    """Processes and threads of one container."""
    nofile_max: int = 16384
    """Open files of one process. Not above the engine's own limit, which it may be unable to raise."""
    shm_bytes: int = 64 * MIB
    """Size of `/dev/shm`. It counts as the container's memory too."""
    log_driver: str = "none"
    """The engine's own log of a container's output. It is read as it comes, so that nothing needs to be kept."""
    file_bytes_max: int = 25 * MIB
    """Of one collected file."""
    files_max: int = 1000
    """Collected from one iteration."""
    scan_bytes_max: int = GIB
    """Read through for one directory or pattern. A single file of any size is asked for by its own name, at no cost."""
    scan_entries_max: int = 100_000
    """Looked at for one directory or pattern."""
    call_s_max: float = 60.0
    """For any single answer of the engine, start and removal of a container included."""
