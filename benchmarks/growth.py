"""Whether the agent's process grows: its resident memory and open files over many jobs, first and last.

Every job asks for the image again and runs one container that prints a few MiB and leaves a file to collect; nothing
of a job may stay. Needs an engine and an image on it with a shell, such as one made by `docker import`.

    python benchmarks/growth.py IMAGE [--jobs 200]
"""

import argparse
import gc
import uuid
from pathlib import Path

import anyio
import psutil

from runner_agent.bench import OpenBench
from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.engine import IterationOrder
from runner_protocol.jobs import Limits, Spec

SPEC = Spec(uuid=uuid.uuid4(), name="growth", slug="growth", cpu=1, memory=64 << 20, disk=256 << 20)
SCRIPT = "head -c 4000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero > /tmp/result"
# Until then modules are imported, pools filled and caches warm.
WARM_JOBS = 10
GROWTH_MIB_MAX = 20


def nothing(*_: object) -> None:
    """Heard by nobody."""


async def job(engine: DockerEngine, image: str) -> None:
    """One job of one iteration."""
    pulled = await engine.pull(image, auth=None, spec=SPEC, within_s=60, progress=nothing)
    order = IterationOrder(
        job=uuid.uuid4().hex,
        attempt=1,
        number=0,
        image=pulled,
        spec=SPEC,
        limits=Limits(),
        within_s=60,
        entrypoint=("/bin/sh", "-c"),
        cmd=(SCRIPT,),
        file_paths=("/tmp/result",),
    )
    record = await engine.run(order, OpenBench("a measurement"), nothing)
    assert record.succeeded, record.fault
    assert (len(record.stdout.text), record.files[0].size_bytes) == (4_000_000, 1_000_000)


def now() -> tuple[float, int]:
    """Resident MiB and open files of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss / 2**20, len(list(Path("/proc/self/fd").iterdir()))


async def measure(image: str, jobs: int) -> None:
    """Print the first and the last, and every tenth part between."""
    engine = DockerEngine(EngineSettings(identity=f"growth-{uuid.uuid4().hex[:8]}", local_images=True))
    first = (0.0, 0)
    for number in range(1, jobs + 1):
        await job(engine, image)
        if number == WARM_JOBS:
            first = now()
        if number % max(1, jobs // 10) == 0 or number == WARM_JOBS:
            print("job {:4}   {:6.1f} MiB   {:3} open files".format(number, *now()))
    engine.close()
    last = now()
    print(f"grew by {last[0] - first[0]:.1f} MiB after the first {WARM_JOBS} jobs (must stay below {GROWTH_MIB_MAX})")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--jobs", type=int, default=200)
    arguments = parser.parse_args()
    anyio.run(measure, arguments.image, arguments.jobs)


if __name__ == "__main__":
    main()
