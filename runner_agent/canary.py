"""Canaries: short fixed work on a benchmark CPU before and after an iteration. They feel what no counter shows.

A neighbour on another core that empties the shared cache or fills the bus takes no CPU time from us, so run-time
counters stay silent; work of known length does not. Judges nothing: gives ratios to what is usual on this host.
"""

import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from types import TracebackType
from typing import Self

NAMES = ("alu", "memory", "calls", "disk")
PROGRAM = Path(__file__).with_name("canary_process.py")

# A canary takes some 2 ms. One that has not come back after this is stuck behind a real-time thread.
ANSWER_S_MAX = 2.0

# One block. Faster is no disk but memory; a slower one would make the watching as long as what is watched.
DISK_NS_MIN, DISK_NS_MAX = 20_000, 2_000_000

# How far back "usual" reaches. Long enough that a burst cannot become usual, short enough to follow a warm host.
HISTORY_MAX = 200

# Before a history exists: enough for a quartile.
TUNE_UP_SONGS = 12
FEW = 4


@dataclass(frozen=True, slots=True)
class Gaps:
    """What a loop that only looks at the clock found on one CPU. Nanoseconds."""

    stolen_ns: int
    longest_ns: int
    count: int
    looked_ns: int


class Canaries:
    """A helper process and what it usually takes. Use as a context manager. `directory`: on the disk to be asked."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._alone, self._before, self._after = _History(), _History(), _History()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # -I -S: no site packages, no environment; starts in a few milliseconds.
        command = [sys.executable, "-I", "-S", str(PROGRAM), *([str(self._directory)] if self._directory else [])]
        self._process = subprocess.Popen(  # noqa: S603  Our own interpreter and file.
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ANSWER_S_MAX)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """Of the helper, to be put into the cgroup that holds the CPUs."""
        assert self._process is not None, "the canaries are used within their block"
        return self._process.pid

    def tune_up(self, cpus: Iterable[int]) -> None:
        """Learn what is usual on these CPUs just now."""
        for cpu in cpus:
            self.sing(cpu)  # The first touches the memory.
            for _ in range(TUNE_UP_SONGS):
                self.learn(self.sing(cpu))
        if not DISK_NS_MIN <= self.heard_ns.get("disk", 0) <= DISK_NS_MAX:
            self._directory = None
            self._alone.forget("disk")

    def sing(self, cpu: int) -> dict[str, int]:
        """Nanoseconds of each canary on one CPU; empty where the helper cannot get there or does not answer."""
        numbers = self._ask(f"{cpu} disk" if self._directory else f"{cpu}")
        return dict(zip(NAMES, numbers, strict=False))

    def work(self, cpu: int) -> int | None:
        """Nanoseconds of a fixed piece of work on one CPU."""
        numbers = self._ask(f"{cpu} work")
        return numbers[0] if len(numbers) == 1 else None

    def gaps(self, cpu: int, seconds: float) -> Gaps | None:
        """How much of a CPU a loop that never waits does not get."""
        numbers = self._ask(f"{cpu} gaps {seconds}", within_s=ANSWER_S_MAX + seconds)
        return Gaps(*numbers) if len(numbers) == 4 else None

    def _ask(self, line: str, *, within_s: float = ANSWER_S_MAX) -> list[int]:
        """The numbers of one answer; none where the helper cannot get there or does not answer."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return []
        try:
            self._process.stdin.write(f"{line}\n".encode())
        except OSError:
            return []
        ready, _, _ = select.select([self._process.stdout], [], [], within_s)
        words = os.read(self._process.stdout.fileno(), 4096).split() if ready else []
        if not ready:
            self._process.kill()  # Its late answer would be taken for the next one's.
        return [int(word) for word in words] if all(word.isdigit() for word in words) else []

    def learn(self, song: Mapping[str, int]) -> None:
        """Take a song that no iteration was near into the history."""
        self._alone.add(song)

    @property
    def heard_ns(self) -> dict[str, float]:
        """What was usual in this hold when no iteration was near."""
        return self._alone.usual_ns()

    def ratios(self, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, float]:
        """The slower of an iteration's two songs, each canary as a multiple of what is usual then; learns both.

        An engine leaves caches and clock in one state, a benchmark in another, and both are no neighbours. So each song
        is held against those of the same moment; the first few before an iteration against those sung alone.
        """
        self._before.add(before)
        self._after.add(after)
        usual = ({**self.heard_ns, **self._before.usual_ns(FEW)}, self._after.usual_ns())
        found: dict[str, float] = {}
        for song, usual_ns in zip((before, after), usual, strict=True):
            for name in song.keys() & usual_ns.keys():
                found[name] = max(found.get(name, 0.0), song[name] / usual_ns[name])
        return found


class _History:
    """Songs of one kind."""

    def __init__(self) -> None:
        self._times_ns = {name: deque[int](maxlen=HISTORY_MAX) for name in NAMES}

    def add(self, song: Mapping[str, int]) -> None:
        for name, ns in song.items():
            self._times_ns[name].append(ns)

    def forget(self, name: str) -> None:
        self._times_ns[name].clear()

    def usual_ns(self, few: int = 2) -> dict[str, float]:
        """The lower quartile of those of which there are a few.

        Neighbours make songs longer and never shorter: three quarters of the history may be disturbed before it moves.
        """
        known = {name: times for name, times in self._times_ns.items() if len(times) >= few}
        return {name: quantiles(times, n=4, method="inclusive")[0] for name, times in known.items()}
