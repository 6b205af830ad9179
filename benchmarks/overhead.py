"""What an iteration costs beside the benchmark itself: our wall time for `/bin/true` beside `docker run --rm` of it.

Both run the same image on the same engine, in turns, in one program; medians and their ratio are printed. Then, how
far past its time limit a container lives. Makes its own image from this machine's busybox and removes it at the end.

    python benchmarks/overhead.py [--rounds N]
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import tarfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio

from runner_agent.bench import OpenBench
from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.engine import Image, IterationOrder
from runner_protocol.jobs import Limits, Spec

NAME = f"overhead-of-the-runner:{uuid.uuid4().hex[:8]}"
SPEC = Spec(uuid=uuid.uuid4(), name="overhead", slug="overhead", cpu=1, memory=64 << 20, disk=64 << 20)
TIMEOUT_S = 1.0


def nothing(*_: object) -> None:
    """Heard by nobody."""


@contextlib.contextmanager
def imported() -> Iterator[None]:
    """The image, on the engine for the length of the block."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bin/busybox", "bin/true", "bin/sleep"):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, Path("/bin/busybox").stat().st_size
            tar.addfile(entry, io.BytesIO(Path("/bin/busybox").read_bytes()))
    subprocess.run(["docker", "import", "-", NAME], input=packed.getvalue(), check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "rmi", NAME], check=True, capture_output=True)


async def ours(engine: DockerEngine, image: Image, number: int, *command: str, within_s: float = 60) -> float:
    """One iteration through the engine door; how far its command outlived `within_s`, in seconds."""
    order = IterationOrder(
        job="overhead",
        attempt=1,
        number=number,
        image=image,
        spec=SPEC,
        limits=Limits(),
        within_s=within_s,
        cmd=command,
    )
    record = await engine.run(order, OpenBench("a measurement"), nothing)
    assert record.timed_out is (command[0] == "/bin/sleep"), record
    return (record.wall_ns or 0) / 1e9 - within_s


def theirs(*options: str) -> None:
    """The same with Docker's own command."""
    subprocess.run(["docker", "run", "--rm", *options, NAME, "/bin/true"], check=True, capture_output=True)


async def timed(fn: Callable[[], Awaitable[object]]) -> float:
    """Seconds."""
    began = time.perf_counter()
    await fn()
    return time.perf_counter() - began


async def measure(rounds: int) -> None:
    """In turns, so that whatever else the machine does falls on both."""
    engine = DockerEngine(EngineSettings(identity=f"overhead-{uuid.uuid4().hex[:8]}", local_images=True))
    image = await engine.pull(NAME, auth=None, spec=SPEC, within_s=60, progress=nothing)
    candidates: dict[str, Callable[[], Awaitable[object]]] = {
        "ours": lambda: ours(engine, image, 0, "/bin/true"),
        "docker run --rm": lambda: anyio.to_thread.run_sync(theirs),
        # Without the bridge, which ours does not set up either.
        "docker run --rm --network none": lambda: anyio.to_thread.run_sync(theirs, "--network", "none"),
    }
    taken = [{name: await timed(run) for name, run in candidates.items()} for _ in range(rounds + 1)]
    # The first round warms all up.
    medians = {name: statistics.median(one[name] for one in taken[1:]) for name in candidates}
    print(f"one iteration of /bin/true, medians of {rounds} rounds in turns")
    for name, median in medians.items():
        print(f"  {name:32} {median * 1e3:6.0f} ms   ours is {medians['ours'] / median:.2f} of it")
    late = [await ours(engine, image, n, "/bin/sleep", "60", within_s=TIMEOUT_S) for n in range(rounds // 4 + 1)]
    print(
        f"timeout of {TIMEOUT_S:g} s: overrun median {statistics.median(late):.3f} s, worst {max(late):.3f} s (0.2 s)"
    )
    engine.close()


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    with imported():
        anyio.run(measure, arguments.rounds)


if __name__ == "__main__":
    main()
