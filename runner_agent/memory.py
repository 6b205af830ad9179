"""Keeps the agent's memory small and to itself. Decides nothing.

What jobs have used and freed goes back to the kernel; what only draws is not loaded; what is in it is never dumped.
"""

import ctypes
import gc
import os
import resource
import sys
from typing import Final, NoReturn

M_MMAP_THRESHOLD: Final = -3
"""As mallopt(3) and malloc.h have it."""

# What glibc begins with. Left alone it raises this with every large block that is freed, up to 32 MiB: then outputs lie
# among small things, in an arena for each thread that ever read one, and what is freed in between stays with us.
MAPPED_BYTES_MIN: Final = 128 << 10

# Which the kernel reads as "none" for files and, unlike zero, for handlers too, such as systemd-coredump.
NO_CORE_BYTES: Final = 1

LEFT: Final = "_RUNNER_AGENT_LEFT"
"""The variable that carries what was left for the process started anew."""


def start_anew(left: str) -> NoReturn:
    """Start this process from its beginning, with its number and arguments; `left_over` gives it what is `left` for it.

    It then also does without the columns of code, which only underline the fault in a traceback's lines: 0.4 MiB.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, os.environ | {LEFT: left, "PYTHONNODEBUGRANGES": "1"})  # noqa: S606  Itself.


def left_over() -> str | None:
    """What was left for this process before it started anew; None where it did not."""
    return os.environ.pop(LEFT, None)


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


def do_without(*libraries: str) -> None:
    """From now on these are as good as not installed: who would use them if they were there does without."""
    for name in libraries:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # How Python says it: importlib, "sys.modules".


def _glibc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # musl has neither, and needs neither.
    if function is not None:
        function(*arguments)
