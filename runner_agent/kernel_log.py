"""Reads what the kernel says of this machine. Source: Documentation/ABI/testing/dev-kmsg."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")
LINES_MAX = 10_000

# What speaks of a sick machine. A benchmark that dies of its own memory limit does not.
SICK = re.compile(
    r"mce:|machine check|hardware error|thermal|temperature above threshold|throttled|soft lockup|hard lockup|"
    r"rcu.*stall|hung task|clocksource.*unstable|I/O error|link is (?:down|up)|page allocation failure",
    re.IGNORECASE,
)


class KernelLog:
    """Everything that the kernel still remembers, and then what is new. Empty where it may not be read."""

    def __init__(self, path: Path = KERNEL_LOG) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def skip(self) -> None:
        """Forget what has been said until now."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.lseek(self._descriptor, 0, os.SEEK_END)

    def lines(self) -> Iterator[str]:
        """What was said since the last look."""
        for _ in range(LINES_MAX if self._descriptor is not None else 0):
            try:
                record = os.read(self._descriptor or 0, 8192)
            except BlockingIOError:
                return
            except OSError:  # EPIPE: overwritten before it was read; the next read goes on.
                continue
            if not record:
                return
            yield record.decode(errors="replace").partition(";")[2].splitlines()[0]

    def sick_lines(self) -> tuple[str, ...]:
        """Of these, the kind that casts doubt on a measurement."""
        return tuple(line for line in self.lines() if SICK.search(line))

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
