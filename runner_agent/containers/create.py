"""What a container is created with: the order, where it is to land, and the owner's terms, as the engine's own body.

Pure. Every confinement of a job stands in `confinement`, on one screen; `docs/security.md` promises what stands there.
"""

from typing import Any

from runner_agent.bench import Placement
from runner_agent.containers.terms import EngineSettings
from runner_agent.engine import EngineFacts, IterationOrder
from runner_agent.errors import JobFault
from runner_protocol.jobs import Spec
from runner_protocol.results import Fault, FaultClass, Stage

LABEL = "dev.runner-agent"
IDENTITY_LABEL = f"{LABEL}.identity"
JOB_LABEL = f"{LABEL}.job"

# Drivers that can hold a container's own layer to a size: overlay2 can on XFS with project quotas only, and tells it
# by refusing. Source: docs.docker.com/reference/cli/docker/container/run, `--storage-opt`.
QUOTA_DRIVERS = frozenset({"overlay2", "btrfs", "zfs", "devicemapper"})

# One byte, not zero: the kernel takes a limit of 1 as "no dump" for a core_pattern that is a pipe too, where 0 would
# still start the host's handler (fs/coredump.c, `cprm.limit == 1`).
CORE_BYTES_MAX = 1

# Above any service of the host: where memory runs out, the benchmark goes first.
OOM_SCORE = 500


def labels(identity: str, order: IterationOrder) -> dict[str, str]:
    """What tells a later agent whose a container or network is."""
    return {
        IDENTITY_LABEL: identity,
        JOB_LABEL: order.job,
        f"{LABEL}.attempt": str(order.attempt),
        f"{LABEL}.iteration": str(order.number),
    }


def name(identity: str, order: IterationOrder) -> str:
    """The same for the same iteration, so that a container whose creation was never answered can still be removed."""
    text = f"runner-{identity}-{order.job}-{order.attempt}-{order.number}"
    return "".join(char if char.isascii() and (char.isalnum() or char in "_.-") else "-" for char in text)


def body(
    order: IterationOrder,
    placement: Placement,
    settings: EngineSettings,
    *,
    network: str,
    cpus: int,
    quota: bool,
) -> dict[str, Any]:
    """The engine's request for one container (`POST /containers/create`). Raises `JobFault` for bad text."""
    check_text(order)
    command: dict[str, Any] = {}
    if order.entrypoint is not None:
        command["Entrypoint"] = list(order.entrypoint)
    if order.cmd is not None:
        command["Cmd"] = list(order.cmd)
    return {
        "Image": order.image.id,
        **command,
        "Env": [f"{key}={value}" for key, value in order.env.items()],
        "Labels": labels(settings.identity, order),
        # A fixed name: what a benchmark prints must not change with the container's id.
        "Hostname": "benchmark",
        # An image's health check would run beside the benchmark, on its CPUs.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            **confinement(order.spec, settings),
            **whereabouts(order.spec, placement, cpus),
            **networking(network),
            **({"StorageOpt": {"size": str(order.spec.disk)}} if quota else {}),
        },
    }


def confinement(spec: Spec, settings: EngineSettings) -> dict[str, Any]:
    """Everything that keeps a hostile image in. Default seccomp, AppArmor and masked paths: by not naming others."""
    return {
        "CapDrop": ["ALL"],
        "Privileged": False,
        "Init": True,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Memory": spec.memory,
        "MemorySwap": spec.memory,
        "PidsLimit": settings.pids_max,
        "OomScoreAdj": OOM_SCORE,
        "ShmSize": min(settings.shm_bytes, spec.memory),
        "Ulimits": [
            {"Name": "nofile", "Soft": settings.nofile_max, "Hard": settings.nofile_max},
            {"Name": "core", "Soft": CORE_BYTES_MAX, "Hard": CORE_BYTES_MAX},
        ],
        "LogConfig": {"Type": settings.log_driver, "Config": {}},
        "RestartPolicy": {"Name": "no"},
        # Not the engine's doing: the exit code and the files are still to be fetched.
        "AutoRemove": False,
        **({"Runtime": settings.sandboxes[spec.sandbox]} if spec.sandbox else {}),
    }


def whereabouts(spec: Spec, placement: Placement, cpus: int) -> dict[str, Any]:
    """The CPUs: as isolation placed them, else the highest-numbered, since CPU 0 serves most interrupts."""
    parent, pinned = placement.cgroup_parent, placement.cpuset_cpus
    if parent is None and pinned is None:
        pinned = f"{cpus - spec.cpu}-{cpus - 1}"
    chosen = {"CgroupParent": parent, "CpusetCpus": pinned, "CpusetMems": placement.cpuset_mems}
    return {
        "SecurityOpt": ["no-new-privileges:true", *placement.security_options],
        **{key: value for key, value in chosen.items() if value is not None},
    }


def networking(network: str) -> dict[str, Any]:
    """The network of this name. Without one, the host's name servers and search domains are nobody's business."""
    secluded = {"Dns": ["127.0.0.1"], "DnsSearch": ["."]}
    return {"NetworkMode": network, **(secluded if network == "none" else {})}


def refusal(spec: Spec, facts: EngineFacts, settings: EngineSettings, *, cpus: int, memory: int) -> Fault | None:
    """Why this host cannot give what the spec asks for; none where it can. Never something weaker instead."""
    if spec.os != "linux":
        return _refused(f"spec.os is {spec.os!r}; this host runs linux")
    if spec.architecture != facts.architecture:
        return _refused(f"spec.architecture is {spec.architecture!r}; this host is {facts.architecture!r}")
    if spec.sandbox is not None and spec.sandbox not in settings.sandboxes:
        return _refused(f"spec.sandbox {spec.sandbox!r} is not among this host's sandboxes")
    if spec.sandbox is not None and settings.sandboxes[spec.sandbox] not in facts.runtimes:
        return _refused(
            f"spec.sandbox {spec.sandbox!r}: the engine has no runtime {settings.sandboxes[spec.sandbox]!r}"
        )
    if spec.cpu > cpus:
        return _refused(f"spec.cpu is {spec.cpu}; this host's engine has {cpus}")
    if spec.memory > memory:
        return _refused(f"spec.memory is {spec.memory} bytes; this host has {memory}")
    return None


def check_text(order: IterationOrder) -> None:
    """Raises `JobFault` for what no process can be given: NUL anywhere, or a variable's name with `=` or nothing."""
    for key, value in order.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise JobFault(_refused(f"env {key!r}: a variable needs a name without '=', and no NUL in it"))
    if any("\0" in word for word in (*(order.entrypoint or ()), *(order.cmd or ()))):
        raise JobFault(_refused("entrypoint and cmd cannot hold a NUL"))


def _refused(message: str) -> Fault:
    return Fault(kind=FaultClass.SPEC_REFUSED, stage=Stage.PLAN, message=message)
