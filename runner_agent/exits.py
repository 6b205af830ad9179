"""How a command ends: its exit code, and a fault of whoever typed it told in one sentence, with no traceback.

Exit codes of `run`: 0 drained · 75 another agent holds the host · 77 the key is refused · 78 a setting is wrong.
"""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

EX_TEMPFAIL, EX_CONFIG = 75, 78
"""sysexits.h: another agent holds the host; a setting is wrong."""

TERMINATED = 128 + signal.SIGTERM
"""What a shell makes of a command that SIGTERM has ended."""

HELD = frozenset({signal.SIGTERM, signal.SIGHUP})


def hold_signals() -> None:
    """Let them wait until `live`: they must not end a process that starts anew and is going to hear them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def live(story: Callable[[], Awaitable[int]], *, drains: bool = False) -> int:
    """Run a story to its end; its exit code. `drains`: it listens for itself once it has begun, as the daemon does."""
    import anyio

    # A daemon that has not begun holds nothing: it ends as if drained, and has no settings yet to be read again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if drains else TERMINATED))
    if drains:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    with explained_faults():
        return anyio.run(story)


@contextmanager
def explained_faults() -> Iterator[None]:
    """End the command where what happens in this block concerns whoever typed it."""
    from runner_agent.errors import ServiceFault, SettingFault
    from runner_agent.lock import HostTakenError

    try:
        yield
    except SettingFault as fault:
        print(f"runner-agent: {fault}", file=sys.stderr)
        sys.exit(EX_CONFIG)
    except ServiceFault as fault:
        print(f"runner-agent: {fault}", file=sys.stderr)
        sys.exit(1)
    except HostTakenError as error:
        print(f"runner-agent: {error}", file=sys.stderr)
        sys.exit(EX_TEMPFAIL)
