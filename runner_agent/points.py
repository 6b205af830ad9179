"""Named points before and after every step that somebody outside can see: where tests stop an agent dead.

With `RUNNER_AGENT_STOP_AT=claim.after` in its environment the process stops itself (SIGSTOP) the first time it gets
there, so that a test can kill it, cut its network or let it go on, knowing exactly how far it was. Otherwise a point
costs one comparison. `docs/failures.md` lists the points; nothing else may depend on them.
"""

import os
import signal
from typing import Final

VARIABLE: Final = "RUNNER_AGENT_STOP_AT"

POINTS: Final = (
    "claim.before",
    "claim.after",
    "promise.after",
    "pull.before",
    "pull.after",
    "hold.after",
    "iteration.before",
    "iteration.after",
    "release.after",
    "spool.before",
    "spool.after",
    "forget.after",
    "deliver.before",
    "deliver.after",
    "drop.after",
)
"""In the order in which a job passes them."""

_armed = [os.environ[VARIABLE]] if VARIABLE in os.environ else []


def at(point: str) -> None:
    """The process is at `point`."""
    if point in _armed:
        _armed.clear()
        os.kill(os.getpid(), signal.SIGSTOP)
