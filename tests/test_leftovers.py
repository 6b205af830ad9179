"""The check at the end of a run sees what it looks for."""

import subprocess
import uuid
from pathlib import Path

import docker
import leftovers
import pytest
from workbench import Workbench


def test_a_process_that_is_left_is_seen_until_it_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        seen = f"process {process.pid}: sleep 600"
        assert seen in leftovers.left(tmp_path)
        process.kill()
    assert seen not in leftovers.left(tmp_path)


def test_a_mount_that_is_left_is_seen(tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        assert f"mount on {place}" in leftovers.left(tmp_path)
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.docker
def test_a_volume_of_an_agent_is_seen(tmp_path: Path, bench_image: str) -> None:
    identity, name = Workbench(bench_image).settings.identity, f"left-{uuid.uuid4().hex[:8]}"
    client = docker.APIClient()
    client.create_volume(name, labels={leftovers.IDENTITY: identity})
    try:
        assert f"volume {name} of {identity}" in leftovers.left(tmp_path)
    finally:
        client.remove_volume(name)
        client.close()
