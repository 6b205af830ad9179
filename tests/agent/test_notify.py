"""What systemd hears from the agent, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from runner_agent.notify import STATUS_CHARS_MAX, Notifier, Watchdog


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end of the conversation."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end


def heard(systemd: socket.socket) -> list[list[str]]:
    """Every message that is waiting, in lines."""
    messages: list[list[str]] = []
    while True:
        try:
            messages.append(systemd.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return messages


def test_a_life_under_systemd_is_told_message_by_message(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notifier = Notifier.from_environment()
    notifier.ready("idle")
    notifier.watchdog()
    notifier.status("running 7\nREADY=0")
    notifier.stopping("drained")
    assert notifier.watchdog_s == 60.0
    assert heard(systemd) == [
        ["READY=1", "STATUS=idle"],
        ["WATCHDOG=1"],
        ["STATUS=running 7 READY=0"],
        ["STOPPING=1", "STATUS=drained"],
    ]


def test_a_reload_is_stamped_with_the_monotonic_clock(systemd: socket.socket) -> None:
    Notifier(systemd.getsockname()).reloading()
    [[word, stamp]] = heard(systemd)
    assert word == "RELOADING=1"
    assert stamp.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("")  # The kernel picks an abstract name.
        end.setblocking(False)
        Notifier("@" + end.getsockname()[1:].decode()).watchdog()
        assert heard(end) == [["WATCHDOG=1"]]


def test_a_long_status_is_cut(systemd: socket.socket) -> None:
    Notifier(systemd.getsockname()).status("x" * 9999)
    assert heard(systemd) == [["STATUS=" + "x" * STATUS_CHARS_MAX]]


def test_without_systemd_nothing_is_said_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert Notifier.from_environment() == Notifier(None, None)
    Notifier().ready("idle")
    Notifier(str(tmp_path / "gone")).watchdog()


@pytest.mark.parametrize(
    ("microseconds", "process"),
    [("0", ""), ("soon", ""), ("60000000", "1")],
    ids=["switched off", "not a number", "meant for another process"],
)
def test_a_watchdog_that_does_not_watch_us_is_not_fed(
    microseconds: str, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", process or str(os.getpid()))
    assert Notifier.from_environment().watchdog_s is None


@dataclass(frozen=True)
class Fed(Notifier):
    """For a systemd that bears a minute of silence: notes when it was fed."""

    watchdog_s: float | None = 60
    times: list[float] = field(default_factory=list)

    def watchdog(self) -> None:
        """Note it."""
        self.times.append(anyio.current_time())


@pytest.mark.anyio
async def test_the_watchdog_is_fed_while_what_is_under_way_keeps_its_time_and_again_when_it_gets_on() -> None:
    fed = Fed()
    watchdog = Watchdog(fed)
    begun_s = anyio.current_time()
    watchdog.allow("poll", 70)
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watchdog.feed)
            await anyio.sleep(185)
            watchdog.allow("job", 40)
            await anyio.sleep(100)
            tasks.cancel_scope.cancel()
    assert [time - begun_s for time in fed.times] == [0, 20, 40, 60, 200, 220]
    assert [line["under_way"] for line in lines] == ["poll", "job"]


@pytest.mark.anyio
async def test_a_job_of_a_day_is_fed_for_to_its_end() -> None:
    fed = Fed()
    watchdog = Watchdog(fed)
    watchdog.allow("job", 86_400)
    with anyio.move_on_after(86_399):
        await watchdog.feed()
    assert len(fed.times) == 86_400 / 20
