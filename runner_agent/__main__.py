"""The door: to the command line, and to what `run` has read from it.

A daemon reads its arguments once and lives for months. So `run` starts its process anew: it keeps its number and its
arguments, and loses what reading them took.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

from runner_agent.memory import do_without, left_over


def main() -> None:
    """The console command."""
    left = left_over()
    if left is not None:
        _run(**json.loads(left))
    from runner_agent.command_line import app

    app(prog_name="runner-agent")


def _run(config: str | None, flags: dict[str, Any], jobs_max: int | None) -> NoReturn:
    from runner_agent.exits import live

    # For ever and on every host: 4 MiB, with which structlog would draw what a daemon never prints, 2.5 MiB, with which
    # requests would guess, but not without saying so, in which alphabet an engine answers (UTF-8), and where they are
    # installed 5 MiB for httpx's own command line and for an event loop that we do not run.
    do_without("rich", "chardet", "charset_normalizer", "click", "trio")
    with warnings.catch_warnings(action="ignore"):
        from runner_agent.wiring import serve

    sys.exit(live(lambda: serve(None if config is None else Path(config), flags, jobs_max), drains=True))


if __name__ == "__main__":
    main()
