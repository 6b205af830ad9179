"""From the engine's words to a fault: one table, read from the top. Pure.

The engine tells most failures only in prose, and its status codes vary between releases; so a row is a stage, a
pattern in the message, and what it means. What no row knows is the engine's own fault.
"""

import re
from dataclasses import dataclass

from runner_agent.errors import AgentError, HostFault, JobFault
from runner_protocol.results import INFRASTRUCTURE, Fault, FaultClass, Stage

MESSAGE_CHARS_MAX = 500


class EngineCallError(Exception):
    """A call to the engine did not give what was asked for."""


class EngineRefusedError(EngineCallError):
    """The engine answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineSilentError(EngineCallError):
    """The engine could not be reached, broke off, or took too long."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    stages: frozenset[Stage]
    pattern: str
    kind: FaultClass

    def knows(self, stage: Stage, message: str) -> bool:
        """Whether this row speaks of this failure."""
        return stage in self.stages and re.search(self.pattern, message, re.IGNORECASE) is not None


PULL = frozenset({Stage.PULL})
RUN = frozenset({Stage.ITERATE, Stage.COLLECT})
ANY = PULL | RUN

TABLE = (
    Row(ANY, r"no space left on device|disk quota exceeded", FaultClass.HOST_DISK_FULL),
    # A mirror or registry that is over its quota answers with prose of its own; this comes before "denied".
    Row(PULL, r"toomanyrequests|too many requests|\b429\b", FaultClass.REGISTRY_UNAVAILABLE),
    # The owner of the host decides whom it trusts (`/etc/docker/certs.d`); plain http is for loopback alone.
    Row(PULL, r"x509|tls: failed to verify|HTTP response to HTTPS", FaultClass.IMAGE_REFUSED),
    Row(
        PULL,
        r"no matching manifest|does not match the specified platform|no image found in (image index|manifest list)",
        FaultClass.WRONG_PLATFORM,
    ),
    Row(
        PULL,
        r"verification failed|digest mismatch|digest did not match|does not match provided manifest digest|unverified"
        r"|invalid tar header|invalid checksum|gzip: invalid"
        r"|flate: corrupt|invalid header|unsupported media type|mediatype|invalid character|schema",
        FaultClass.IMAGE_INVALID,
    ),
    # A line that dropped in a layer, in Podman's words; what is wrong with the layer itself stands above.
    Row(PULL, r"happened during read", FaultClass.REGISTRY_UNAVAILABLE),
    Row(PULL, r"failed to register layer|archive/tar|unpigz|unexpected EOF", FaultClass.IMAGE_INVALID),
    Row(PULL, r"invalid reference format|invalid repository name|invalid tag", FaultClass.IMAGE_INVALID),
    Row(PULL, r"\b50[0234]\b|unavailable|internal server error", FaultClass.REGISTRY_UNAVAILABLE),
    Row(
        PULL,
        r"manifest unknown|name unknown|not found|no such image|repository does not exist",
        FaultClass.IMAGE_NOT_FOUND,
    ),
    Row(
        PULL,
        r"unauthorized|authentication required|no basic auth|denied|forbidden|\b40[13]\b",
        FaultClass.IMAGE_REFUSED,
    ),
    Row(
        PULL,
        r"connection re(fused|set)|timeout|timed out|deadline|EOF|no such host|server misbehaving"
        r"|no route|unreachable|broken pipe|canceled|cancelled",
        FaultClass.REGISTRY_UNAVAILABLE,
    ),
    # A registry has words of its own, and most of its moods pass. What never does ends with the pull's budget.
    Row(PULL, r"", FaultClass.REGISTRY_UNAVAILABLE),
    Row(RUN, r"no command (or entrypoint provided|specified)", FaultClass.NO_COMMAND),
    Row(RUN, r"minimum memory limit|unknown runtime|no such runtime|invalid runtime", FaultClass.SPEC_REFUSED),
    Row(RUN, r"unable to find (user|group)|no matching entries in (passwd|group)", FaultClass.IMAGE_INVALID),
    Row(RUN, r"exec format error", FaultClass.COMMAND_NOT_EXECUTABLE),
    Row(RUN, r"executable file not found|exec: .*no such file", FaultClass.COMMAND_NOT_FOUND),
    Row(RUN, r"exec: .*(permission denied|is a directory)", FaultClass.COMMAND_NOT_EXECUTABLE),
    Row(RUN, r"not a directory|chdir to cwd|cannot mkdir|argument list too long", FaultClass.IMAGE_INVALID),
    Row(RUN, r"no such container|is not running|removal of container .* in progress", FaultClass.CONTAINER_LOST),
    Row(RUN, r"requested (cpus|memory nodes) are not available|cgroup", FaultClass.HOST_FAULT),
)


def classify(error: EngineCallError, stage: Stage) -> FaultClass:
    """Whose fault it is that the engine did not do it. Silence is the engine's, whatever the words."""
    if not isinstance(error, EngineRefusedError):
        return FaultClass.ENGINE_UNAVAILABLE
    return next((row.kind for row in TABLE if row.knows(stage, str(error))), FaultClass.ENGINE_FAULT)


def fault_of(error: EngineCallError, stage: Stage, *, what: str) -> Fault:
    """The fault to report: what was tried, and the engine's own words, bounded."""
    words = " ".join(str(error).split())[:MESSAGE_CHARS_MAX]
    return Fault(kind=classify(error, stage), stage=stage, message=f"{what}: {words}")


def raised(fault: Fault) -> AgentError:
    """The fault as the error of whoever acts next."""
    if fault.kind in INFRASTRUCTURE:
        return HostFault(fault.kind, fault.stage, fault.message)
    return JobFault(fault)
