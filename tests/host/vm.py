"""A real Debian host to break: a virtual machine on this one, without KVM and without a network beyond loopback.

Booted it has systemd, cgroup v2, four CPUs, Docker, Podman and a registry, and it forgets everything when it ends.

    @pytest.mark.host
    def test_docker_runs(vm: Machine) -> None:
        assert vm.run("systemctl is-active docker") == Ran(0, "active\n", "")

    vm.sh("CMD")                   its output; raises `GuestError` with both outputs unless it ends with 0
    vm.run("CMD", within_s=90)     code, output and errors of `bash -c CMD`, as root
    vm.push(path, "/root/x")       a file or a folder from here to there; `vm.pull` the other way
    vm.push_project()              this checkout and its dependencies; then `vm.python` can import them
    vm.wait_for("CMD")             until CMD ends with 0
    vm.reboot(), vm.cut_power()    an orderly one, and one that finds what was on the disk

`vm` (tests/host/conftest.py) is one machine for a whole file: leave it as you found it, or take `boot`, which
makes a fresh one. Machines meet over our loopback: one `serves` a port of its own, another `reaches` it at `OUTSIDE`.
Every wait has a limit. The console goes to `vm.console`; an error shows its last lines.
The disk is built once by build_image.sh and kept in .cache/vm under the hash of that recipe; it is never written to.
A second one holds what our packages import.
"""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "vm"
RECIPE = Path(__file__).with_name("build_image.sh")

# An emulated machine on two loaded cores has taken four minutes; a real hang is worth a fifth.
BOOT_S_MAX = 600
BUILD_S_MAX = 3600
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""Of each release."""
SITE = "/root/site"
# Always the same, whatever is on it: a picture remembers the size of every disk.
SITE_BYTES = 2 << 30
PICTURE = "booted"
OUTSIDE = "10.0.2.100"
"""Where a guest finds what it `reaches`."""
IMAGE = "127.0.0.1:5000/hello:1"
MADE_IMAGE = (
    # Debian's registry asks for a password that nobody has set.
    "sed -i '/^auth:/,/^[^ ]/{/^auth:\\|^ /d}' /etc/docker/registry/config.yml && systemctl restart docker-registry && "
    "mkdir -p /root/image/bin && cp /bin/busybox /root/image/bin/ && "
    f"ln -sf busybox /root/image/bin/sh && tar -C /root/image -c . | docker import - {IMAGE} && docker push -q {IMAGE}"
)
"""The command that puts `IMAGE`, a shell and nothing else, into a registry of the guest's own."""
PICTURE_S_MAX = 300


class Ran(NamedTuple):
    """How a command in the guest ended."""

    code: int
    out: str
    err: str


class GuestError(Exception):
    """The guest did not do what the test needs before it can ask anything."""


@dataclass(frozen=True)
class Image:
    """A disk that boots, as build_image.sh leaves it."""

    folder: Path
    site: Path
    """A second disk, with what our packages import."""


NOWHERE = Image(Path(), Path())
Ports = Mapping[int, int]


class Size(NamedTuple):
    """What the guest has."""

    cpus: int
    memory_mib: int
    words: str = ""
    """On the kernel's command line, beside the usual ones."""


def image(suite: str) -> Image:
    """The disk of one Debian release; built when the recipe has changed. One builder at a time, others wait for it."""
    key = hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{suite}-{key}"
    with _locked(suite):
        if not folder.exists():
            for old in CACHE.glob(f"{suite}-*"):
                shutil.rmtree(old)
            progress(f"building the disk of {suite}; this is done once")
            subprocess.run([RECIPE, suite, folder], check=True, timeout=BUILD_S_MAX)
    return Image(folder, dependencies(PYTHONS[suite]))


