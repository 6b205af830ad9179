"""A program of its own: short fixed work on one CPU, timed. Knows nothing of jobs and imports nothing of ours.

Reads one line from stdin, goes to the CPU that it names, and answers with one line:

    CPU                 nanoseconds of each canary but the disk's
    CPU disk            the same, with the disk's at the end
    CPU work            nanoseconds of one fixed piece of work, some ten milliseconds
    CPU gaps SECONDS    only looks at the clock: nanoseconds of all gaps, of the longest, how many, of everything

The argument is a directory on the disk that is asked. Ends when stdin is closed, so that it cannot outlive the agent.
Waiting costs nothing: it sleeps in a read.

Each canary is done several times and the fastest counts: the first one warms up caches and clock.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache

REPEATS = 3
# Beyond a core's own caches on anything built in the last ten years, and within the shared one of most.
MEMORY_BYTES = 3 << 20
CACHE_LINE_BYTES = 64
CALLS = 200
DISK_REPEATS = 2
BLOCK = b"canary" * 682
# One round of looking takes a tenth of this; what is longer, somebody else has used.
GAP_NS_MIN = 2000
WORK_STEPS = 16

_memory = memoryview(bytearray(os.urandom(4096)) * (MEMORY_BYTES // 4096))
_modulus = (1 << 1024) - 105
_exponent = (1 << 64) - 1


def alu() -> None:
    """Multiplications within the first-level cache: slows down when another thread or clock takes the core."""
    pow(3, _exponent, _modulus)


def memory() -> None:
    """One byte of every cache line: slows down when others take the shared cache or the bandwidth to memory."""
    _memory[::CACHE_LINE_BYTES].tobytes()


def calls() -> None:
    """Ways into the kernel and back."""
    for _ in range(CALLS):
        os.getppid()


def disk() -> None:
    """A block that the disk must have: slows down when others fill its queue. Always the same place of one file."""
    os.pwrite(_file(), BLOCK, 0)
    os.fdatasync(_file())


@cache
def _file() -> int:
    descriptor = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600)
    os.pwrite(descriptor, BLOCK, 0)
    os.fsync(descriptor)
    return descriptor


def fastest_ns(work: Callable[[], None], repeats: int = REPEATS) -> int:
    """The least of a few."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return min(times)


def work_ns() -> int:
    """Of what the host compares with itself: arithmetic and memory, by turns."""
    start = time.perf_counter_ns()
    for _ in range(WORK_STEPS):
        alu()
        memory()
    return time.perf_counter_ns() - start


def gaps_ns(seconds: float) -> tuple[int, int, int, int]:
    """Time in which this loop did not run, though nothing makes it wait."""
    clock, kind = time.clock_gettime_ns, time.CLOCK_MONOTONIC_RAW
    stolen = longest = count = 0
    start = last = clock(kind)
    end = start + round(seconds * 1e9)
    while last < end:
        now = clock(kind)
        if now - last > GAP_NS_MIN:
            stolen, longest, count = stolen + now - last, max(longest, now - last), count + 1
        last = now
    return stolen, longest, count, last - start


def asked(words: list[str]) -> str:
    """The answer to what stands behind the CPU."""
    match words:
        case ["work"]:
            return str(work_ns())
        case ["gaps", seconds]:
            return " ".join(map(str, gaps_ns(float(seconds))))
        case _:
            times = [fastest_ns(work) for work in (alu, memory, calls)]
            with suppress(OSError):  # A full disk silences one canary, not all.
                times += [fastest_ns(disk, DISK_REPEATS)] if words else []
            return " ".join(map(str, times))


def answer(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        cpu, *words = line.split()
        try:
            os.sched_setaffinity(0, {int(cpu)})
        except OSError as error:
            answer(f"error: {error.strerror}")
            continue
        answer(asked(words))


if __name__ == "__main__":
    main()
