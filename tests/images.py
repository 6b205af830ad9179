"""OCI images made here, from this machine's own static busybox and perl: layers, manifests and indexes as bytes.

No engine and no network takes part, so an image can be as wrong as a test wants it: another platform, a layer that is
not a tar, a manifest that promises another digest. `registry.Registry.push` puts one where an engine can pull it.
"""

import gzip
import hashlib
import io
import json
import platform
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbench:x:1000:1000:bench:/work:/bin/sh\n"


@dataclass(frozen=True)
class OciImage:
    """One image for one platform: everything that a registry keeps of it."""

    layers: tuple[bytes, ...]
    config: dict[str, Any] = field(default_factory=dict)
    architecture: str = ARCHITECTURE

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """What the manifest names."""
        return (*self.layers, self._config)

    @property
    def manifest(self) -> bytes:
        """The manifest, as it is stored."""
        layers = [_descriptor(LAYER, layer) for layer in self.layers]
        config = _descriptor(CONFIG, self._config)
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()

    @property
    def digest(self) -> str:
        """By which it is pulled."""
        return digest(self.manifest)

    @property
    def _config(self) -> bytes:
        diff_ids = [digest(_unpacked(layer)) for layer in self.layers]
        about = {"os": "linux", "architecture": self.architecture, "config": self.config}
        return json.dumps({**about, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def image(*extra_layers: bytes, **config: Any) -> OciImage:
    """A small system with a shell: busybox, its applets, perl, a user `bench` and its `/work`."""
    return OciImage((system(), *extra_layers), {"Env": ["PATH=/bin"], "WorkingDir": "/work", **config})


def index(*images: OciImage) -> bytes:
    """An image index over images of several platforms."""
    manifests = [
        {**_descriptor(MANIFEST, one.manifest), "platform": {"os": "linux", "architecture": one.architecture}}
        for one in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()


@cache
def system() -> bytes:
    """The layer under every test image."""
    busybox = Path("/bin/busybox").read_bytes()
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    with _Packing() as pack:
        for name, mode, owner in (("bin", 0o755, 0), ("etc", 0o755, 0), ("tmp", 0o1777, 0), ("work", 0o1777, 1000)):
            pack.directory(name, mode, owner)
        pack.file("bin/busybox", busybox, 0o755)
        pack.file("etc/passwd", PASSWD)
        for applet in sorted(set(applets) - {"busybox"}):
            pack.link(f"bin/{applet}", "busybox")
        for path in ("/usr/bin/perl", *_libraries("/usr/bin/perl")):
            pack.file(path.lstrip("/") if "lib" in path else "bin/perl", Path(path).read_bytes(), 0o755)
    return pack.packed


def layer(files: dict[str, bytes]) -> bytes:
    """A layer with these files."""
    with _Packing() as pack:
        for name, content in files.items():
            pack.file(name, content)
    return pack.packed


def devices(nodes: dict[str, tuple[int, int]]) -> bytes:
    """A layer with these block devices, by major and minor number."""
    with _Packing() as pack:
        for name, numbers in nodes.items():
            pack.device(name, *numbers)
    return pack.packed


def digest(blob: bytes) -> str:
    """Its name in a registry."""
    return "sha256:" + hashlib.sha256(blob).hexdigest()


class _Packing:
    """A gzipped tar in the making. Its bytes depend on nothing but what is put in."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115 - closed at the end of our own block
        self.packed = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()
        self.packed = gzip.compress(self._file.getvalue(), compresslevel=1, mtime=0)

    def file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        entry = self._entry(name, tarfile.REGTYPE, mode)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))

    def device(self, name: str, major: int, minor: int) -> None:
        """A block device that anybody may open."""
        entry = self._entry(name, tarfile.BLKTYPE, 0o666)
        entry.devmajor, entry.devminor = major, minor
        self._tar.addfile(entry)

    def directory(self, name: str, mode: int, owner: int) -> None:
        """A directory."""
        entry = self._entry(name, tarfile.DIRTYPE, mode)
        entry.uid = entry.gid = owner
        self._tar.addfile(entry)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        entry = self._entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._tar.addfile(entry)

    def _entry(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = kind, mode
        return entry


def _libraries(program: str) -> list[str]:
    """The shared objects that a program of this host loads, and its loader."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S*lib\S*)", said)


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def _unpacked(packed: bytes) -> bytes:
    """A layer that is no gzip is named by what it is; no engine will come so far as to compare."""
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError):
        return packed
