"""What signals ask of the agent, over all lives of its process: SIGTERM and SIGINT drain it, SIGHUP reloads it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from runner_agent.session import DrainAsked, ReloadAsked

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = structlog.get_logger()


class Signals:
    """What signals have asked for, over all lives of the process: what comes between two is heard by the next."""

    def __init__(self) -> None:
        self._waiting: list[DrainAsked | ReloadAsked] = []
        self._tell: Callable[[DrainAsked | ReloadAsked], None] = self._waiting.append

    def hear(self, event: DrainAsked | ReloadAsked) -> None:
        """Pass it on, or keep it for the next life. From the event loop only."""
        self._tell(event)

    @contextmanager
    def told_to(self, tell: Callable[[DrainAsked | ReloadAsked], None]) -> Iterator[None]:
        """For the length of a block somebody hears of each, first of those that wait."""
        self._tell = tell
        for event in self._waiting:
            tell(event)
        self._waiting.clear()
        try:
            yield
        finally:
            self._tell = self._waiting.append


@contextmanager
def listening() -> Iterator[Signals]:
    """Hear SIGTERM and SIGINT, which drain, and SIGHUP, which reloads; at the end they have no effect any more."""
    signals = Signals()
    loop = asyncio.get_running_loop()

    def hear(number: signal.Signals) -> None:
        log.info("signal_received", signal=number.name)
        signals.hear(ReloadAsked() if number is signal.SIGHUP else DrainAsked())

    for number in HEARD:
        loop.add_signal_handler(number, hear, number)
    try:
        yield signals
    finally:
        for number in HEARD:
            loop.remove_signal_handler(number)
            # How we end is decided, and so is the exit code.
            signal.signal(number, signal.SIG_IGN)
