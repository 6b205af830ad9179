"""A program of its own: short fixed work on one CPU, timed. Knows nothing of jobs and imports nothing of ours.

Reads one line with a CPU's number from stdin, goes to that CPU, and answers with one line: nanoseconds of each canary.
Ends when stdin is closed, so that it cannot outlive the agent. Waiting costs nothing: it sleeps in a read.

Each canary is done several times and the fastest counts: the first one warms up caches and clock.
"""

import os
import sys
import time
from collections.abc import Callable

REPEATS = 3
# Beyond a core's own caches on anything built in the last ten years, and within the shared one of most.
MEMORY_BYTES = 4 << 20
CACHE_LINE_BYTES = 64
CALLS = 200

_memory = memoryview(bytearray(os.urandom(4096)) * (MEMORY_BYTES // 4096))
_modulus = (1 << 1024) - 105
_exponent = (1 << 192) - 1


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


def fastest_ns(work: Callable[[], None]) -> int:
    """The least of a few."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return min(times)


def answer(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        try:
            os.sched_setaffinity(0, {int(line)})
        except OSError as error:
            answer(f"error: {error.strerror}")
            continue
        answer(f"{fastest_ns(alu)} {fastest_ns(memory)} {fastest_ns(calls)}")


if __name__ == "__main__":
    main()