@dataclass
class Machine:
    """One running virtual machine."""

    image: Image
    folder: Path
    """Sockets, console and logs of this run."""
    port: int
    process: subprocess.Popen[bytes]
    master: subprocess.Popen[bytes] | None = field(default=None)
    python: str = "python3"

    @property
    def console(self) -> str:
        """Everything the guest has printed to its serial line."""
        return (self.folder / "console").read_text(errors="replace")

    def run(self, command: str, *, within_s: float = 120, stdin: bytes | None = None) -> Ran:
        """Run `bash -c command` as root. Raises `GuestError` when it takes longer."""
        # `timeout` ends what runs in the guest; the limit on this side is for a guest that does not answer at all.
        remote = f"exec timeout --kill-after=5 {within_s:.0f} bash -c {shlex.quote(command)}"
        try:
            done = subprocess.run(
                self._ssh(remote), input=stdin or b"", capture_output=True, timeout=within_s + 60, check=False
            )
        except subprocess.TimeoutExpired:
            raise self._lost(f"no answer within {within_s:.0f} s: {command}") from None
        ran = Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if ran.code == 124:
            raise self._lost(f"not done within {within_s:.0f} s: {command}\n{ran.out}{ran.err}")
        return ran

    def open(self, command: str) -> subprocess.Popen[str]:
        """A command that goes on, with pipes to its input and output. A context manager, which waits for its end."""
        remote = f"exec bash -c {shlex.quote(command)}"
        return subprocess.Popen(self._ssh(remote), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def sh(self, command: str, *, within_s: float = 120) -> str:
        """The output of a command that has to succeed."""
        ran = self.run(command, within_s=within_s)
        if ran.code != 0:
            raise GuestError(f"{command}: ended with {ran.code}\n{ran.out}{ran.err}")
        return ran.out

    def wait_for(self, command: str, *, within_s: float = 120, every_s: float = 0.5) -> str:
        """Ask again until the command ends with 0, and give its output."""
        deadline = time.monotonic() + within_s
        while (ran := self.run(command, within_s=within_s)).code != 0:
            if time.monotonic() > deadline:
                raise self._lost(f"never came true within {within_s:.0f} s: {command}\n{ran.out}{ran.err}")
            time.sleep(every_s)
        return ran.out

    def push(self, here: Path, there: str) -> None:
        """Copy a file or a folder into the guest, to exactly that name."""
        base, name = os.path.split(there.rstrip("/"))
        pack = ["tar", "-C", str(here.parent), "--exclude=__pycache__", f"--transform=s,^{here.name},{name},S"]
        packed = subprocess.run([*pack, "-cf", "-", here.name], capture_output=True, check=True).stdout
        unpack = f"mkdir -p {shlex.quote(base)} && tar -C {shlex.quote(base)} --no-same-owner -xf -"
        ran = self.run(unpack, within_s=300, stdin=packed)
        if ran.code != 0:
            raise GuestError(f"{here} could not be copied to {there}: {ran.err}")

    def write(self, there: str, text: str) -> None:
        """Make a file in the guest."""
        ran = self.run(f"mkdir -p $(dirname {there}) && cat > {there}", stdin=text.encode())
        if ran.code != 0:
            raise GuestError(f"{there} could not be written: {ran.err}")

    def pull(self, there: str, here: Path) -> None:
        """Copy one file out of the guest."""
        done = subprocess.run(self._ssh(f"cat {shlex.quote(there)}"), capture_output=True, timeout=300, check=False)
        if done.returncode != 0:
            raise GuestError(f"{there} could not be copied: {done.stderr.decode()}")
        here.write_bytes(done.stdout)

    def push_project(self) -> None:
        """This checkout's packages and tests in /root/project, their dependencies in /root/site (read-only)."""
        if self.run(f"mountpoint -q {SITE}").code != 0:
            line = f"/dev/vdb {SITE} ext4 ro,nofail 0 0"  # In fstab: it is there after a reboot as well.
            self.sh(f"mkdir -p {SITE} && echo '{line}' >> /etc/fstab && mount {SITE}")
        for name in ("runner_protocol", "runner_agent", "server_stub", "tests", "pyproject.toml"):
            self.push(PROJECT / name, f"/root/project/{name}")
        self.python = f"PYTHONPATH=/root/project:{SITE} python3"

    def reboot(self) -> None:
        """An orderly reboot, as an owner makes it. Returns when the guest is up again."""
        self._start_again(lambda: self.run("systemctl reboot --no-wall"))

    def cut_power(self) -> None:
        """The reset button: nothing is told, nothing is flushed. Returns when the guest is up again."""
        self._start_again(lambda: self._monitor("system_reset"))

    def take_picture(self) -> None:
        """Keep the machine as it is now in its disk's file, and end it."""
        self.sh("sync")
        self._hang_up()
        self._monitor("human-monitor-command", **{"command-line": f"savevm {PICTURE}"})
        self.kill()

    def kill(self) -> None:
        """End the machine, at once."""
        self._hang_up()
        self.process.kill()
        self.process.wait()

    def wait_until_up(self) -> None:
        """Until every unit that starts with the machine has started. Raises `GuestError` after `BOOT_S_MAX`."""
        deadline = time.monotonic() + BOOT_S_MAX
        while not self._connect():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise self._lost(f"the machine did not come up within {BOOT_S_MAX} s")
            time.sleep(1)
        self.run("systemctl is-system-running --wait", within_s=BOOT_S_MAX)

    def _start_again(self, push_button: Callable[[], object]) -> None:
        before = self.sh("cat /proc/sys/kernel/random/boot_id")
        push_button()
        began = time.monotonic()
        self._hang_up()
        self.wait_until_up()
        while self.sh("cat /proc/sys/kernel/random/boot_id") == before:  # We were faster than its shutdown.
            if time.monotonic() - began > BOOT_S_MAX:
                raise self._lost("the machine did not go down")
            self._hang_up()
            time.sleep(1)
            self.wait_until_up()
        progress(f"up again after {time.monotonic() - began:.0f} s")

    def _connect(self) -> bool:
        """Open the one connection that every command shares, and see whether a command gets through."""
        if self.master is None or self.master.poll() is not None:
            command = self._ssh("", "-M", "-N", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")[:-1]
            with (self.folder / "ssh.log").open("ab") as log:
                self.master = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(25):
            if (self.folder / "ssh").exists() or self.master.poll() is not None:
                break
            time.sleep(1)
        check = subprocess.run(self._ssh("", "-O", "check")[:-1], capture_output=True, timeout=30, check=False)
        return check.returncode == 0

    def _hang_up(self) -> None:
        if self.master is not None:
            self.master.kill()
            self.master.wait()
            self.master = None
        (self.folder / "ssh").unlink(missing_ok=True)

    def _ssh(self, remote: str, *options: str) -> list[str]:
        settings = {
            "BatchMode": "yes",
            "ControlPath": self.folder / "ssh",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
        }
        options += tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))
        key = ["-F", "none", "-i", str(self.image.folder / "id_ed25519"), "-p", str(self.port)]
        return ["ssh", *key, *options, "root@127.0.0.1", remote]

    def _monitor(self, command: str, **arguments: str) -> None:
        """One command to qemu itself (QMP over its socket)."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(PICTURE_S_MAX)
            door.connect(str(self.folder / "qmp"))
            lines = door.makefile("rw")
            for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(order) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    if "error" in answer:
                        raise GuestError(f"{command}: {answer['error']['desc']}")
                if answer["return"]:  # The old monitor prints what went wrong and calls it a success.
                    raise GuestError(f"{command}: {answer['return']}")

    def _lost(self, what: str) -> GuestError:
        tail = "\n".join(self.console.splitlines()[-25:])
        return GuestError(f"{what}\n--- the end of the console ---\n{tail}")


class Doors(NamedTuple):
    """What of the guest is open on our loopback, and what of our loopback to the guest."""

    serves: Ports = MappingProxyType({})
    """The guest's port to ours."""
    reaches: Ports = MappingProxyType({})
    """The port of `OUTSIDE` to ours."""

    def options(self) -> str:
        """As qemu's user network takes them."""
        into = [f",hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for theirs, ours in self.serves.items()]
        # One process for each connection: qemu's own forwarding outwards holds one connection and no more.
        out_of = [
            f",guestfwd=tcp:{OUTSIDE}:{theirs}-cmd:busybox nc 127.0.0.1 {ours}" for theirs, ours in self.reaches.items()
        ]
        return "".join(into + out_of)


CLOSED = Doors()


@contextmanager
def boot(
    suite: str = "bookworm", *, cpus: int = 4, memory_mib: int = 3072, words: str = "", doors: Doors = CLOSED
) -> Iterator[Machine]:
    """A fresh machine, up, for the length of the block. `words`: more of them for its kernel.

    It wakes from a picture that was taken of one that had just booted: seconds instead of minutes.
    """
    size = Size(cpus, memory_mib, words)
    disk = image(suite)
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/var/tmp") as name:
        fresh = Path(name) / "disk.qcow2"
        shutil.copy(_picture(disk, size), fresh)
        # It knows the disk below it by the path of the day it was taken; the cache may have moved since.
        subprocess.run(["qemu-img", "rebase", "-u", *_on(disk), fresh], check=True)
        with _running(disk, Path(name), size, doors, "-loadvm", PICTURE) as machine:
            # The picture's clock stands where it was taken.
            machine.sh(f"date -s @{time.time():.0f}")
            yield machine


def _picture(disk: Image, size: Size) -> Path:
    """A disk with the memory of a machine that has just booted from it. Taken once for each machine."""
    # One with other parts, or by another qemu, would not wake.
    parts = [subprocess.check_output(["qemu-system-x86_64", "--version"]), _qemu(NOWHERE, Path(), 0, size, CLOSED)]
    kept = disk.folder / f"booted-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}.qcow2"
    with _locked(kept.name), tempfile.TemporaryDirectory(prefix="vm-", dir="/var/tmp") as name:
        if not kept.exists():
            progress("booting for the first time; later machines wake from a picture of this one")
            fresh = Path(name) / "disk.qcow2"
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *_on(disk), fresh], check=True)
            with _running(disk, Path(name), size, CLOSED) as machine:
                machine.take_picture()
            shutil.copy(fresh, kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)
    return kept


