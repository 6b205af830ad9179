"""A neighbour that disturbs on purpose, and writes down when: the truth that a detector is held against.

    python neighbours.py KIND CPU TRUTH [SEED]

Runs on one CPU until it is killed, or whoever started it is gone. Each of its bursts is one line of the file TRUTH:
begin and end in nanoseconds of CLOCK_MONOTONIC. Imports nothing of ours.
"""

import mmap
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STREAM_BYTES = 512 << 20
BLOCK_BYTES = 4096
FILE_BYTES = 64 << 20

Burst = Callable[[int], None]
"""Disturbs until a moment."""


def spin(until_ns: int) -> None:
    """Burns the CPU."""
    while time.monotonic_ns() < until_ns:
        pass


class Stream:
    """Reads far more memory than any cache holds, and writes it elsewhere."""

    def __init__(self) -> None:
        self._from = memoryview(bytearray(os.urandom(4096)) * (STREAM_BYTES // 4096))
        self._to = memoryview(bytearray(STREAM_BYTES))
        self._place = 0

    def __call__(self, until_ns: int) -> None:
        """A megabyte at a time, so that the end of a burst is kept to a millisecond."""
        step = 1 << 20
        while time.monotonic_ns() < until_ns:
            place = self._place
            self._to[place : place + step] = self._from[place : place + step]
            self._place = (place + step) % STREAM_BYTES


class Sync:
    """Writes a block and waits until the disk has it, again and again."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(dir="/var/tmp")  # noqa: SIM115  It lives as long as this process.

    def __call__(self, until_ns: int) -> None:
        """One block after the other, over the same place."""
        while time.monotonic_ns() < until_ns:
            os.pwrite(self._file.fileno(), b"x" * BLOCK_BYTES, 0)
            os.fsync(self._file.fileno())


class Interrupts:
    """Reads from the disk past the page cache: each block is an interrupt, on the CPU that serves the disk's queue."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(dir="/var/tmp")  # noqa: SIM115  It lives as long as this process.
        self._file.write(os.urandom(FILE_BYTES))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._direct = os.open(self._file.name, os.O_RDONLY | os.O_DIRECT)
        self._page = mmap.mmap(-1, BLOCK_BYTES)

    def __call__(self, until_ns: int) -> None:
        """Block after block, each from another place."""
        while time.monotonic_ns() < until_ns:
            place = random.randrange(FILE_BYTES // BLOCK_BYTES) * BLOCK_BYTES
            os.preadv(self._direct, [self._page], place)


class Packets:
    """Sends datagrams to itself over loopback: the kernel works through them in software interrupts."""

    def __init__(self) -> None:
        self._to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to.bind(("127.0.0.1", 0))

    def __call__(self, until_ns: int) -> None:
        """As fast as they go; what nobody reads is dropped."""
        address = self._to.getsockname()
        while time.monotonic_ns() < until_ns:
            self._to.sendto(b"x", address)


KINDS: dict[str, tuple[Callable[[], Burst], tuple[float, float], tuple[float, float]]] = {
    # What it does, how long a burst takes and how long it rests, in seconds.
    "spinner": (lambda: spin, (0.5, 2.0), (0.5, 2.0)),
    "bursts": (lambda: spin, (0.004, 0.008), (0.05, 0.3)),
    "memory": (Stream, (0.5, 2.0), (0.5, 2.0)),
    "fsync": (Sync, (0.5, 2.0), (0.5, 2.0)),
    "interrupts": (Interrupts, (0.5, 2.0), (0.5, 2.0)),
    "packets": (Packets, (0.5, 2.0), (0.5, 2.0)),
}


def main(kind: str, cpu: str, truth: str, seed: str = "61016") -> None:
    """Disturb, rest, disturb again."""
    os.sched_setaffinity(0, {int(cpu)})
    # A session of its own: within one, the scheduler would balance by session and hide or exaggerate it.
    os.setsid()
    make, busy_s, rest_s = KINDS[kind]
    burst, chance = make(), random.Random(seed)
    with Path(truth).open("w", buffering=1) as file:
        parent = os.getppid()
        print("ready", flush=True)
        while os.getppid() == parent:
            begin_ns = time.monotonic_ns()
            file.write(f"{begin_ns} ")
            file.flush()  # A burst that is cut short was there all the same.
            burst(begin_ns + round(chance.uniform(*busy_s) * 1e9))
            file.write(f"{time.monotonic_ns()}\n")
            time.sleep(chance.uniform(*rest_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
