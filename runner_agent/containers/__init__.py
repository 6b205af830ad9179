"""The only door to the container engine. Everything above it knows `Engine`; everything of Docker stays in here.

    engine     the four verbs: facts, pull, run, sweep
    run        STORY: one iteration, from creation to removal
    pull       STORY: one image, from its name to its digest on this host
    ──────────────────────────────────────────────────────────────────────
    box        a container held for the length of a block
    collect    result files out of a stopped container
    disk       what a container writes, watched where no quota holds it
    cache      which images are ours, and which of them go
    credentials  the host's Docker config and its helpers
    door       worker threads and the engine's HTTP API, bounded in time
    ──────────────────────────────────────────────────────────────────────
    create · faults · files · outcome · progress · reference · streams · terms    pure

It opens no network connection of its own: registries are spoken to by the engine.
"""

from runner_agent.containers.engine import DockerEngine
from runner_agent.containers.terms import EngineSettings

__all__ = ["DockerEngine", "EngineSettings"]
