"""What a container's end means: from the engine's last state to exit code, signal, times, fault and record. Pure."""

import errno
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from runner_agent.bench import Observation
from runner_agent.containers.streams import Capture
from runner_agent.engine import IterationOrder
from runner_protocol.results import CollectedFile, Fault, FaultClass, IterationRecord, Stage

# A shell and `docker-init` say a signal by 128 plus its number.
SIGNAL_BASE = 128
NOT_FOUND = 127
NOT_EXECUTABLE = 126
# `docker-init` is tini; where it cannot start the command it says so and leaves with 127 or 126.
# Source: github.com/krallin/tini, src/tini.c, `spawn_process`.
INIT_FAILED = re.compile(r"^\[FATAL tini \(\d+\)\] exec (.*) failed: (.*)$", re.MULTILINE)
# Podman's is catatonit: it names no program, and leaves with 1 whatever the reason. Nothing else has written then.
# Source: github.com/openSUSE/catatonit, catatonit.c, `spawn_pid1`.
CATATONIT_FAILED = re.compile(r"ERROR \(catatonit:\d+\): failed to exec pid1: (.*)\n?")
CATATONIT_CODE = 1

NEVER_RAN = frozenset({FaultClass.COMMAND_NOT_FOUND, FaultClass.COMMAND_NOT_EXECUTABLE, FaultClass.NO_COMMAND})


class Cut(Enum):
    """What ended a container before its command did."""

    TIMEOUT = "timeout"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended, as the engine has it."""

    exit_code: int
    out_of_memory: bool
    started: datetime | None
    wall_ns: int | None

    @property
    def signal(self) -> str | None:
        """The signal that the exit code stands for, such as `SIGKILL`."""
        return signal_name(self.exit_code)


def ending_of(state: Mapping[str, Any]) -> Ending:
    """Read the engine's `State` of a container that has ended."""
    started_ns, finished_ns = stamp_ns(state.get("StartedAt")), stamp_ns(state.get("FinishedAt"))
    wall_ns = None
    # The engine stamps the start after the fact; a command shorter than that has no wall time that could be told.
    if started_ns is not None and finished_ns is not None and finished_ns >= started_ns:
        wall_ns = finished_ns - started_ns
    return Ending(
        exit_code=int(state["ExitCode"]),
        out_of_memory=bool(state.get("OOMKilled")),
        started=None if started_ns is None else _moment(started_ns),
        wall_ns=wall_ns,
    )


def killed_without_reason(state: Mapping[str, Any]) -> bool:
    """Whether SIGKILL ended the command and the engine does not call it a lack of memory, or does not do so yet."""
    return signal_name(int(state["ExitCode"])) == "SIGKILL" and not state.get("OOMKilled")


def stamp_ns(text: str | None) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 stamp with up to nine digits; none for the engine's year 1 (never)."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text or "")
    if match is None or match[1].startswith("0001"):
        return None
    whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))


def _moment(stamp: int) -> datetime:
    whole, rest = divmod(stamp, 10**9)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=rest // 1000)


def signal_name(exit_code: int) -> str | None:
    """`SIGSEGV` for 139; none where the code stands for no signal of this platform."""
    try:
        return signal.Signals(exit_code - SIGNAL_BASE).name
    except ValueError:
        return None


def fault_of(
    ending: Ending, *, cut: Cut | None, within_s: float, disk_bytes: int, program: str, stderr_end: str
) -> Fault | None:
    """Why the command did not end well; none where it did. What we did to it comes before what it did."""
    if cut is Cut.TIMEOUT:
        return _fault(FaultClass.TIMEOUT, f"killed after {within_s:g} s, the iteration's time limit", ending)
    if cut is Cut.DISK:
        return _fault(
            FaultClass.DISK_LIMIT,
            f"wrote more than {disk_bytes} bytes, or more files than that has blocks (spec.disk)",
            ending,
        )
    if ending.exit_code == 0:
        return None
    if ending.out_of_memory:
        return _fault(FaultClass.OUT_OF_MEMORY, "the container ran out of memory (spec.memory)", ending)
    return _never_began(ending, program, stderr_end) or _went_wrong(ending)


def _never_began(ending: Ending, program: str, stderr_end: str) -> Fault | None:
    if ending.exit_code in (NOT_FOUND, NOT_EXECUTABLE) and (said := INIT_FAILED.search(stderr_end)):
        missing, message = ending.exit_code == NOT_FOUND, f"{said[1]}: {said[2]}"
    elif ending.exit_code == CATATONIT_CODE and (said := CATATONIT_FAILED.fullmatch(stderr_end)):
        missing, message = said[1] == os.strerror(errno.ENOENT), f"{program}: {said[1]}"
    else:
        return None
    kind = FaultClass.COMMAND_NOT_FOUND if missing else FaultClass.COMMAND_NOT_EXECUTABLE
    if not program:  # Docker makes no such container; Podman 5 does.
        kind, message = FaultClass.NO_COMMAND, "the image has no command, and the job gives none"
    return Fault(kind=kind, stage=Stage.ITERATE, message=message, exit_code=ending.exit_code)


def _went_wrong(ending: Ending) -> Fault:
    if ending.signal is not None:
        return _fault(FaultClass.SIGNAL, f"ended by {ending.signal}", ending)
    return _fault(FaultClass.EXIT_CODE, f"exit code {ending.exit_code}", ending)


def _fault(kind: FaultClass, message: str, ending: Ending) -> Fault:
    return Fault(kind=kind, stage=Stage.ITERATE, message=message, exit_code=ending.exit_code, signal=ending.signal)


def record_of(
    order: IterationOrder,
    capture: Capture,
    *,
    fault: Fault | None,
    ending: Ending | None = None,
    seen: Observation | None = None,
    timed_out: bool = False,
    files: Sequence[CollectedFile] = (),
) -> IterationRecord:
    """Everything that is known of one iteration. A command that never began has no exit code and no wall time."""
    ran = ending if fault is None or fault.kind not in NEVER_RAN else None
    return IterationRecord(
        number=order.number,
        variant=order.variant,
        warm_up=order.warm_up,
        repeats=order.repeats,
        exit_code=ran and ran.exit_code,
        signal=ran and ran.signal,
        out_of_memory=ending is not None and ending.out_of_memory,
        timed_out=timed_out,
        started=ending and ending.started,
        wall_ns=ran and ran.wall_ns,
        cpu_ns=seen and seen.cpu_ns,
        memory_peak_bytes=seen and seen.memory_peak_bytes,
        stdout=capture.stdout,
        stderr=capture.stderr,
        files=list(files),
        fault=fault and fault.model_copy(update={"iteration": order.number}),
        verdict=seen and seen.verdict,
    )
