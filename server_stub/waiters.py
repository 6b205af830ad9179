"""Agents that wait for work, in this process's memory: one future each, woken one per job, the longest idle first.

Belongs to one event loop. Knows nothing of jobs, only of specs: whoever is woken looks for itself, and where another
was faster it waits on. A waiter is armed *before* it looks, so that a job queued between its look and its sleep wakes
it; and a wake that its receiver could not use is passed on, so that no job sleeps beside an idle agent.
"""

import asyncio
import heapq
import itertools
from collections import defaultdict
from contextlib import suppress
from typing import Self

LOOK_S_MAX = 0.05
"""How long at most others hold back for those that were woken for a job."""
# A heap is rebuilt when more than half of it are waiters that have left.
STALE_ENTRIES_MIN = 64


class Waiter:
    """One poll that waits. Armed, it may be woken; woken, it looks and is armed again."""

    __slots__ = ("_among", "_awake", "left", "rank", "runner_id", "spec_ids", "woken_by")

    def __init__(self, among: "Waiters", runner_id: int, rank: int) -> None:
        self._among = among
        self.runner_id = runner_id
        self.spec_ids: frozenset[int] = frozenset()
        self.rank = rank
        self.left = False
        """Whether it must answer now: its client has gone, a newer poll took its place, or the server stops."""
        self.woken_by: int | None = None
        """The spec of the job that it was woken for, until it looks."""
        self._awake: asyncio.Future[bool] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True
        self._among.unpark(self)

    @property
    def armed(self) -> bool:
        """Whether a job may still wake it."""
        return self._awake is not None and not self._awake.done() and not self.left

    def rearm(self, spec_ids: frozenset[int]) -> None:
        """Forget earlier wakes: from now on every job of these specs counts."""
        self.spec_ids = spec_ids
        self.woken_by = None
        self._awake = asyncio.get_running_loop().create_future()

    def wake(self, spec_id: int | None) -> None:
        """Let it look. `spec_id`: of the job it is woken for, None where it is woken for another reason."""
        if spec_id is not None:
            self.woken_by = spec_id
        self._end(woken=True)

    def leave(self) -> None:
        """Let it answer."""
        self.left = True
        self._end(woken=False)

    async def wait(self, until: float) -> bool:
        """Sleep until woken, or until the loop's time `until`; tell whether it was woken."""
        assert self._awake is not None
        if not self._awake.done():
            self._among.has_looked(self)
        timer = asyncio.get_running_loop().call_at(until, self._expire)
        try:
            return await self._awake and not self.left
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._end(woken=False)

    def _end(self, *, woken: bool) -> None:
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(woken)


class Waiters:
    """All polls that wait in this process."""

    def __init__(self) -> None:
        self._parked: dict[int, Waiter] = {}
        self._queues: dict[int, list[tuple[int, int, Waiter]]] = defaultdict(list)
        self._idle_since: dict[int, int] = {}
        self._numbers = itertools.count()
        self._looking: set[Waiter] = set()
        self._all_looked = asyncio.Event()
        self._all_looked.set()
        self.closing = False
        self.stirs = 0
        """How often something was said that a waiter may have to look for: the same number twice, and nothing was."""

    def __len__(self) -> int:
        return len(self._parked)

    def parked(self, runner_id: int) -> Waiter:
        """Let one poll wait for the length of a `with` block. An older poll of the same runner is answered at once."""
        if (older := self._parked.get(runner_id)) is not None:
            older.leave()
        rank = self._idle_since.setdefault(runner_id, next(self._numbers))
        waiter = self._parked[runner_id] = Waiter(self, runner_id, rank)
        waiter.left = self.closing
        return waiter

    def unpark(self, waiter: Waiter) -> None:
        """It is answered. A job that it was woken for and did not look for wakes another."""
        if self._parked.get(waiter.runner_id) is waiter:
            del self._parked[waiter.runner_id]
        self.has_looked(waiter)
        if waiter.woken_by is not None:
            self.wake_one(waiter.woken_by)

    def arm(self, waiter: Waiter, spec_ids: frozenset[int]) -> None:
        """Put a waiter in line for jobs of these specs. Call this before it looks for work."""
        woken_by = waiter.woken_by
        waiter.rearm(spec_ids)
        if woken_by is not None and woken_by not in spec_ids:
            self.wake_one(woken_by)
        for spec_id in spec_ids:
            queue = self._queues[spec_id]
            if len(queue) >= max(STALE_ENTRIES_MIN, 2 * len(self._parked)):
                self._rebuild(spec_id)
            heapq.heappush(self._queues[spec_id], (waiter.rank, next(self._numbers), waiter))

    def wake_one(self, spec_id: int) -> None:
        """A job of this spec was queued: wake the longest idle of those that take it."""
        self.stirs += 1
        waiter = self._first(spec_id)
        if waiter is not None:
            heapq.heappop(self._queues[spec_id])
            self._looking.add(waiter)
            self._all_looked.clear()
            waiter.wake(spec_id)

    def pass_on(self, waiter: Waiter, spec_id: int) -> None:
        """It was woken for a job of this spec and may not take it: wake the next one in line."""
        waiter.spec_ids -= {spec_id}
        self.wake_one(spec_id)

    def has_looked(self, waiter: Waiter) -> None:
        """The job that it was woken for is on its way to it, or it sleeps again."""
        self._looking.discard(waiter)
        if not self._looking:
            self._all_looked.set()

    async def all_looked(self) -> None:
        """Return when everyone that was woken for a job has looked for it: what can wait lets them go first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S_MAX):
                await self._all_looked.wait()

    def wake_runner(self, runner_id: int) -> None:
        """Something about this runner was changed: let its poll look at itself."""
        self.stirs += 1
        if (waiter := self._parked.get(runner_id)) is not None:
            waiter.wake(None)

    def wake_all(self) -> None:
        """Something may have been missed: let everyone look."""
        self.stirs += 1
        for waiter in list(self._parked.values()):
            waiter.wake(None)

    def handed(self, runner_id: int) -> None:
        """This runner was given work: it is no longer idle."""
        self._idle_since.pop(runner_id, None)

    def close(self) -> None:
        """Let every poll answer, and every later one at once."""
        self.closing = True
        for waiter in list(self._parked.values()):
            waiter.leave()

    def specs_wanted(self) -> list[int]:
        """The specs that anyone here waits for."""
        return sorted(spec_id for spec_id in self._queues if self._first(spec_id) is not None)

    def runner_ids(self) -> list[int]:
        """The runners whose polls wait here."""
        return list(self._parked)

    def _first(self, spec_id: int) -> Waiter | None:
        """Who is next in line; entries of those that have left are dropped on the way."""
        queue = self._queues.get(spec_id, [])
        while queue:
            _, _, waiter = queue[0]
            if waiter.armed and spec_id in waiter.spec_ids:
                return waiter
            heapq.heappop(queue)
        return None

    def _rebuild(self, spec_id: int) -> None:
        """Drop those that have left, and all but one entry of each that is there."""
        alive = {
            waiter.runner_id: (rank, number, waiter) for rank, number, waiter in self._queues[spec_id] if waiter.armed
        }
        self._queues[spec_id] = list(alive.values())
        heapq.heapify(self._queues[spec_id])
