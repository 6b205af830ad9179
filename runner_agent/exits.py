"""How a command ends: its exit code, and a fault of whoever typed it told in one sentence, with no traceback.

Exit codes of `run`: 0 drained · 75 another agent holds the host · 77 the key is refused · 78 a setting is wrong.
"""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

EX_TEMPFAIL, EX_CONFIG = 75, 78
"""sysexits.h: another agent holds the host; a setting is wrong."""


def live(story: Callable[[], Awaitable[int]]) -> int:
    """Run a story to its end; its exit code."""
    import anyio

    # Until the story listens for itself nothing is held yet: a SIGTERM ends us as if we had drained.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with explained_faults():
        return anyio.run(story)


@contextmanager
def explained_faults() -> Iterator[None]:
    """End the command where what happens in this block concerns whoever typed it."""
    from runner_agent.errors import SettingFault
    from runner_agent.lock import HostTakenError

    try:
        yield
    except SettingFault as fault:
        print(f"runner-agent: {fault}", file=sys.stderr)
        sys.exit(EX_CONFIG)
    except HostTakenError as error:
        print(f"runner-agent: {error}", file=sys.stderr)
        sys.exit(EX_TEMPFAIL)
