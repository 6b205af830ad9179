"""Transactions that wait for the one writer: those that came while it was busy leave together and share its commit."""

import queue
from concurrent.futures import Future
from typing import Any

from server_stub.store.tx import Answer, Call, Tx, Work

GROUP_MAX = 64
"""Functions that may share one commit: enough to hide the fsync, few enough to answer the first soon."""

Member = tuple[Work, Future[Any]]
"""What a transaction does, and who waits for what comes of it."""


def batches(group: list[Member]) -> list[list[Member]]:
    """The calls of a group by what answers them, none of a caller twice; everything else by itself."""
    found: list[list[Member]] = []
    filling: dict[Answer, dict[str | None, Member]] = {}
    for member in group:
        work = member[0]
        if not isinstance(work, Call):
            found.append([member])
            continue
        by_caller = filling.setdefault(work.answer, {})
        if work.caller in by_caller:
            found.append(list(by_caller.values()))
            by_caller.clear()
        by_caller[work.caller] = member
    return found + [list(by_caller.values()) for by_caller in filling.values()]


def answer_all(tx: Tx, batch: list[Member]) -> list[Any]:
    """What each call of a batch is answered."""
    works = [work for work, _ in batch if isinstance(work, Call)]
    return works[0].answer(tx, [work.body for work in works])


def settle(waiting: Future[Any], outcome: Any) -> None:
    """Tell somebody who waits what came of it, an exception as such."""
    if isinstance(outcome, BaseException):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)


class WaitingLine:
    """Filled from any thread, emptied by one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Member | None] = queue.SimpleQueue()
        self._closed = False

    def add(self, work: Work) -> Future[Any]:
        """Stand in line."""
        future: Future[Any] = Future()
        self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Let nobody in behind those that stand there."""
        self._queue.put(None)

    def next_group(self) -> list[Member]:
        """Wait for somebody, then take all that stand there and have not been cancelled; empty once it is closed."""
        while not self._closed:
            group = [member for member in self._gather() if member[1].set_running_or_notify_cancel()]
            if group:
                return group
        return []

    def _gather(self) -> list[Member]:
        members: list[Member] = []
        member = self._queue.get()
        while member is not None:
            members.append(member)
            if len(members) == GROUP_MAX:
                return members
            try:
                member = self._queue.get_nowait()
            except queue.Empty:
                return members
        self._closed = True
        return members
