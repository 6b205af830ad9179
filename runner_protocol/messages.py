"""The bodies of the calls between agent and server.

| call | body | answers |
| --- | --- | --- |
| `POST /v0/runners/{runner}/jobs` | `ClaimRequest` | 200 `ClaimedJob` · 204 nothing to do |
| `POST /v0/runners/{runner}/jobs/{job}/heartbeat` | `Heartbeat` | 200 `HeartbeatReply` · 409 `Problem` with `stale` |
| `PUT /v0/runners/{runner}/jobs/{job}/attempts/{attempt}/pieces/{index}` | bytes | 204 · 409 |
| `POST /v0/runners/{runner}/jobs/{job}/report` | `ReportEnvelope` | 200 `ReportReceipt` · 409 |

All carry `Authorization: Bearer bencher_runner_…`. Every call may be sent again: the second answer equals the first.
"""

from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from runner_protocol import PROTOCOL_VERSION
from runner_protocol.results import HostRecord, IsolationLevel, RunReport, Stage
from runner_protocol.states import JobState
from runner_protocol.wire import Message

POLL_TIMEOUT_S_DEFAULT = 55
POLL_TIMEOUT_S_MAX = 900
TAIL_CHARACTERS_MAX = 4096
"""Bound on the last lines of output that ride on a heartbeat."""


class AgentIdentity(Message):
    """Which process asks. One runner key should be in one place only."""

    version: str
    protocol: int = PROTOCOL_VERSION
    instance: UUID
    """New at every start of the agent."""
    machine_id: str
    """Stays over restarts: tells a restarted agent from a cloned key."""
    os: str = "linux"
    architecture: str = "x86_64"


class HostState(Message):
    """What the operator wants to see of a host that asks for work."""

    host: HostRecord | None = None
    isolation: IsolationLevel | None = None
    """The level that this host can reach."""
    blocked: list[str] = Field(default_factory=list)
    """Why this host takes no work just now (disk, engine, clock, another agent, …): then no job is handed out."""
    spooled: int = 0
    """Reports on its disk that the server has not acknowledged."""
    sandboxes: list[str] = Field(default_factory=list)


class ClaimRequest(Message):
    """An idle agent asks for work and is willing to wait."""

    poll_timeout: int = Field(default=POLL_TIMEOUT_S_DEFAULT, ge=1, le=POLL_TIMEOUT_S_MAX)
    """Seconds."""
    agent: AgentIdentity | None = None
    state: HostState = HostState()


class Progress(Message):
    """How far a job is, for the one who waits for it."""

    stage: Stage
    iteration: int = 0
    """Iterations that have ended."""
    iterations: int = 0
    fraction: float | None = Field(default=None, ge=0, le=1)
    """Of the stage, where it can be known (a pull)."""
    tail: str = Field(default="", max_length=TAIL_CHARACTERS_MAX)
    """Last lines of output."""


class Heartbeat(Message):
    """The holder of a lease is alive. The first one also confirms that the claim's answer arrived."""

    attempt: int = Field(ge=1)
    progress: Progress
    instance: UUID | None = None


class HeartbeatReply(Message):
    """The lease runs anew from the moment the server answered."""

    lease_s: float = Field(gt=0)
    cancel: bool = False
    """The job is canceled: stop it, then report it so."""


class ReportEnvelope(Message):
    """A finished report: whole, or a list of the pieces that were sent before."""

    attempt: int = Field(ge=1)
    report: RunReport | None = None
    pieces: int | None = Field(default=None, ge=1)
    sha256: str | None = None
    """Of all pieces in order, lower-case hex."""

    @model_validator(mode="after")
    def _whole_or_in_pieces(self) -> Self:
        if (self.report is None) == (self.pieces is None):
            raise ValueError("either `report` or `pieces` must be given")
        if self.pieces is not None and self.sha256 is None:
            raise ValueError("`sha256` must be given with `pieces`")
        return self


class ReportReceipt(Message):
    """The report is durable on the server."""

    state: JobState
