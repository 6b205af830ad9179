"""What a person runs on this host by hand: one job, the doctor, a calibration, a look at the tuning, putting back.

Draws and prints. Knows from `wiring.py` how the parts are put together.
"""

import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from runner_agent import show, sketch
from runner_agent.alone import Machine, run_alone, spec_of
from runner_agent.calibrate import calibrate
from runner_agent.calibration import save
from runner_agent.containers import DockerEngine
from runner_agent.doctor import exit_code
from runner_agent.errors import HostFault, IdentityFault, JobFault, RefusedError, ServerFault
from runner_agent.execute import Rig
from runner_agent.install import EX_NOPERM, EX_UNAVAILABLE, Contact
from runner_agent.isolation import BenchHost
from runner_agent.lock import host_lock
from runner_agent.logs import configure
from runner_agent.settings import load
from runner_agent.tune import plan_lines
from runner_agent.upkeep import examined, restored
from runner_agent.wiring import connector, engine_settings, habits, host_of, isolation_settings
from runner_protocol.jobs import ClaimedJob
from runner_protocol.results import Outcome

EXEC = "exec"
"""Whose containers those of `exec` are. The host's lock keeps two from running at once."""


async def run_here(job: ClaimedJob, config: Path | None, *, as_json: bool) -> int:
    """`exec`: run one job, print its report, and return the exit code."""
    settings = load(config).settings
    configure("warning", settings.log_format)
    engine = DockerEngine(engine_settings(settings, identity=EXEC, local_images=True))
    rig = Rig(engine, partial(host_of, settings), habits(settings, None).policy)
    console = Console(stderr=True)
    with host_lock(settings.lock_file), show.live(console) as moved:
        report = await run_alone(job, rig, moved)
    if as_json:
        print(report.model_dump_json(exclude_none=True, indent=2))  # noqa: T201  The verb's output.
    else:
        Console().print(show.report(report))
    return 0 if report.outcome is Outcome.COMPLETED else 1


async def doctor_here(config: Path | None, *, as_json: bool) -> int:
    """`doctor`: print every finding; the worst is the exit code."""
    settings = load(config).settings
    configure("error", settings.log_format)
    found = await examined(settings.state_dir, engine_settings(settings, identity=settings.runner or EXEC))
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))  # noqa: T201  The verb's output.
    else:
        Console().print(show.findings(found))
    return exit_code(found)


async def calibrate_here(config: Path | None, cpus: int) -> int:
    """`calibrate`: learn what this host can tell apart, keep it, and draw it."""
    settings = load(config).settings
    configure("warning", settings.log_format)
    choices = replace(isolation_settings(settings), canaries=True)
    try:
        with host_lock(settings.lock_file), show.steps(Console(stderr=True)) as told:
            facts = await DockerEngine(engine_settings(settings, identity=settings.runner or EXEC)).facts()
            host = BenchHost(Path("/"), choices, settings.state_dir, facts)
            calibration = await calibrate(host, spec_of(Machine(cpu=cpus)), told)
    except (HostFault, JobFault) as fault:
        print(f"runner-agent: {fault}", file=sys.stderr)  # noqa: T201  The verb's output.
        return 1
    kept = save(settings.state_dir, calibration)
    picture = kept.with_suffix(".svg")
    picture.write_text(sketch.svg(calibration))
    Console().print(sketch.terminal(calibration))
    print(f"kept in {kept}, drawn in {picture}")  # noqa: T201  The verb's output.
    return 0


def tuning_of(config: Path | None, cpus: int) -> Iterator[str]:
    """`tune --dry-run`: what a job would change on this host."""
    return plan_lines(isolation_settings(load(config).settings), cpus)


async def contact_here(config: Path, key_file: Path) -> Contact:
    """For `install`: whether the server answers, and knows this host by that key."""
    settings = load(config, {"key_file": key_file}).settings
    try:
        async with connector(settings, uuid.uuid4())() as client:
            await client.greet()
    except IdentityFault as error:
        return Contact(EX_NOPERM, f"the server refuses this key for the runner {settings.runner} ({error})")
    except (ServerFault, RefusedError, OSError) as error:
        return Contact(EX_UNAVAILABLE, f"no answer of a server at {settings.server} yet ({error})")
    return Contact(0, f"the server at {settings.server} knows this host as {settings.runner}")


async def restore_here(config: Path | None) -> int:
    """`restore`: put the host back and print what was done. Raises `HostTakenError` while an agent holds the host."""
    settings = load(config).settings
    configure("warning", settings.log_format)
    with host_lock(settings.lock_file):
        identities = filter(None, (settings.runner, EXEC))
        terms = [engine_settings(settings, identity=identity) for identity in identities]
        for line in await restored(settings.state_dir, terms):
            print(line)  # noqa: T201  The verb's output.
    return 0
