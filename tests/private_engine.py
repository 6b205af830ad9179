"""A container engine of our own: one that a test may stop, kill and start again without harm to any other.

`dockerd` and a `containerd` beside it, as distributions run them, with data and sockets under one directory, a bridge
of its own and no firewall rules. Containers outlive a killed `dockerd`, as they do there. Needs root.
"""

import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import leftovers

START_S_MAX = 60.0


@dataclass
class PrivateEngine:
    """One engine and what it takes to start it again."""

    directory: Path
    config: str = "{}"
    """Its `daemon.json`."""
    process: subprocess.Popen[bytes] = field(init=False)
    containerd: subprocess.Popen[bytes] = field(init=False)
    bridge: str = field(init=False)
    mounts: int = field(init=False)
    sockets: Path = field(init=False)
    """Where its sockets are: their names have to be short, whatever folder a test runs in."""

    def __post_init__(self) -> None:
        """Start what outlives the engine."""
        self.mounts = self.mounts_on_data()
        self.sockets = Path(tempfile.mkdtemp(prefix=f"engine-{leftovers.MARK}-"))
        # A bridge of its own: with `--bridge none` an engine deletes `docker0`, which is another engine's.
        self.bridge = f"br-{uuid.uuid4().hex[:8]}"
        subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True)
        at = self.directory
        (at / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        places: list[str | Path] = [
            "--root",
            at / "containerd-root",
            "--state",
            at / "containerd-state",
            "--address",
            self._socket,
        ]
        command = ["containerd", "--config", at / "containerd.toml", *places]
        with (at / "log").open("ab") as log:
            self.containerd = subprocess.Popen(command, stdout=log, stderr=log)

    def mounts_on_data(self) -> int:
        """How many lie on its data, one over the other."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return sum(line.split()[4] == str(self.directory / "data") for line in lines)

    @property
    def _socket(self) -> Path:
        return self.sockets / "containerd.sock"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{self.sockets / 'engine.sock'}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        at = self.directory
        options = {
            "--config-file": at / "daemon.json",
            "--data-root": at / "data",
            "--exec-root": self.sockets / "exec",
            "--pidfile": at / "pid",
            "--host": self.url,
            "--containerd": self._socket,
            "--bridge": self.bridge,
        }
        (at / "daemon.json").write_text(self.config)
        (at / "pid").unlink(missing_ok=True)
        flags = [str(part) for option in options.items() for part in option]
        with (at / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["dockerd", *flags, "--iptables=false", "--ip6tables=false"], stdout=log, stderr=log
            )
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while subprocess.run(["docker", "-H", self.url, "version"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline and self.process.poll() is None, (self.directory / "log").read_text()
            time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the engine alone: its containers and its containerd go on."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a power cut for the engine alone."""
        self.process.kill()
        self.process.wait()

    def docker(self, *arguments: str) -> str:
        """What the command line of this engine prints."""
        command = ["docker", "-H", self.url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def load(self, tag: str, layer: bytes) -> None:
        """Put an image of one layer on it, without a registry."""
        command = ["docker", "-H", self.url, "import", "--change", "ENV PATH=/bin", "-", tag]
        subprocess.run(command, input=layer, check=True, capture_output=True, timeout=60)

    def containers(self) -> list[str]:
        """Every container on it, running or not."""
        return self.docker("ps", "--all", "--quiet").split()


@contextmanager
def private_engine(directory: Path, config: str = "{}") -> Iterator[PrivateEngine]:
    """An engine for the length of the block; nothing of it is left."""
    engine = PrivateEngine(directory, config)
    engine.start()
    try:
        yield engine
    finally:
        _end(engine)
        # One that remaps user ids puts a folder with their numbers beside.
        for folder in (directory, engine.sockets, *engine.sockets.parent.glob(f"{engine.sockets.name}.*")):
            shutil.rmtree(folder, ignore_errors=True)


def _end(engine: PrivateEngine) -> None:
    """Whatever state a test has left it in."""
    if engine.process.poll() is not None:
        engine.start()  # It alone knows how to remove the containers of its predecessor.
    engine.signal(signal.SIGCONT)
    for container in engine.containers():
        engine.docker("rm", "--force", container)
    for process in (engine.process, engine.containerd):
        process.terminate()
        process.wait(timeout=60)
    # The engine mounts its data on itself, to keep its own mounts private, and a killed one leaves that behind. What
    # lay there before it is somebody else's.
    for _ in range(engine.mounts_on_data() - engine.mounts):
        subprocess.run(["umount", "--lazy", engine.directory / "data"], check=True)
    subprocess.run(["ip", "link", "delete", engine.bridge], check=True)
