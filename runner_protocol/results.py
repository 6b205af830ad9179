"""What came out: each iteration's output and verdict, the host it ran on, and how the job ended.

Every bound that was hit shows here: what was cut says how much, what could not be known is null and never zero.
Times ending in `_ns` are nanoseconds, in `_s` seconds; sizes are bytes.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from runner_protocol import PROTOCOL_VERSION
from runner_protocol.wire import Message


class Stage(StrEnum):
    """Where in its life a job was: for progress and for faults."""

    CLAIM = "claim"
    PULL = "pull"
    PLAN = "plan"
    ISOLATE = "isolate"
    ITERATE = "iterate"
    COLLECT = "collect"
    REPORT = "report"
    PROCESS = "process"


class FaultClass(StrEnum):
    """Whose doing a failure was, for machines. `INFRASTRUCTURE` tells which of them another attempt may mend."""

    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_LIMIT = "disk_limit"
    TIMEOUT = "timeout"
    JOB_TIMEOUT = "job_timeout"
    COMMAND_NOT_FOUND = "command_not_found"
    COMMAND_NOT_EXECUTABLE = "command_not_executable"
    NO_COMMAND = "no_command"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_REFUSED = "image_refused"
    IMAGE_INVALID = "image_invalid"
    WRONG_PLATFORM = "wrong_platform"
    FILE_MISSING = "file_missing"
    FILE_REFUSED = "file_refused"
    SPEC_REFUSED = "spec_refused"
    RESULTS_UNREADABLE = "results_unreadable"
    CANCELED = "canceled"
    REGISTRY_UNAVAILABLE = "registry_unavailable"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    ENGINE_FAULT = "engine_fault"
    CONTAINER_LOST = "container_lost"
    HOST_DISK_FULL = "host_disk_full"
    HOST_FAULT = "host_fault"
    AGENT_LOST = "agent_lost"
    AGENT_STOPPED = "agent_stopped"
    AGENT_RESTARTED = "agent_restarted"
    UNKNOWN = "unknown"
    """What a reader makes of a class that it does not know."""

    @classmethod
    def _missing_(cls, value: object) -> "FaultClass | None":
        return cls.UNKNOWN if isinstance(value, str) else None


INFRASTRUCTURE = frozenset(
    {
        FaultClass.REGISTRY_UNAVAILABLE,
        FaultClass.ENGINE_UNAVAILABLE,
        FaultClass.ENGINE_FAULT,
        FaultClass.CONTAINER_LOST,
        FaultClass.HOST_DISK_FULL,
        FaultClass.HOST_FAULT,
        FaultClass.AGENT_LOST,
        FaultClass.AGENT_STOPPED,
        FaultClass.AGENT_RESTARTED,
    }
)
"""Faults of the machine and the way to it. They are tried again; the job's own faults are not."""


class Fault(Message):
    """Why something failed."""

    kind: FaultClass
    stage: Stage
    message: str
    """One sentence for a person."""
    iteration: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    """Such as `SIGKILL`."""


class Word(StrEnum):
    """How far an iteration can be trusted."""

    QUIET = "quiet"
    DISTURBED = "disturbed"
    UNKNOWN = "unknown"


class Reason(Message):
    """One piece of evidence behind a verdict."""

    code: str
    """Machine-readable: `foreign_cpu`, `steal`, `throttled`, `canary`, `partition_lost`, …"""
    message: str
    culprit: str | None = None
    """Name of the process, interrupt or device, where it can be known."""
    value: float | None = None
    limit: float | None = None


class Verdict(Message):
    """The certificate of one iteration: what was seen from outside, and what it means."""

    word: Word
    reasons: list[Reason] = Field(default_factory=list)
    signals: dict[str, float | None] = Field(default_factory=dict)
    """Every signal that was looked at, by name with its unit last; null where this host cannot tell."""


class CapturedText(Message):
    """One output stream, as text."""

    text: str = ""
    dropped_bytes: int = 0
    """How much was cut; a mark stands at the place."""


class FileEncoding(StrEnum):
    """How a file's content is written in JSON."""

    UTF8 = "utf-8"
    BASE64 = "base64"


class CollectedFile(Message):
    """One file that the job asked for."""

    path: str
    """As it stands in the container."""
    size_bytes: int
    """From the archive's header."""
    encoding: FileEncoding = FileEncoding.UTF8
    content: str | None = None
    """Null where only the size was asked for."""
    dropped_bytes: int = 0


