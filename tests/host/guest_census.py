"""In the guest: every file that a package could have left, every setting that an agent could have, as one JSON object.

python3 guest_census.py >before.json        values as text; of files their kind, mode, owner and digest
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

FILES = ("/etc", "/usr", "/opt", "/var", "/root", "/srv", "/boot", "/run/systemd/system", "/run/lock")
# What apt, dpkg, the engine and the machine itself write as they go.
PASSING = (
    "/etc/ld.so.cache",
    "/root/.cache",
    "/usr/share/mime",
    "/var/backups",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/docker-registry",
    "/var/lib/dpkg",
    "/var/lib/private",
    "/var/lib/server-stub",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",
)
SETTINGS = (
    "/proc/sys/**/*",
    "/proc/irq/*/smp_affinity_list",
    "/sys/devices/system/cpu/**/*",
    "/sys/devices/virtual/workqueue/**/*",
    "/sys/fs/cgroup/cpuset*",
    "/sys/fs/cgroup/cgroup.subtree_control",
    "/sys/fs/cgroup/*/cpuset*",
    "/sys/kernel/mm/**/*",
    "/sys/module/*/parameters/*",
)


def main() -> None:
    """Print everything."""
    found = {str(path): _told(path) for folder in FILES for path in _beneath(Path(folder))}
    for pattern in SETTINGS:
        found |= {str(path): _value(path) for path in Path("/").glob(pattern[1:]) if path.is_file()}
    json.dump(found, sys.stdout)


def _beneath(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if str(path) in PASSING or path.is_mount():
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _beneath(path)


def _told(path: Path) -> str:
    status = path.lstat()
    content = ""
    if path.is_symlink():
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid} {content}"


def _value(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return f"closed: {error.strerror}"
    try:
        return os.read(descriptor, 4096).decode(errors="replace")
    except OSError as error:
        return f"unreadable: {error.strerror}"
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