def _on(disk: Image) -> list[str]:
    """As qemu-img takes the disk that is below another."""
    return ["-b", str(disk.folder / "disk.raw"), "-F", "raw"]


@contextmanager
def _running(disk: Image, folder: Path, size: Size, doors: Doors, *more: str) -> Iterator[Machine]:
    """A machine on `folder`/disk.qcow2, from the moment it is up to its end."""
    port = free_port()
    began = time.monotonic()
    with (folder / "qemu.log").open("wb") as log:
        command = [*_qemu(disk, folder, port, size, doors), *more]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    machine = Machine(disk, folder, port, process)
    try:
        machine.wait_until_up()
        progress(f"up after {time.monotonic() - began:.0f} s")
        yield machine
    finally:
        machine.kill()
        # Where continuous integration keeps what a failed run leaves behind.
        with suppress(OSError):
            shutil.copy(folder / "console", CACHE / "console.log")


def _qemu(disk: Image, folder: Path, port: int, size: Size, doors: Doors) -> list[str]:
    words = f"root=/dev/vda rw console=ttyS0 systemd.show_status=1 apparmor=1 security=apparmor {size.words}"
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max"),
        *("-smp", str(size.cpus), "-m", str(size.memory_mib), "-display", "none", "-no-user-config"),
        *("-kernel", str(disk.folder / "vmlinuz"), "-initrd", str(disk.folder / "initrd.img"), "-append", words),
        *("-drive", f"file={folder / 'disk.qcow2'},format=qcow2,if=virtio,cache=unsafe"),
        *("-drive", f"file={disk.site},format=raw,if=virtio,readonly=on"),
        *("-serial", f"file:{folder / 'console'}", "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
        # `restrict` keeps the guest from every address but those behind its doors; ours reaches its ssh.
        *(
            "-netdev",
            f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22{doors.options()}",
            "-device",
            "virtio-net-pci,netdev=net",
        ),
        *("-device", "virtio-rng-pci"),
    ]


