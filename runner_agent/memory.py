"""Keeps the agent small: what jobs have used and freed goes back to the kernel. Decides nothing, keeps nothing."""

import ctypes
import gc
from typing import Final

M_MMAP_THRESHOLD: Final = -3
"""As mallopt(3) and malloc.h have it."""

# What glibc begins with. Left alone it raises this with every large block that is freed, up to 32 MiB: then outputs lie
# among small things, in an arena for each thread that ever read one, and what is freed in between stays with us.
MAPPED_BYTES_MIN: Final = 128 << 10


def map_large_blocks() -> None:
    """Have every large block mapped by itself from now on, so that it goes back the moment it is freed."""
    _glibc("mallopt", M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)


def give_back() -> None:
    """Free what only cycles hold (answers and requests hold each other, bodies and all), and return what is free."""
    gc.collect()
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # musl has neither, and needs neither.
    if function is not None:
        function(*arguments)
