"""Names the process that disturbed an iteration: which of the host's processes ran most meanwhile, and where.

Looked up before an iteration's container is made and after it is gone, and only told when the counters have already
found that somebody ran. A process that came and went in between cannot be named. Judges nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from runner_agent.host import HostFiles
from runner_protocol.results import Verdict

PROCESSES_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Ran:
    """One process at one moment. Source: proc(5), stat."""

    name: str
    ticks: int
    cpu: int
    """Where it ran last."""


def processes(files: HostFiles) -> dict[int, Ran]:
    """All of them, kernel threads included, by number."""
    found = (parse(files.read(path)) for path in files.list("/proc/[0-9]*/stat")[:PROCESSES_MAX])
    return dict(each for each in found if each is not None)


def parse(stat: str | None) -> tuple[int, Ran] | None:
    """One line of `stat`: number, name, user and system ticks, last CPU (fields 1, 2, 14, 15 and 39)."""
    head, _, tail = (stat or "").rpartition(")")
    number, _, name = head.partition(" (")
    fields = tail.split()
    if len(fields) < 37:
        return None
    return int(number), Ran(name, int(fields[11]) + int(fields[12]), int(fields[36]))


def busiest(before: Mapping[int, Ran], files: HostFiles, cpus: Collection[int], verdict: Verdict) -> Verdict:
    """The verdict with a name where others ran. Who ran last on one of the CPUs comes before who did not."""
    if all(reason.code != "foreign_cpu" for reason in verdict.reasons):
        return verdict
    name = culprit(before, processes(files), cpus)
    reasons = [
        reason.model_copy(update={"culprit": name}) if reason.code == "foreign_cpu" else reason
        for reason in verdict.reasons
    ]
    return verdict.model_copy(update={"reasons": reasons})


def culprit(before: Mapping[int, Ran], after: Mapping[int, Ran], cpus: Collection[int]) -> str | None:
    """Whoever gained most ticks (10 ms each), and where it ran last; none where nobody gained one."""
    gains = [
        (now.cpu in cpus, now.ticks - (before[pid].ticks if pid in before else 0), now.name)
        for pid, now in after.items()
    ]
    here, ticks, name = max((gain for gain in gains if gain[1] > 0), default=(False, 0, ""))
    return name if here and ticks else None
