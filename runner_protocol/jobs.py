"""What is asked of an agent: the job, the machine it wants, its budgets and its lease."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field, SecretStr, field_serializer

from runner_protocol import PROTOCOL_VERSION
from runner_protocol.wire import Message


class Architecture(StrEnum):
    """Instruction sets, by the names of the public API."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"


class Spec(Message):
    """The class of machine that a job wants."""

    uuid: UUID
    name: str
    slug: str
    os: str = "linux"
    architecture: str = Architecture.X86_64
    sandbox: str | None = None
    """Name of an engine runtime that the host must offer (runsc, kata, …); none: the engine's default."""
    cpu: int = Field(ge=1)
    """Number of CPUs for the benchmark."""
    memory: int = Field(ge=1)
    """Bytes, with no swap on top."""
    disk: int = Field(ge=1)
    """Bytes that a container may write."""
    network: bool = False
    """Whether a container may reach a network at all."""


class RegistryAuth(Message):
    """Short-lived credentials for the pull. Never logged: the fields print as stars."""

    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    """A bearer token, used as it stands."""

    @field_serializer("password", "token", when_used="json")
    def _reveal(self, secret: SecretStr | None) -> str | None:
        """On the wire the peer needs the value; everywhere else it stays hidden."""
        return None if secret is None else secret.get_secret_value()


class Work(Message):
    """What to run. Lengths of time are seconds."""

    image: str
    """Any OCI reference: `registry:port/repository:tag` or `…@sha256:…`."""
    baseline: str | None = None
    """A second image for a paired comparison: iterations alternate between the two."""
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    iterations: int = Field(default=1, ge=0)
    allow_failure: bool = False
    file_paths: list[str] = Field(default_factory=list)
    build_time: bool = False
    file_size: bool = False


class Budgets(Message):
    """Three explicit limits of time, in seconds."""

    pull_s_max: float = Field(gt=0)
    iteration_s_max: float = Field(gt=0)
    """The job's `timeout`: for each iteration, from the container's start."""
    job_s_max: float = Field(gt=0)
    """From the claim to the report, everything included."""


class Limits(Message):
    """Bounds on what may be sent back, in bytes."""

    stream_bytes_max: int = Field(default=25 << 20, ge=1)
    """Of stdout, and of stderr, of one iteration."""
    files_bytes_max: int = Field(default=25 << 20, ge=1)
    """Of all collected files of one iteration together."""
    report_bytes_max: int = Field(default=256 << 20, ge=1)
    """Of a whole report. Streams are cut further, evenly, where a report would pass it."""
    piece_bytes_max: int = Field(default=1 << 20, ge=1)
    """A report larger than this is sent in pieces of at most this size."""


class ClaimedJob(Message):
    """One job, handed to one runner, under a lease."""

    protocol: int = PROTOCOL_VERSION
    job: UUID
    attempt: int = Field(ge=1)
    """Which try this is. Every later call names it; a call with an old one gets 409."""
    lease_s: float = Field(gt=0)
    """How long the claim holds without a heartbeat."""
    heartbeat_s: float = Field(gt=0)
    """How often the server wants one."""
    project: str
    """Slug of the project, for people who read logs."""
    spec: Spec
    work: Work
    budgets: Budgets
    limits: Limits = Limits()
    registry_auth: RegistryAuth | None = None
    created: datetime
    traceparent: str | None = None
    """The job's place in its trace, as W3C Trace Context spells it; null where nobody traces."""
