"""The check at the end of a run sees what it looks for."""

import re
import subprocess
import tempfile
import uuid
from pathlib import Path

import anyio
import docker
import images
import leftovers
import pytest
import registry as registries
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


def test_a_folder_of_an_engine_or_a_database_is_seen(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"engine-{leftovers.MARK}-") as name:
        assert f"folder {name}" in leftovers.left(tmp_path)
    assert f"folder {name}" not in leftovers.left(tmp_path)


@pytest.mark.docker
def test_an_image_that_was_pulled_is_seen_with_its_size_until_it_is_gone(tmp_path: Path) -> None:
    with registries.serving(tmp_path) as registry:
        image = anyio.run(Workbench(registry.push("left/image", images.image(Cmd=["true"]))).pull)
        [seen] = [line for line in leftovers.left(tmp_path) if registry.host in line]
    assert re.fullmatch(rf"image {registry.host}/left/image@{image.digest} of \d{{7}} bytes", seen)
    assert [line for line in leftovers.left(tmp_path) if registry.host in line] == []


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
