"""The shapes of jobs and runners as the API shows them, for the OpenAPI page. See `job_json` for what fills them."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on.

from runner_protocol.messages import AgentIdentity, Progress
from runner_protocol.results import Fault, HostRecord, IsolationLevel, IsolationRecord, Trust
from server_stub.shapes import SpecJson
from server_stub.waiting import RunnerState, WaitReason

Status = Literal["pending", "claimed", "running", "completed", "processed", "failed", "canceled"]


class WaitingJson(TypedDict):
    """Why a job waits. `position`: 1 is the next among those that want the spec; `runners`: how many hold it."""

    reason: WaitReason
    message: str
    position: int
    runners: int


class AttemptJson(TypedDict):
    """One claim of a job and how it ended: unconfirmed, lost, released, completed, failed or canceled."""

    attempt: int
    runner: str
    claimed: str | None
    confirmed: str | None
    ended: str | None
    ending: str | None
    fault: Fault | None


class IterationJson(TypedDict):
    """What one run of the container printed, and what was seen of it. -1 stands for an exit code that there is not."""

    exit_code: int
    stdout: NotRequired[str]
    stderr: NotRequired[str]
    output: NotRequired[dict[str, str]]


class OutputJson(TypedDict):
    """All iterations in the order of running."""

    results: list[IterationJson]
    error: NotRequired[str]


class JobJson(TypedDict):
    """A job. The members from `waiting` on are there once there is something to say, and not in lists."""

    uuid: str
    status: Status
    spec: SpecJson
    runner: str | None
    claimed: str | None
    started: str | None
    completed: str | None
    created: str
    modified: str
    attempt: int
    priority: int
    timeout: int
    cancel_requested: bool
    progress: Progress | None
    fault: Fault | None
    waiting: NotRequired[WaitingJson]
    attempts: NotRequired[list[AttemptJson]]
    digest: NotRequired[str | None]
    baseline_digest: NotRequired[str | None]
    host: NotRequired[HostRecord | None]
    isolation: NotRequired[IsolationRecord | None]
    trust: NotRequired[Trust | None]
    stage_s: NotRequired[dict[str, float]]
    output: NotRequired[OutputJson]


class RunnerJson(TypedDict):
    """A runner and what it was last heard to say. `clone`: a second machine that came with its key."""

    uuid: str
    name: str
    slug: str
    specs: list[str]
    archived: str | None
    last_heartbeat: str | None
    created: str
    modified: str
    state: RunnerState
    job: str | None
    progress: Progress | None
    drained: str | None
    drain_reason: str | None
    agent: AgentIdentity | None
    host: HostRecord | None
    isolation: IsolationLevel | None
    blocked: list[str]
    spooled: int
    clone: dict[str, Any] | None


class RunnerKeyJson(TypedDict):
    """A runner and its new key, which is never shown again."""

    uuid: str
    key: str
