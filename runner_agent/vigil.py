"""Sleeps in a thread of its own until a process ends, and does one thing at that very moment. Polls nothing.

The engine tells of an end only when it has cleared up after it, which takes it some tens of milliseconds on the same
CPUs: what is counted until then would be held against an iteration that was over. Source: pidfd_open(2).
"""

import os
import select
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Vigil(Generic[Found]):
    """Waits for one process. `close` must be called; it gives what was found when the process ended."""

    def __init__(self, pid: int, look: Callable[[], Found]) -> None:
        self._look = look
        self._found: Found | None = None
        self._thread: threading.Thread | None = None
        with ExitStack() as stack:
            try:
                process = os.pidfd_open(pid)
                stack.callback(os.close, process)
                self._stop = os.eventfd(0, os.EFD_CLOEXEC)
                stack.callback(os.close, self._stop)
            except OSError:  # It is gone already, or this kernel is older than 5.3.
                return
            self._stack = stack.pop_all()
        self._thread = threading.Thread(target=self._wait, args=(process,), name="vigil", daemon=True)
        self._thread.start()

    def _wait(self, process: int) -> None:
        with suppress(OSError):  # Else as soon as the scheduler likes, which is late where housekeeping is busy.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
        poll = select.poll()
        for descriptor in (process, self._stop):
            poll.register(descriptor, select.POLLIN)
        if process in dict(poll.poll()):
            self._found = self._look()

    def close(self) -> Found | None:
        """Wait no longer. None where the process still lives, or nobody could wait for it."""
        if self._thread is not None:
            os.eventfd_write(self._stop, 1)
            self._thread.join()
            self._thread = None
            self._stack.close()
        return self._found
