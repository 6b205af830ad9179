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

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import cycle

# Each copy takes the next piece, so that none is found in a cache: the whole is more than the shared one of most.
MEMORY_BYTES, PIECE_BYTES = 64 << 20, 512 << 10
CALLS = 100
DISK_REPEATS = 3
# A block that took this many times the usual is asked for again: one hiccup is no neighbour.
DISK_SLOW, DISK_USUAL_OF = 2.0, 20
BLOCK = b"canary" * 682
# One round of looking takes a tenth of this; what is longer, somebody else has used.
GAP_NS_MIN = 2000
WORK_STEPS, WORK_COPIES = 14, 4

_from = memoryview(bytearray(os.urandom(4096)) * (MEMORY_BYTES // 4096))
_to = memoryview(bytearray(PIECE_BYTES))
_pieces = cycle(range(0, MEMORY_BYTES, PIECE_BYTES))
_modulus = (1 << 1024) - 105
_exponent = (1 << 48) - 1
_disk_ns = deque[int](maxlen=DISK_USUAL_OF)


def alu() -> None:
    """Multiplications within the first-level cache: slows down when another thread or clock takes the core."""
    pow(3, _exponent, _modulus)


def memory() -> None:
    """A copy from memory: slows down when others take the bandwidth to it or the shared cache."""
    place = next(_pieces)
    _to[:] = _from[place : place + PIECE_BYTES]


def calls() -> None:
    """Ways into the kernel and back."""
    for _ in range(CALLS):
        os.getppid()


def disk() -> None:
    """A block that the disk must have: slows down when others fill its queue. Always the same place of one file."""
    os.pwrite(_file(), BLOCK, 0)
    os.fsync(_file())


@cache
def _file() -> int:
    descriptor = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600)
    os.pwrite(descriptor, BLOCK, 0)
    os.fsync(descriptor)
    return descriptor


def fastest_ns(work: Callable[[], None], repeats: int) -> int:
    """The least of a few."""
    return min(took_ns(work) for _ in range(repeats))


def took_ns(work: Callable[[], None]) -> int:
    """By the clock."""
    start = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - start


def disk_ns(known: deque[int]) -> int:
    """Mostly once. `known`: the last ones, to which this is added."""
    slow_ns = DISK_SLOW * sorted(known)[len(known) // 2] if known else math.inf
    times = [took_ns(disk)]
    while min(times) > slow_ns and len(times) < DISK_REPEATS:
        times.append(took_ns(disk))
    known.append(min(times))
    return min(times)


def work_ns() -> int:
    """Of what the host compares with itself: arithmetic and memory, by turns."""
    start = time.perf_counter_ns()
    for _ in range(WORK_STEPS):
        alu()
        for _ in range(WORK_COPIES):
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
            # A CPU that has been idle takes some 2 ms to come to its clock, which the memory hardly feels.
            memory_ns, calls_ns, alu_ns = fastest_ns(memory, 16), fastest_ns(calls, 4), fastest_ns(alu, 3)
            times = [alu_ns, memory_ns, calls_ns]
            with suppress(OSError):  # A full disk silences one canary, not all.
                times += [disk_ns(_disk_ns)] if words else []
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
