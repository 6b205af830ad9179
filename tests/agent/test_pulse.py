"""The pulse in virtual time: hours of a lease in milliseconds, on a clock that jumps to the next thing to happen."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from fakes import make_job
from structlog.testing import capture_logs
from trio.testing import MockClock

from runner_agent.errors import IdentityFault, LeaseLostError, ServerFault
from runner_agent.leases import Lease
from runner_agent.pulse import REFUSED_S_MAX, Pulse
from runner_agent.session import CancelAsked, LeaseLost
from runner_protocol.jobs import ClaimedJob
from runner_protocol.messages import Heartbeat, HeartbeatReply, Progress
from runner_protocol.problems import Stale
from runner_protocol.results import Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Server:
    """Answers each beat by the script `answer(seconds since the start)`."""

    def __init__(self, answer: Callable[[float], HeartbeatReply]) -> None:
        self.beats: list[float] = []
        self._answer = answer
        self._begun = anyio.current_time()

    async def beat(self, job: ClaimedJob, heartbeat: Heartbeat) -> HeartbeatReply:
        now = anyio.current_time() - self._begun
        self.beats.append(now)
        return self._answer(now)


async def keep(server: Server, *, seconds: float) -> list[CancelAsked | LeaseLost]:
    """Let the pulse of a job with a beat every 30 s and a lease of 90 s beat for so long."""
    news: list[CancelAsked | LeaseLost] = []
    job = make_job(heartbeat_s=30)
    with anyio.move_on_after(seconds):
        await Pulse(job, server.beat, lambda: Progress(stage=Stage.ITERATE), news.append).keep()
    return news


def well(_now: float) -> HeartbeatReply:
    return HeartbeatReply(lease_s=90)


def away(_now: float) -> HeartbeatReply:
    raise ServerFault("away")


async def test_the_first_beat_is_sent_at_once_and_one_each_thirty_seconds_for_a_day() -> None:
    server = Server(well)
    assert await keep(server, seconds=86_400 - 1) == []
    assert server.beats == [30.0 * beat for beat in range(2880)]


async def test_a_cancel_is_told_once_and_the_lease_is_kept_while_the_job_ends() -> None:
    server = Server(lambda now: HeartbeatReply(lease_s=90, cancel=now >= 60))
    assert await keep(server, seconds=600) == [CancelAsked()]
    assert len(server.beats) == 20


async def test_a_refused_beat_is_the_last_one() -> None:
    def lost(now: float) -> HeartbeatReply:
        if now >= 60:
            raise LeaseLostError(Stale.SUPERSEDED, "409")
        return HeartbeatReply(lease_s=90)

    server = Server(lost)
    assert await keep(server, seconds=3600) == [LeaseLost(Stale.SUPERSEDED)]
    assert server.beats == [0.0, 30.0, 60.0]


async def test_a_server_that_is_away_is_asked_every_two_seconds_and_the_job_goes_on() -> None:
    server = Server(lambda now: (away if 30 <= now < 7200 else well)(now))
    assert await keep(server, seconds=7260) == []
    pauses = [later - earlier for earlier, later in zip(server.beats[1:], server.beats[2:], strict=False)]
    outage = [pause for pause in pauses if pause < 30]
    assert all(1.0 <= pause <= 2.0 for pause in outage) and len(outage) > 3500
    assert server.beats[-1] >= 7230.0


async def test_a_key_that_stays_refused_ends_the_job_within_a_beat() -> None:
    def removed(now: float) -> HeartbeatReply:
        if now >= 60:
            raise IdentityFault("401")
        return HeartbeatReply(lease_s=90)

    server = Server(removed)
    with capture_logs() as lines:
        assert await keep(server, seconds=3600) == [LeaseLost(Stale.UNKNOWN)]
    assert 60 + REFUSED_S_MAX <= server.beats[-1] <= 60 + REFUSED_S_MAX + 2
    assert [line["event"] for line in lines] == ["heartbeat_unanswered", "key_refused_under_job"]


@pytest.mark.parametrize("between", [well, away], ids=["an answer", "an outage"])
async def test_a_key_that_is_refused_now_and_then_costs_no_job(between: Callable[[float], HeartbeatReply]) -> None:
    def mistaken(now: float) -> HeartbeatReply:
        if now % 20 < 14:
            raise IdentityFault("401")
        return between(now)

    server = Server(mistaken)
    assert await keep(server, seconds=3600) == []
    assert server.beats[-1] > 3560


async def test_a_server_that_never_answers_does_not_stop_the_pulse() -> None:
    async def silent(job: ClaimedJob, heartbeat: Heartbeat) -> HeartbeatReply:
        asked.append(anyio.current_time())
        await anyio.sleep_forever()
        raise AssertionError

    asked: list[float] = []
    with anyio.move_on_after(600):
        await Pulse(make_job(heartbeat_s=30), silent, lambda: Progress(stage=Stage.PULL), print).keep()
    assert 18 < len(asked) < 21


def test_a_lease_is_counted_from_when_the_call_was_sent() -> None:
    lease = Lease.of(make_job(heartbeat_s=30), now_s=100)
    assert (lease.length_s, lease.overdue(189.9), lease.overdue(190)) == (90, False, True)
    renewed = lease.renewed(sent_at_s=120, length_s=60)
    assert (renewed.confirmed, renewed.overdue(179), renewed.overdue(180)) == (True, False, True)


def test_a_beat_that_took_long_brings_the_next_one_forward() -> None:
    lease = Lease.of(make_job(heartbeat_s=30), now_s=0)
    assert lease.pause_s(100, 101, answered=True, chance=0) == 29
    assert lease.pause_s(100, 150, answered=True, chance=0) == 0
