"""In the guest: every file that a package could have left, every setting that an agent could have, as one JSON object.

python3 guest_census.py >before.json        values as text; of files kind, mode and owner with the digest of those in
                                            /etc, the size and time of all others
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
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode",
    "/proc/sys/fs/quota",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats",
    "/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans",
    "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed",
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
    found = {entry.path: _told(entry) for folder in FILES for entry in _beneath(Path(folder))}
    for pattern in SETTINGS:
        found |= {str(path): _value(path) for path in Path("/").glob(pattern[1:]) if _is_setting(path)}
    json.dump(found, sys.stdout)


def _is_setting(path: Path) -> bool:
    return path.is_file() and not str(path).startswith(PASSING)


def _beneath(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in os.scandir(folder):
        if entry.path in PASSING or os.path.ismount(entry.path):
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _beneath(Path(entry.path))


def _told(entry: os.DirEntry[str]) -> str:
    status = entry.stat(follow_symlinks=False)
    content = ""
    if entry.is_symlink():
        content = str(Path(entry.path).readlink())
    elif stat.S_ISREG(status.st_mode):
        digested = entry.path.startswith("/etc/")
        content = _digest(Path(entry.path)) if digested else f"{status.st_size} {status.st_mtime_ns}"
    return f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid} {content}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
