"""Gives back to the kernel what jobs have used and freed: an agent at rest is small. Decides nothing, keeps nothing."""

import ctypes


def give_back() -> None:
    """Return freed memory. glibc keeps it, in an arena for each thread that ever read an output: malloc_trim(3)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none, and needs none.
    if trim is not None:
        trim(0)
