"""Keeps the agent's memory small and to itself. Decides nothing.

What jobs have used and freed goes back to the kernel; what only draws is not loaded; what is in it is never dumped.
"""

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

M_MMAP_THRESHOLD: Final = -3
"""As mallopt(3) and malloc.h have it."""

# What glibc begins with. Left alone it raises this with every large block that is freed, up to 32 MiB: then outputs lie
# among small things, in an arena for each thread that ever read one, and what is freed in between stays with us.
MAPPED_BYTES_MIN: Final = 128 << 10

# Which the kernel reads as "none" for files and, unlike zero, for handlers too, such as systemd-coredump.
NO_CORE_BYTES: Final = 1


def map_large_blocks() -> None:
    """Have every large block mapped by itself from now on, so that it goes back the moment it is freed."""
    _glibc("mallopt", M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)


def give_back() -> None:
    """Free what only cycles hold (answers and requests hold each other, bodies and all), and return what is free."""
    gc.collect()
    _glibc("malloc_trim", 0)


def keep_from_core_dumps() -> None:
    """Let no crash write this process out: it holds the runner's key."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = NO_CORE_BYTES if most else 0  # Only root may raise it again.
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


@contextmanager
def without(*libraries: str) -> Iterator[None]:
    """Import in this block as if these were not installed: who would use them if they were there does without."""
    hidden = [name for name in libraries if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # How Python says it: importlib, "sys.modules".
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _glibc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # musl has neither, and needs neither.
    if function is not None:
        function(*arguments)
