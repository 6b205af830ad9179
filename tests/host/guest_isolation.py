"""Runs inside the machine: holds it as a job does, and prints as JSON what was seen. Driven by test_isolation.py.

guest_isolation.py run CPUS SCRIPT [DISTURB]   one held host, one container with a shell script; DISTURB runs beside
guest_isolation.py hold CPUS [KILL_AT]         hold, then end; with KILL_AT die by SIGKILL at that write
guest_isolation.py restore                     put back what a killed one left
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import anyio

from runner_agent.containers import DockerEngine, EngineSettings
from runner_agent.engine import IterationOrder
from runner_agent.host import HostFiles
from runner_agent.isolation import BenchHost, IsolationSettings
from runner_agent.undo import restore
from runner_protocol.jobs import Limits, Spec

STATE = Path("/var/lib/bench-test")
IMAGE = "bench-test:1"


def spec(cpus: int) -> Spec:
    return Spec(uuid=uuid.UUID(int=1), name="s", slug="s", cpu=cpus, memory=128 << 20, disk=64 << 20)


async def run(cpus: int, script: str, disturb: str | None) -> dict[str, object]:
    engine = DockerEngine(EngineSettings(identity="vm", state_dir=STATE, local_images=True))
    facts = await engine.facts()
    image = await engine.pull(IMAGE, auth=None, spec=spec(cpus), within_s=60, progress=lambda *_: None)
    host = BenchHost(Path("/"), IsolationSettings(), STATE, facts)
    async with host.hold(spec(cpus)) as bench:
        order = IterationOrder(
            job="j",
            attempt=1,
            number=0,
            image=image,
            spec=spec(cpus),
            limits=Limits(),
            within_s=120,
            entrypoint=("/bin/sh", "-c"),
            cmd=(script,),
        )
        beside = subprocess.Popen(["bash", "-c", disturb]) if disturb else None
        record = await engine.run(order, bench, lambda _: None)
        if beside is not None:
            beside.wait()
        outside = Path("/proc/1/status").read_text().split("Cpus_allowed_list:\t")[1].split("\n")[0]
        isolation = bench.record
    return {
        "iteration": json.loads(record.model_dump_json()),
        "isolation": json.loads(isolation.model_dump_json()),
        "pid_1": outside,
    }


async def hold(cpus: int, kill_at: int | None) -> dict[str, object]:
    facts = await DockerEngine(EngineSettings(identity="vm", state_dir=STATE, local_images=True)).facts()
    if kill_at is not None:
        die_at(kill_at)
    async with BenchHost(Path("/"), IsolationSettings(), STATE, facts).hold(spec(cpus)) as bench:
        return {"isolation": json.loads(bench.record.model_dump_json()), "writes": Deaths.writes}


class Deaths:
    """Counts the writes to the host's files."""

    writes = 0


def die_at(number: int) -> None:
    """From now on the process is gone right after its `number`th write to a file of the host."""
    write = HostFiles.write

    def fatal(self: HostFiles, path: str, text: str) -> str | None:
        Deaths.writes += 1
        answer = write(self, path, text)
        if Deaths.writes == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    HostFiles.write = fatal  # type: ignore[method-assign]


def main(verb: str, *words: str) -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    match verb:
        case "run":
            found: object = anyio.run(run, int(words[0]), words[1], words[2] if len(words) > 2 else None)
        case "hold":
            found = anyio.run(hold, int(words[0]), int(words[1]) if len(words) > 1 else None)
        case _:
            found = restore(STATE)
    sys.stderr.flush()
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
