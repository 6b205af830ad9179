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


@dataclass(frozen=True, slots=True)
class Gaps:
    """What a loop that only looks at the clock found on one CPU. Nanoseconds."""

    stolen_ns: int
    longest_ns: int
    count: int
    looked_ns: int


class Canaries:
    """A helper process and what it usually takes. Use as a context manager. `directory`: on the disk to be asked."""

    def __init__(self, directory: Path | None = None, usual_ns: Mapping[str, float] | None = None) -> None:
        self._directory = directory
        self._stored = dict(usual_ns or {})
        self._history: dict[str, deque[int]] = {name: deque(maxlen=HISTORY_MAX) for name in NAMES}
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
            self._history["disk"].clear()

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
        """Take a song into the history."""
        for name, ns in song.items():
            self._history[name].append(ns)

    @property
    def heard_ns(self) -> dict[str, float]:
        """The lower quartile of what was heard in this hold.

        The lower quartile, since neighbours make songs longer and never shorter: three quarters of the history may be
        disturbed before what is usual moves.
        """
        return {name: quantiles(times, n=4)[0] for name, times in self._history.items() if len(times) > 1}

    @property
    def usual_ns(self) -> dict[str, float]:
        """What was heard, or what the host's calibration says, whichever is less."""
        return {name: min(ns, self._stored.get(name, ns)) for name, ns in self.heard_ns.items()}

    def ratios(self, songs: Iterable[Mapping[str, int]]) -> dict[str, float]:
        """The slowest of the songs, each canary as a multiple of what is usual."""
        heard = list(songs)
        slowest = {name: max((song[name] for song in heard if name in song), default=None) for name in NAMES}
        return {name: ns / usual for name, usual in self.usual_ns.items() if (ns := slowest[name]) is not None}