class Variant(StrEnum):
    """Which image of a paired comparison an iteration ran."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"


class IterationRecord(Message):
    """One run of the container."""

    number: int = Field(ge=0)
    """Position in the order of running."""
    variant: Variant = Variant.CANDIDATE
    warm_up: bool = False
    """Ran before counting began; never parsed."""
    repeats: int | None = None
    """Number of the disturbed iteration that this one was run in place of."""
    exit_code: int | None = None
    """Null where the command never started."""
    signal: str | None = None
    out_of_memory: bool = False
    timed_out: bool = False
    started: datetime | None = None
    wall_ns: int | None = None
    """The command's wall time, from the engine's own start and finish stamps."""
    cpu_ns: int | None = None
    """CPU time of everything in the container."""
    memory_peak_bytes: int | None = None
    stdout: CapturedText = CapturedText()
    stderr: CapturedText = CapturedText()
    files: list[CollectedFile] = Field(default_factory=list)
    fault: Fault | None = None
    verdict: Verdict | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the command ran and ended well."""
        return self.fault is None and self.exit_code == 0


_BEST_FIRST = (Word.QUIET, Word.UNKNOWN, Word.DISTURBED)


def standing(iterations: Sequence[IterationRecord]) -> list[IterationRecord]:
    """Of each iteration and those that were run in its place, the one that stands, in the order of the first ones.

    The best verdict stands, and of equal ones the earliest: what a value was never decides.
    """
    stands: dict[int, IterationRecord] = {}
    for record in iterations:
        origin = record.number if record.repeats is None else record.repeats
        if origin not in stands or _rank(record) < _rank(stands[origin]):
            stands[origin] = record
    return list(stands.values())


def _rank(record: IterationRecord) -> int:
    """A run that failed stands for nothing that another one can stand for."""
    word = Word.UNKNOWN if record.verdict is None else record.verdict.word
    return _BEST_FIRST.index(word) + (0 if record.succeeded else len(_BEST_FIRST))


class IsolationLevel(StrEnum):
    """How well the benchmark's CPUs were kept for it, strongest first."""

    PARTITION_ISOLATED = "partition-isolated"
    PARTITION_ROOT = "partition-root"
    CPUSET = "cpuset"
    """Pinned; nothing keeps others away."""
    NONE = "none"


class SettingRecord(Message):
    """One knob of the host that was turned, or could not be."""

    name: str
    path: str
    wanted: str
    before: str | None = None
    achieved: str | None = None
    applied: bool = False
    note: str | None = None
    """Why it was refused, in words."""


class IsolationRecord(Message):
    """What kept the host quiet while the job ran."""

    level: IsolationLevel = IsolationLevel.NONE
    benchmark_cpus: str = ""
    """As a kernel CPU list, such as `2-3`."""
    housekeeping_cpus: str = ""
    settings: list[SettingRecord] = Field(default_factory=list)
    digest: str | None = None
    """SHA-256 over the level and every setting, applied or refused: only equal digests are comparable."""
    note: str | None = None
    """Why no stronger level was reached."""


class HostRecord(Message):
    """The machine, as far as it bears on numbers."""

    hostname: str
    machine_id: str | None = None
    boot_id: str | None = None
    kernel: str | None = None
    cpu_model: str | None = None
    cpus: int | None = None
    memory_bytes: int | None = None
    engine: str | None = None
    microcode: str | None = None
    virtual: bool | None = None
    epoch: str | None = None
    """Names one calibrated state of this host; history never mixes two."""
    noise_floor: float | None = None
    """Coefficient of variation of the host's own calibration, as a fraction."""
    minimum_detectable_effect: float | None = None
    """Smallest relative change that an A/A self-test of this host could tell, as a fraction."""
    drift: list[str] = Field(default_factory=list)
    """How the host differs from its last calibration, in words; empty: it does not, or never was calibrated."""


class Summary(Message):
    """The iterations' wall times, all of them and only the quiet ones."""

    counted: int
    disturbed: int
    unknown: int
    median_all_ns: float | None = None
    median_kept_ns: float | None = None
    variation_all: float | None = None
    """Coefficient of variation, a fraction."""
    variation_kept: float | None = None


class Comparison(Message):
    """Candidate against baseline, run in pairs under one roof."""

    pairs: int
    ratio: float
    """Median of candidate / baseline."""
    ratio_lower: float
    ratio_upper: float
    """The 95 % confidence interval."""
    p_value: float
    minimum_detectable_effect: float | None = None
    """The least relative change that so many pairs would have found four times out of five; null for too few."""
    measure: str = "wall time"


class Trust(Message):
    """The report's one word, and what stands behind it."""

    word: Word
    summary: Summary | None = None
    reasons: list[Reason] = Field(default_factory=list)
    comparison: Comparison | None = None


class Outcome(StrEnum):
    """How the agent ended a job."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    RELEASED = "released"
    """Handed back: another attempt should run it."""


class RunReport(Message):
    """Everything that one attempt has to say."""

    protocol: int = PROTOCOL_VERSION
    job: UUID
    attempt: int = Field(ge=1)
    outcome: Outcome
    fault: Fault | None = None
    digest: str | None = None
    """Of the image that ran."""
    baseline_digest: str | None = None
    iterations: list[IterationRecord] = Field(default_factory=list)
    host: HostRecord | None = None
    isolation: IsolationRecord | None = None
    trust: Trust | None = None
    stage_s: dict[Stage, float] = Field(default_factory=dict)
    """How long each stage took."""