@contextmanager
def _locked(what: str) -> Iterator[None]:
    """One maker at a time; the others wait for it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """One of our loopback's that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dependencies(python: str) -> Path:
    """What our packages import, for one version of Python, as a disk. Made once, then kept."""
    key = hashlib.sha256(repr(_requirements()).encode()).hexdigest()[:12]
    disk = CACHE / f"site-{python}-{key}.raw"
    with _locked(f"site-{python}"):
        if not disk.exists():
            progress(f"collecting the dependencies for Python {python}")
            with tempfile.TemporaryDirectory(dir=CACHE) as made:
                pip = [sys.executable, "-m", "pip", "install", "-qq", "--only-binary=:all:", "--python-version", python]
                subprocess.run([*pip, "--target", made, *_requirements()], check=True, timeout=BUILD_S_MAX)
                _write_disk(Path(made), disk)
    return disk


def _write_disk(folder: Path, disk: Path) -> None:
    fresh = disk.with_suffix(".new")
    with fresh.open("wb") as file:
        file.truncate(SITE_BYTES)
    # A copied file keeps its time, so the compiled modules beside it stay good.
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", folder, fresh], check=True)
    fresh.rename(disk)


def _requirements() -> list[str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["agent"], *extras["server"], "pytest"]


def progress(line: str) -> None:
    """A line for whoever waits."""
    print(f"  vm: {line}", flush=True)
