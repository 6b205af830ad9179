"""How soon an idle agent starts a new job's container: from the 201 of `POST /v0/run` to the engine's start event.

    ./dev bench pickup [--jobs 20]

Beside it, in the same run, the engine alone: from `docker run` to the start event of the same image, job by job. What
is left of the difference is ours: queue, wake-up, claim, first heartbeat, digest and container body. Then what the
agent holds in memory at rest, before its first job and after its last, run from compiled files as an installed one is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent / "demo"))
import demo

Event = dict[str, Any]

START_S_MAX = 30.0
SETTLE_S = 1.0
"""Between two jobs, so that the agent is parked in its long poll again."""
REST_S = 15.0
"""After its start and after its last job it gives back what they took."""


def main() -> None:
    """Measure, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    jobs = parser.parse_args().jobs
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pickup-")))
        reference = stack.enter_context(demo.published_image(folder))
        server = stack.enter_context(demo.server(folder))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        agent = stack.enter_context(demo.agent(folder, server)).pid
        before = _memory_at_rest(agent)
        starts = stack.enter_context(_start_events())
        _once(server, reference, starts)  # The first job pulls.
        ours, engine = [], []
        for number in range(jobs):
            ours.append(_once(server, reference, starts))
            engine.append(_engine_alone(reference, starts))
            demo.step(f"{number + 1}/{jobs}: {ours[-1]:.3f} s from the 201, {engine[-1]:.3f} s for the engine alone")
        after = _memory_at_rest(agent)
    print(
        f"\nfrom 201 to container start   median {statistics.median(ours):.3f} s   worst {max(ours):.3f} s   n {jobs}"
    )
    print(
        f"docker run to container start median {statistics.median(engine):.3f} s   worst {max(engine):.3f} s   n {jobs}"
    )
    print(f"ratio of medians              {statistics.median(ours) / statistics.median(engine):.2f}")
    print(f"agent at rest                 {before}; after {jobs} jobs {after}")


def _memory_at_rest(pid: int) -> str:
    """What the process holds in memory; its own is what no other process has mapped too."""
    time.sleep(REST_S)
    memory = psutil.Process(pid).memory_full_info()
    return f"{memory.rss / 2**20:.1f} MiB, {memory.uss / 2**20:.1f} of them its own"


def _once(server: str, reference: str, starts: Iterator[Event]) -> float:
    """Submit one job to an idle agent; return the seconds from the answer to the container's start."""
    time.sleep(SETTLE_S)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {
        "project": "pickup",
        "context": {},
        "testbed": "here",
        "start_time": now,
        "end_time": now,
        "results": [],
        "job": {"image": reference, "entrypoint": ["/bin/busybox"], "cmd": ["echo", "{}"], "timeout": 60},
        "settings": {"adapter": "json"},
    }
    request = urllib.request.Request(
        f"{server}/v0/run", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        answered = time.time()
        report = json.load(answer)
    started = _start_of(starts, "dev.runner-agent.identity", "demo-host") - answered
    _wait_until_processed(f"{server}/v0/projects/pickup/jobs/{report['job']}")
    return started


def _wait_until_processed(url: str) -> None:
    deadline = time.monotonic() + START_S_MAX
    while (state := _get(url)["status"]) not in ("processed", "failed", "canceled"):
        if time.monotonic() > deadline:
            raise SystemExit(f"the job is still {state}")
        time.sleep(0.05)
    if state != "processed":
        raise SystemExit(f"the job ended {state}: {_get(url)}")


def _get(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url) as answer:
        content: dict[str, str] = json.load(answer)
        return content


def _engine_alone(reference: str, starts: Iterator[Event]) -> float:
    """Return the seconds from calling `docker run` to the container's start."""
    command = [
        "docker",
        "run",
        "--rm",
        "--network=none",
        "--log-driver=none",
        "--label=pickup=engine",
        "--entrypoint=/bin/busybox",
        reference,
        "true",
    ]
    asked = time.time()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL):
        return _start_of(starts, "pickup", "engine") - asked


def _start_of(starts: Iterator[Event], label: str, value: str) -> float:
    """The stamp of the next start of a container with that label. Others on this engine are none of ours."""
    return next(float(event["timeNano"]) / 1e9 for event in starts if event["Actor"]["Attributes"].get(label) == value)


@contextmanager
def _start_events() -> Iterator[Iterator[Event]]:
    """The engine's events of container starts, as they happen."""
    command = ["docker", "events", "--filter=type=container", "--filter=event=start", "--format={{json .}}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        try:
            yield (json.loads(line) for line in events.stdout)
        finally:
            events.terminate()


if __name__ == "__main__":
    main()
