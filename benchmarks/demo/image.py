"""Builds the demo's image: hyperfine and busybox from Debian's packages on an empty root, nothing from a registry.

The image measures something real: how long busybox takes to sort and to hash the same 20,000 numbers.
"""

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGES = ("hyperfine", "busybox-static", "libc6", "libgcc-s1")
LINES = 20_000

DOCKERFILE = """\
FROM scratch
COPY root/ /
ENTRYPOINT ["/usr/bin/hyperfine"]
CMD ["--shell=none", "--warmup=3", "--runs=15", "--export-json=/tmp/hyperfine.json", \
"--command-name=sort", "/bin/busybox sort -n /data/numbers", \
"--command-name=sha256", "/bin/busybox sha256sum /data/numbers"]
"""
RESULT_PATH = "/tmp/hyperfine.json"
LIBRARY_FOLDERS = {"x86_64": "lib/x86_64-linux-gnu", "aarch64": "lib/aarch64-linux-gnu"}


def build(tag: str, cache: Path) -> None:
    """Build and tag the image in the local engine. Downloaded packages stay in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-image-") as folder:
        context = Path(folder)
        _fill(context / "root", _packages(cache))
        (context / "Dockerfile").write_text(DOCKERFILE)
        # The classic builder needs no plugin; BuildKit, where it is the default, builds the same file.
        subprocess.run(["docker", "build", "--quiet", "--tag", tag, folder], check=True, capture_output=True)


def _packages(cache: Path) -> list[Path]:
    """The packages' files, fetched by apt once."""
    missing = [name for name in PACKAGES if not list(cache.glob(f"{name}_*.deb"))]
    if missing:
        if shutil.which("apt-get") is None:
            raise SystemExit("the demo's image is made of Debian packages: it needs apt-get (Debian or Ubuntu)")
        # In a folder of its own: apt's download user may not write into ours, and says so at length.
        subprocess.run(["apt-get", "download", "-qq", *missing], cwd=cache, check=True, stderr=subprocess.DEVNULL)
    return [next(iter(sorted(cache.glob(f"{name}_*.deb")))) for name in PACKAGES]


def _fill(root: Path, packages: list[Path]) -> None:
    """Lay out the smallest root that runs hyperfine: two programs, the C library, a working /tmp and the data."""
    unpacked = root.parent / "unpacked"
    for package in packages:
        subprocess.run(["dpkg-deb", "--extract", str(package), str(unpacked)], check=True)
    _copy(unpacked / "usr/bin/hyperfine", root / "usr/bin/hyperfine")
    _copy(_first(unpacked, "bin/busybox", "usr/bin/busybox"), root / "bin/busybox")
    libraries = LIBRARY_FOLDERS[platform.machine()]
    source = _first(unpacked, libraries, f"usr/{libraries}")
    for library in ("libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2"):
        _copy(source / library, root / libraries / library)
    for loader in source.glob("ld-linux*"):
        interpreter = root / ("lib64" if platform.machine() == "x86_64" else "lib") / loader.name
        _copy(loader, interpreter)
    for empty in ("tmp", "dev", "proc", "sys", "etc"):
        (root / empty).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "data").mkdir()
    # A fixed walk through all residues: the same shuffled numbers on every machine.
    numbers = (str(index * 7_919 % LINES) for index in range(LINES))
    (root / "data" / "numbers").write_text("\n".join(numbers) + "\n")


def _first(root: Path, *paths: str) -> Path:
    """The first of several places where Debian's releases put a thing."""
    return next(root / path for path in paths if (root / path).exists())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
