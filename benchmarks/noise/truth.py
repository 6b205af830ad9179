"""What is true of an iteration, whatever was said of it: from its own clocks and the neighbour's record. Pure."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from noise.stage import Phase

from runner_protocol.results import Word

# Fewer say nothing about a share of 90 %: the neighbour does not bite on this host.
SLOWED_MIN = 10
ALONE_MIN = 0.995
"""Of its time an iteration that was alone had a CPU."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One iteration: what it took, what was said of it, and what was true."""

    condition: str
    work: str
    begin_ns: int
    end_ns: int
    wall_ns: int
    cpu_ns: int
    """For which the work had a CPU, by its own account."""
    word: str
    reasons: list[str]
    signals: dict[str, float | None]
    overlap_ns: int = 0
    """Of the neighbour's bursts with the work, from its own record."""

    @property
    def alone(self) -> bool:
        """Whether no stranger took the CPU either, whose bursts nobody wrote down; a disk makes its work wait."""
        return self.work == "disk" or self.cpu_ns >= ALONE_MIN * self.wall_ns

    @property
    def called(self) -> bool:
        """Called disturbed; for the disk's work by the disk's canary alone, since its own blocks interrupt it, too."""
        return "canary_disk" in self.reasons if self.work == "disk" else self.word == Word.DISTURBED


@dataclass(frozen=True, slots=True)
class Usual:
    """What a kind of work takes when nobody is beside it."""

    median_ns: float
    limit_ns: float
    """From where on a time is not usual."""

    def slowed(self, each: Seen) -> bool:
        """Whether a neighbour truly slowed it: beyond what quiet work takes, and by no more than its bursts explain.

        A neighbour cannot take more time than it was there. What is slower than that, somebody else has slowed whose
        bursts nobody wrote down, such as the hypervisor.
        """
        return each.wall_ns > self.limit_ns and each.overlap_ns >= each.wall_ns - self.median_ns


def usual(times_ns: Sequence[int]) -> Usual:
    """Of quiet times: five per cent beyond their median, or what their noise explains (three standard deviations)."""
    middle = statistics.median(times_ns)
    spread = 1.4826 * statistics.median(abs(each - middle) for each in times_ns)
    return Usual(middle, middle + max(0.05 * middle, 3 * spread))


@dataclass(frozen=True, slots=True)
class Row:
    """One condition, summed up."""

    iterations: int
    slowed: int
    caught: int
    untouched: int
    """Iterations that no burst touched."""
    flagged: int
    """Of these, called disturbed."""
    alone: int
    """Of the untouched, those that truly had nobody beside them: they had a CPU all the time, and were not slow."""
    false: int
    """Of these, called disturbed."""
    reasons: dict[str, int]
    """For which the false ones were called so."""

    @property
    def recall(self) -> float | None:
        """Of those truly slowed; none where there were too few."""
        return self.caught / self.slowed if self.slowed >= SLOWED_MIN else None


def summed(seen: Sequence[Seen], of_work: Mapping[str, Usual]) -> Row:
    """Truth against verdicts."""
    slowed = [each for each in seen if of_work[each.work].slowed(each)]
    untouched = [each for each in seen if not each.overlap_ns]
    flagged = [each for each in untouched if each.called]
    alone = [each for each in untouched if each.alone and each.wall_ns <= of_work[each.work].limit_ns]
    false = [each for each in alone if each.called]
    return Row(
        iterations=len(seen),
        slowed=len(slowed),
        caught=sum(each.called for each in slowed),
        untouched=len(untouched),
        flagged=len(flagged),
        alone=len(alone),
        false=len(false),
        reasons=dict(Counter(code for each in false for code in each.reasons).most_common()),
    )


def with_truth(seen: Sequence[Seen], phases: Sequence[Phase]) -> list[Seen]:
    """Each iteration with how much of a burst fell into it."""
    return [replace(each, overlap_ns=overlap_ns(phases, each.begin_ns, each.end_ns)) for each in seen]


def overlap_ns(phases: Sequence[Phase], begin_ns: int, end_ns: int) -> int:
    """How much of a span the bursts fill."""
    return sum(phase.overlap_ns(begin_ns, end_ns) for phase in phases)
