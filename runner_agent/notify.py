"""Tells systemd how the agent is (sd_notify(3)): one datagram a message. Waits for nobody.

Without `NOTIFY_SOCKET` every call does nothing, so callers never ask. A message that cannot be sent is dropped: what is
worth acting on, a silent watchdog, systemd notices by itself. The variable stays in the environment, since a reload
begins a second life in the same process; `NotifyAccess=main` keeps children from speaking for us.

The watchdog is fed from the event loop, and only while what is under way keeps its time: a loop that is stuck starves
it, and so does a loop that turns and gets nowhere.
"""

import math
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import anyio
import structlog

STATUS_CHARS_MAX: Final = 200
"""A status is one line of `systemctl status`."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Notifier:
    """The way to systemd."""

    address: str | None = None
    """Its datagram socket; none: nobody listens."""
    watchdog_s: float | None = None
    """How long systemd bears silence, in seconds; none: it does not watch."""

    @classmethod
    def from_environment(cls) -> Self:
        """As systemd started this process; the twin that does nothing where it did not."""
        return cls(os.environ.get("NOTIFY_SOCKET") or None, _watchdog_s())

    def ready(self, status: str) -> None:
        """The start, or a reload, is over."""
        self._send("READY=1", _line(status))

    def status(self, text: str) -> None:
        """What the agent is doing, for people."""
        self._send(_line(text))

    def watchdog(self) -> None:
        """What is under way gets on."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The process is about to end."""
        self._send("STOPPING=1", _line(status))

    def reloading(self) -> None:
        """The settings are being read again; `ready` ends it. The stamp is what Type=notify-reload asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _send(self, *lines: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            # A full socket must not hold up the loop: the next message says more than the lost one.
            door.setblocking(False)
            door.sendto("\n".join(lines).encode(), address)


class Watchdog:
    """Feeds systemd's watchdog while what is under way keeps the time it has asked for."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._what = "start"
        self._due_s = math.inf

    def allow(self, what: str, seconds: float) -> None:
        """This begins or gets on now, and will have got on again within so many seconds."""
        self._what, self._due_s = what, anyio.current_time() + seconds

    async def feed(self) -> None:
        """Until cancelled; not at all where systemd does not watch."""
        told_due_s = None
        while self._notifier.watchdog_s:
            if anyio.current_time() <= self._due_s:
                self._notifier.watchdog()
            elif told_due_s != self._due_s:
                told_due_s = self._due_s
                log.error("agent_gets_nowhere", under_way=self._what)
            await anyio.sleep(self._notifier.watchdog_s / 3)


def _watchdog_s() -> float | None:
    """Seconds between two signs of life, if systemd wants them from this process (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1e6


def _line(text: str) -> str:
    """A line of its own would be read as another field."""
    return "STATUS=" + " ".join(text.split())[:STATUS_CHARS_MAX]
