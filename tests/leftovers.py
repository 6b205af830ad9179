"""What a run of the tests has left on this host: containers, networks, volumes, images, processes, groups, mounts.

Each run has a mark of its own, which stands in its agents' names and in the environment of every process that it
starts. So the host may be shared: what other runs have there is none of our business.
"""

import os
import re
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import docker
import psutil
from docker.errors import DockerException

IDENTITY = "dev.runner-agent.identity"
VARIABLE = "RUNNER_TESTS_MARK"
# Workers of the same run and whatever they start inherit it.
MARK = os.environ.setdefault(VARIABLE, uuid.uuid4().hex[:8])
# An engine that was told to end, and the processes below it, take their time on a busy host.
GOING_S_MAX = 60.0


def left(temporary: Path) -> list[str]:
    """Everything of this run that is there now, one line each; `temporary` is the folder of its temporary files."""
    return [*_on_engine(temporary), *_processes(), *_groups(), *_mounts(temporary), *_folders()]


def left_for_good(temporary: Path) -> list[str]:
    """What is there still after it had the time to go."""
    deadline = time.monotonic() + GOING_S_MAX
    while (found := left(temporary)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _on_engine(temporary: Path) -> list[str]:
    try:
        client = docker.APIClient(timeout=60)
    except DockerException:
        return []  # Where no engine answers, nothing was put on one.
    ours = {"label": IDENTITY}
    found = {
        "container": client.containers(all=True, filters=ours),
        "network": client.networks(filters=ours),
        "volume": client.volumes(filters=ours)["Volumes"] or [],
    }
    images = client.images(all=True)
    client.close()
    return _images(images, temporary) + [
        f"{kind} {thing.get('Id') or thing['Name']} of {thing['Labels'][IDENTITY]}"
        for kind, things in found.items()
        for thing in things
        if MARK in thing["Labels"][IDENTITY]
    ]


def _images(images: list[dict[str, Any]], temporary: Path) -> list[str]:
    """Those from the registries of this run, whose configurations stand among its temporary files."""
    configurations = (path.read_text() for path in temporary.rglob("docker-registry.yml"))
    hosts = tuple(f"{host}/" for text in configurations for host in re.findall(r'addr: "([^"]+)"', text))
    names = ((name, image["Size"]) for image in images for name in image.get("RepoDigests") or [])
    return [f"image {name} of {size} bytes" for name, size in names if name.startswith(hosts)]


def _processes() -> list[str]:
    return [
        f"process {process.pid}: {' '.join(process.info['cmdline'] or [])[:200]}"
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get(VARIABLE) == MARK and process.pid != os.getpid()
    ]


def _groups() -> list[str]:
    """cgroups of this run's agents, in any hierarchy. Others may end while we look: `walk` passes over them."""
    walked = os.walk("/sys/fs/cgroup")
    return [f"group {above}/{name}" for above, names, _ in walked for name in names if MARK in name]


def _mounts(temporary: Path) -> list[str]:
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"mount on {place}" for place in places if place.startswith(f"{temporary}/")]


def _folders() -> list[str]:
    """Those that stand outside pytest's own, because a socket's path must be short."""
    return [f"folder {path}" for path in Path(tempfile.gettempdir()).glob(f"*-{MARK}-*")]
