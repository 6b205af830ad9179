"""Fixed work to be measured, as a program of its own: one line `KIND SHARE` in, the nanoseconds that it took
out: by the clock on the wall, and of the CPU.

Imports nothing of ours. `SHARE` scales the amount: 1.03 is three per cent more. Ends when stdin is closed.
"""

import os
import sys
import tempfile
import time

COPY_BYTES = 6 << 20
COPY_PASSES = 240
MEMORY_BYTES = 16 << 20
MEMORY_PASSES = 48
ALU_STEPS = 60
PIECES = 100
BLOCKS = 60
BLOCK_BYTES = 4096

_from = memoryview(bytearray(os.urandom(4096)) * (MEMORY_BYTES // 4096))
_to = memoryview(bytearray(MEMORY_BYTES))
_modulus = (1 << 1024) - 105
_exponent = (1 << 256) - 1
_file = tempfile.NamedTemporaryFile(dir="/var/tmp")  # noqa: SIM115  It lives as long as this process.


def alu(share: float) -> None:
    """Multiplications within the first-level cache."""
    for _ in range(round(ALU_STEPS * share)):
        pow(3, _exponent, _modulus)


def copies(share: float) -> None:
    """Of more than a core's own caches hold, and less than the shared one."""
    _copied(COPY_BYTES, COPY_PASSES * share)


def memory(share: float) -> None:
    """Copies of as much as the shared cache holds: whoever takes part of it is felt."""
    _copied(MEMORY_BYTES, MEMORY_PASSES * share)


def _copied(size: int, passes: float) -> None:
    step = size // PIECES
    for piece in range(round(passes * PIECES)):
        place = piece % PIECES * step
        _to[place : place + step] = _from[place : place + step]


def disk(share: float) -> None:
    """Blocks that the disk must have, one after the other."""
    for place in range(round(BLOCKS * share)):
        os.pwrite(_file.fileno(), b"x" * BLOCK_BYTES, place * BLOCK_BYTES)
        os.fsync(_file.fileno())


WORKS = {"alu": alu, "copies": copies, "memory": memory, "disk": disk}


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        kind, share = line.split()
        begin_ns, begin_cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        WORKS[kind](float(share))
        sys.stdout.write(f"{time.monotonic_ns() - begin_ns} {time.thread_time_ns() - begin_cpu_ns}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
