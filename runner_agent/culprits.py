"""Names the process that disturbed an iteration: which of those that may run on its CPUs ran most, and ran there last.

Looked up around a job's first iteration and around each that follows a disturbed one: a quiet host costs nothing. A
process that came and went in between cannot be named. Judges nothing.
"""

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from runner_agent.cpu_list import parse_cpu_list
from runner_agent.host import HostFiles
from runner_protocol.results import Verdict

PROCESSES_MAX = 20_000
STAT_BYTES_MAX = 4096
FOREIGN = "foreign_cpu"
"""The code of the reason that asks for a name."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One process at one moment. Source: proc(5), stat."""

    name: str
    ticks: int
    cpu: int
    """Where it ran last."""


def processes(files: HostFiles) -> dict[int, Ran]:
    """All of them, kernel threads included, by number."""
    root = files.at("/proc")
    numbers = [name for name in os.listdir(root) if name.isdecimal()]  # noqa: PTH208  Numbers, not paths.
    found = (parse(_stat(f"{root}/{number}/stat")) for number in numbers[:PROCESSES_MAX])
    return dict(each for each in found if each is not None)


def _stat(path: str) -> str | None:
    """Without a detour: this is done for every process, while the command runs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, STAT_BYTES_MAX).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)


def parse(stat: str | None) -> tuple[int, Ran] | None:
    """One line of `stat`: number, name, user and system ticks, last CPU (fields 1, 2, 14, 15 and 39)."""
    head, _, tail = (stat or "").rpartition(")")
    number, _, name = head.partition(" (")
    fields = tail.split()
    if len(fields) < 37:
        return None
    return int(number), Ran(name, int(fields[11]) + int(fields[12]), int(fields[36]))


def named(
    verdict: Verdict, before: Mapping[int, Ran], after: Mapping[int, Ran], files: HostFiles, cpus: AbstractSet[int]
) -> Verdict:
    """The verdict with a name where others ran."""
    name = next((ran.name for pid, ran in suspects(before, after, cpus) if _may_run(files, pid, cpus)), None)
    reasons = [
        reason.model_copy(update={"culprit": name}) if reason.code == FOREIGN else reason for reason in verdict.reasons
    ]
    return verdict.model_copy(update={"reasons": reasons})


def suspects(before: Mapping[int, Ran], after: Mapping[int, Ran], cpus: AbstractSet[int]) -> list[tuple[int, Ran]]:
    """Whoever gained ticks (10 ms each) and ran last on one of the CPUs, the busiest first."""
    gains = {pid: now.ticks - (before[pid].ticks if pid in before else 0) for pid, now in after.items()}
    guilty = [(pid, now) for pid, now in after.items() if gains[pid] > 0 and now.cpu in cpus]
    return sorted(guilty, key=lambda each: -gains[each[0]])


def _may_run(files: HostFiles, pid: int, cpus: AbstractSet[int]) -> bool:
    """Not so for one that the partition has moved away, though it ran there before."""
    status = files.read(f"/proc/{pid}/status") or ""
    allowed = status.partition("Cpus_allowed_list:\t")[2].partition("\n")[0]
    return bool(parse_cpu_list(allowed) & cpus)
