"""On an engine of our own, where everything can be counted: what is left behind by all that can happen to a job."""

import json
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import images
import leftovers
import pytest
from private_engine import PrivateEngine, private_engine
from registry import Registry
from workbench import Workbench, settings, spec

from runner_agent.bench import OpenBench
from runner_protocol.results import FaultClass

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

FIRST_ID = 1_000_000_000
"""On the host, of the user ids that a remapped container has: far above those that a host gives away."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    with private_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="module")
def volume_image(registry: Registry) -> str:
    """An image that declares a volume."""
    return registry.push("alone/volume", images.image(Cmd=["true"], Volumes={"/data": {}}))


def bench_on(engine: PrivateEngine, reference: str, **changes: Any) -> Workbench:
    return Workbench(reference, settings(docker_host=engine.url, **changes))


def left_on(engine: PrivateEngine) -> dict[str, list[str]]:
    """Everything on an engine that outlives a job, but its images."""
    folder = str(engine.directory)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    shims = subprocess.run(["pgrep", "-f", f"containerd-shim.*{folder}"], capture_output=True, text=True, check=False)
    return {
        "containers": engine.containers(),
        "networks": engine.docker("network", "ls", "--quiet").split(),
        "volumes": engine.docker("volume", "ls", "--quiet").split(),
        "mounts": sorted(mount for mount in mounts if mount.startswith(folder)),
        "processes": shims.stdout.split(),
    }


def disk_bytes(engine: PrivateEngine) -> int:
    """Taken up by layers, containers and volumes."""
    kept = [f"{engine.directory}/data/{part}" for part in ("overlay2", "containers", "volumes")]
    done = subprocess.run(["du", "-sxB1", *kept], capture_output=True, text=True, check=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines())


async def test_nothing_is_left_of_anything_that_can_happen(
    engine: PrivateEngine, bench_image: str, volume_image: str
) -> None:
    bench = bench_on(engine, bench_image)
    await bench.pull()
    await bench.pull(volume_image)
    before, disk_before = left_on(engine), disk_bytes(engine)

    ends = [
        await bench.sh("echo x > file; seq 1 1000", file_paths=("file", "nope")),
        await bench.sh("exit 1"),
        await bench.run(entrypoint=("/nope",)),
        await bench.run(env={"": ""}),
        await bench.sh("setsid sleep 600 & sleep 600", within_s=1),
        await bench.sh("perl -e 'my @a; push @a, chr(65) x 1048576 while 1'", spec=spec(memory=32 << 20)),
        await bench.sh("dd if=/dev/zero of=/work/x bs=1M count=4096", spec=spec(memory=512 << 20)),
        await bench.sh(
            "dd if=/dev/zero of=/data/x bs=1M count=4096", spec=spec(memory=512 << 20), reference=volume_image
        ),
        await bench.sh("echo x > /data/file", file_paths=("/data/file",), reference=volume_image),
    ]
    order = await bench.order(entrypoint=("sleep", "600"), cmd=())
    with anyio.move_on_after(1):
        await bench.engine.run(order, OpenBench("a test"), print)

    assert [record.fault.kind if record.fault else None for record in ends] == [
        FaultClass.FILE_MISSING,
        FaultClass.EXIT_CODE,
        FaultClass.COMMAND_NOT_FOUND,
        FaultClass.SPEC_REFUSED,
        FaultClass.TIMEOUT,
        FaultClass.OUT_OF_MEMORY,
        FaultClass.DISK_LIMIT,
        FaultClass.DISK_LIMIT,
        None,
    ]
    assert left_on(engine) == before
    # A directory that once held many entries stays as large as it was; files of ours would be megabytes.
    assert disk_bytes(engine) - disk_before < 1 << 20


async def test_a_job_with_a_network_has_one_of_its_own_and_leaves_none(bench_image: str) -> None:
    bench = Workbench(bench_image)
    record = await bench.sh("ip -o addr show | grep -c 'scope global'", spec=spec(network=True))
    assert (record.stdout.text, record.fault) == ("1\n", None)
    assert await bench.engine.sweep() == 0


@pytest.fixture
def xfs_engine(tmp_path: Path) -> Iterator[PrivateEngine]:
    """An engine on XFS without project quotas: it takes a size for a container's layer, and refuses it."""
    picture, folder = tmp_path / "xfs.img", tmp_path / "engine"
    picture.write_bytes(b"")
    subprocess.run(["truncate", "--size=600M", picture], check=True)
    subprocess.run(["mkfs.xfs", "-q", picture], check=True)
    (folder / "data").mkdir(parents=True)
    subprocess.run(["mount", "-o", "loop", picture, folder / "data"], check=True)
    try:
        with private_engine(folder) as engine:
            yield engine
    finally:
        subprocess.run(["umount", "--lazy", folder / "data"], check=True)


async def test_where_the_file_system_refuses_a_quota_the_disk_is_watched(
    xfs_engine: PrivateEngine, bench_image: str
) -> None:
    assert "Backing Filesystem: xfs" in xfs_engine.docker("info")
    bench = bench_on(xfs_engine, bench_image, disk_free_bytes_min=16 << 20)
    record = await bench.sh("dd if=/dev/zero of=x bs=1M count=4096", spec=spec(memory=512 << 20, disk=64 << 20))
    assert record.fault is not None
    assert record.fault.kind is FaultClass.DISK_LIMIT


@pytest.fixture
def remapped_engine() -> Iterator[PrivateEngine]:
    """An engine whose containers have user ids of their own, in a folder that these may pass through."""
    name = f"remap-{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name], check=True)
    ids = f"{FIRST_ID}-{FIRST_ID + 65535}"
    try:
        subprocess.run(["usermod", "--add-subuids", ids, "--add-subgids", ids, name], check=True)
        with tempfile.TemporaryDirectory(prefix=f"engine-{leftovers.MARK}-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o711)
            with private_engine(Path(folder), json.dumps({"userns-remap": name})) as engine:
                yield engine
    finally:
        subprocess.run(["userdel", name], check=True)


async def test_with_user_ids_remapped_a_job_runs_as_it_does_and_its_root_is_nobody_outside(
    remapped_engine: PrivateEngine, bench_image: str
) -> None:
    bench = bench_on(remapped_engine, bench_image)
    record = await bench.sh("id -u; cat /proc/self/uid_map; echo kept > file", file_paths=("file",))
    assert (record.fault, record.stdout.text.split()) == (None, ["0", "0", str(FIRST_ID), "65536"])
    assert [file.content for file in record.files] == ["kept\n"]
    assert "userns" in (await bench.engine.facts()).security
