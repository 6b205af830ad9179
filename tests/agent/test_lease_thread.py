"""Heartbeats go on while the agent's own loop is stuck."""

import threading
import time
from pathlib import Path

import anyio
import pytest
from agents import client_of
from fakes import FakeServer, make_job

from runner_agent.errors import SettingFault
from runner_agent.lease_thread import lease_thread
from runner_agent.lock import HostTakenError, held, host_lock
from runner_agent.session import CancelAsked, LeaseLost
from runner_protocol.messages import Progress
from runner_protocol.problems import Stale
from runner_protocol.results import Stage

pytestmark = pytest.mark.anyio


def at_work() -> Progress:
    return Progress(stage=Stage.ITERATE, tail=threading.current_thread().name)


async def test_a_loop_that_is_stuck_loses_no_beat() -> None:
    server = FakeServer()
    job = server.submit(make_job(heartbeat_s=0.02))
    async with lease_thread(lambda: client_of(server)) as leases, leases.keeping(job, at_work, lambda event: None):
        deadline = time.monotonic() + 10
        while len(server.beats) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251  Being stuck is what this test is about.
    assert len(server.beats) >= 5
    assert "lease" in server.beats[0].progress.tail


async def test_news_arrive_on_the_loop_of_the_daemon_and_beats_end_with_the_block() -> None:
    server = FakeServer()
    job = server.submit(make_job(heartbeat_s=0.02))
    server.cancels.add(job.job)
    heard: list[tuple[CancelAsked | LeaseLost, threading.Thread]] = []
    told = anyio.Event()

    def news(event: CancelAsked | LeaseLost) -> None:
        heard.append((event, threading.current_thread()))
        if isinstance(event, LeaseLost):
            told.set()
        server.stale[job.job] = Stale.FINISHED

    async with lease_thread(lambda: client_of(server)) as leases:
        with anyio.fail_after(10):
            async with leases.keeping(job, at_work, news):
                await told.wait()
        here = threading.current_thread()
        assert heard == [(CancelAsked(), here), (LeaseLost(Stale.FINISHED), here)]


def test_a_second_agent_on_the_host_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    with host_lock(path):
        assert held(path)
        with pytest.raises(HostTakenError, match=r"another agent \(process \d+\) holds this host"), host_lock(path):
            pass
        assert held(path)
    assert not held(path)


def test_a_lock_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingFault, match="`lock_file`"), host_lock(tmp_path / "file" / "lock"):
        pass
