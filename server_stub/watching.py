"""Lets any number of readers follow the fleet and jobs: one look at the database serves all who follow.

A look is taken when something is said to have changed, at most four times a second, and now and then for what changes
by time alone. While nobody follows, nothing is read. A follower that is slow misses the sights between, never the last.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from server_stub.errors import UnavailableError
from server_stub.settings import Settings
from server_stub.store import fleet, job_reads, noise
from server_stub.store.database import Database
from server_stub.store.tx import Row, Tx
from server_stub.waiting import RunnerState, Waiting

FLEET = "fleet"
"""The topic of the whole fleet; every other topic is a job's UUID."""
FOLLOWERS_MAX = 512
GAP_S = 0.25
STALE_S = 5.0
"""After so long a look is taken though nothing was said: a runner is lost by silence."""
HOURS = 24

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FleetSight:
    """Runners and queue at one moment."""

    now_ms: int
    runners: list[Row]
    """Of `job_reads.runners`, each with its `word`, its `specs`, its `held` job and the `floors` of its host."""
    queue: list[Row]
    depths: list[Row]
    hours: list[dict[str, int]]
    """Of the last day, the oldest first: jobs by state."""
    parts: dict[Any, Any] = field(default_factory=dict)
    """What has been made of it already, by who may see it: many look at the same."""


@dataclass(frozen=True, slots=True)
class JobSight:
    """One job at one moment; `waiting` while it is pending."""

    now_ms: int
    job: Row
    waiting: Waiting | None


Sight = FleetSight | JobSight


def look_at_fleet(tx: Tx, settings: Settings) -> FleetSight:
    """See the fleet as it is now: seven statements, whatever its size."""
    now_ms, lost_ms = tx.now_ms(), round(settings.lost_s * 1000)
    held, specs = fleet.leased(tx), defaultdict(list)
    for row in fleet.specs_of_runners(tx):
        specs[row["runner_id"]].append(row["slug"])
    rows = job_reads.runners(tx)
    floors = noise.recent(tx, [row["id"] for row in rows])
    runners = [
        row
        | {
            "word": job_reads.state_of(row, now_ms, lost_ms),
            "specs": specs[row["id"]],
            "held": held.get(row["id"]),
            "floors": floors.get(row["id"], []),
        }
        for row in rows
    ]
    runners.sort(key=lambda row: _ORDER.index(row["word"]))
    hours: list[dict[str, int]] = [{} for _ in range(HOURS)]
    for row in fleet.ended_by_hour(tx, now_ms - HOURS * fleet.HOUR_MS):
        hours[min(int(row["hour"]), HOURS - 1)][row["state"]] = row["jobs"]
    return FleetSight(now_ms, runners, fleet.queue(tx), job_reads.depths(tx), hours)


# What needs somebody first.
_ORDER = [
    RunnerState.LOST,
    RunnerState.BLOCKED,
    RunnerState.DRAINING,
    RunnerState.DRAINED,
    RunnerState.BUSY,
    RunnerState.IDLE,
    RunnerState.NEVER_SEEN,
    RunnerState.REMOVED,
]


def look_at_job(tx: Tx, uuid: UUID, settings: Settings) -> JobSight | None:
    """See a job as it is now, without what it printed."""
    row = job_reads.find(tx, uuid)
    if row is None:
        return None
    lost_ms = round(settings.lost_s * 1000)
    pending = row["state"] == "pending"
    waiting = job_reads.waiting(tx, row, row["spec_slug"], lost_ms, tiers=settings.tiers) if pending else None
    return JobSight(tx.now_ms(), row, waiting)


class Follower:
    """One reader's place: holds the newest sight that he has not taken yet."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.closed = False
        self._sight: Sight | None = None
        self._changed = asyncio.Event()

    def show(self, sight: Sight | None) -> None:
        """Put a newer sight in his place; none: there will be no more."""
        self.closed = self.closed or sight is None
        self._sight = sight
        self._changed.set()

    async def next(self, within_s: float) -> Sight | None:
        """The next sight; none where nothing changed for so long, or all is over (`closed`)."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return None
        self._changed.clear()
        return self._sight


class Watch:
    """Belongs to one event loop, between the start and the end of `running`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._followers: dict[str, set[Follower]] = defaultdict(set)
        self._stale: set[str] = set()
        self._stir = asyncio.Event()
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for those who follow, for the length of a block."""
        self._database.subscribe("job_queued", self._changed)
        self._database.subscribe("runner_changed", self._changed)
        self._database.subscribe("job_changed", self._changed)
        task = asyncio.create_task(self._look_forever())
        try:
            yield
        finally:
            self.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def close(self) -> None:
        """Let every follower go, and every later one at once."""
        self._closing = True
        for follower in self._all():
            follower.show(None)

    @contextmanager
    def following(self, topic: str) -> Iterator[Follower]:
        """Follow a topic for the length of a block. Raises `UnavailableError` where too many do."""
        if len(self._all()) >= FOLLOWERS_MAX:
            raise UnavailableError("too many readers follow this server just now")
        follower = Follower(topic)
        self._followers[topic].add(follower)
        self._stale.add(topic)
        self._stir.set()
        if self._closing:
            follower.show(None)
        try:
            yield follower
        finally:
            self._followers[topic].discard(follower)
            if not self._followers[topic]:
                del self._followers[topic]

    def _all(self) -> list[Follower]:
        return [follower for followers in self._followers.values() for follower in followers]

    def _changed(self, payload: str) -> None:
        """Something moved. A payload that is no topic followed here, a job's or a spec's, concerns the fleet alone."""
        self._stale |= {FLEET, payload} if payload else set(self._followers)
        self._stale &= set(self._followers)
        if self._stale:
            self._stir.set()

    async def _look_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(STALE_S):
                    await self._stir.wait()
            except TimeoutError:
                self._stale = set(self._followers)
            self._stir.clear()
            topics, self._stale = self._stale & set(self._followers), set()
            if not topics:
                continue
            try:
                sights = await self._database.read(lambda tx: self._look(tx, topics))  # noqa: B023  Awaited here.
            except UnavailableError as error:
                log.warning("look_postponed", reason=error.message)
                sights = {}
            for topic, sight in sights.items():
                for follower in self._followers.get(topic, set()):
                    follower.show(sight)
            await asyncio.sleep(GAP_S)

    def _look(self, tx: Tx, topics: set[str]) -> dict[str, Sight | None]:
        return {
            topic: look_at_fleet(tx, self._settings) if topic == FLEET else look_at_job(tx, UUID(topic), self._settings)
            for topic in topics
        }
