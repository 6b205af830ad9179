"""Sleeps in a thread of its own until a process ends, and does one thing at that very moment. Polls nothing.

The engine tells of an end only when it has cleared up after it, which takes it some tens of milliseconds on the same
CPUs: what is counted until then would be held against an iteration that was over. Source: pidfd_open(2).
"""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

Found = TypeVar("Found")


class Vigil(Generic[Found]):
    """One thread that waits for one process after the other. Use as a context manager."""

    def __init__(self, look: Callable[[], Found]) -> None:
        self._look = look
        self._lock, self._looked = threading.Lock(), threading.Event()
        self._process: int | None = None
        self._found: Found | None = None
        self._thread = threading.Thread(target=self._wait, name="vigil", daemon=True)

    def __enter__(self) -> Self:
        self._epoll, self._stop = select.epoll(), os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._epoll.close()
        os.close(self._stop)

    def begin(self, pid: int) -> None:
        """Wait for this process. One that is gone already, or a kernel before 5.3, is not waited for."""
        with suppress(OSError):
            self._found, self._process = None, os.pidfd_open(pid)
            self._looked.clear()
            self._epoll.register(self._process, select.EPOLLIN)

    def end(self) -> Found | None:
        """Wait no longer. What was found when the process ended; none where it lives, or nobody waited for it."""
        if self._process is None:
            return None
        if _ended(self._process):
            self._looked.wait()
        with self._lock:
            with suppress(OSError):  # The thread has done it already.
                self._epoll.unregister(self._process)
            os.close(self._process)
            self._process = None
            return self._found

    def _wait(self) -> None:
        with suppress(OSError):  # Else as soon as the scheduler likes, which is late where housekeeping is busy.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
        while self._stop not in (ready := [descriptor for descriptor, _ in self._epoll.poll()]):
            with self._lock:
                if self._process in ready and _ended(self._process):
                    self._epoll.unregister(self._process)
                    try:
                        self._found = self._look()
                    finally:
                        self._looked.set()


def _ended(process: int) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))
