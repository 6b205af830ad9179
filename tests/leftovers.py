"""What a run of the tests has left on this host: containers, networks and volumes of its agents, processes, mounts.

Each run has a mark of its own, which stands in its agents' names and in the environment of every process that it
starts. So the host may be shared: what other runs have there is none of our business.
"""

import os
import time
import uuid
from pathlib import Path

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
    return [*_on_engine(), *_processes(), *_mounts(temporary)]


def left_for_good(temporary: Path) -> list[str]:
    """What is there still after it had the time to go."""
    deadline = time.monotonic() + GOING_S_MAX
    while (found := left(temporary)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _on_engine() -> list[str]:
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
    client.close()
    return [
        f"{kind} {thing.get('Id') or thing['Name']} of {thing['Labels'][IDENTITY]}"
        for kind, things in found.items()
        for thing in things
        if MARK in thing["Labels"][IDENTITY]
    ]


def _processes() -> list[str]:
    return [
        f"process {process.pid}: {' '.join(process.info['cmdline'] or [])[:200]}"
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get(VARIABLE) == MARK and process.pid != os.getpid()
    ]


def _mounts(temporary: Path) -> list[str]:
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"mount on {place}" for place in places if place.startswith(f"{temporary}/")]
