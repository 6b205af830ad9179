"""How the server logs: one event with a fixed name for each thing that happens.

JSON where a machine reads (the journal, a pipe), lines with colour on a terminal. The journal is given job, attempt,
runner and event as fields too. Credentials are hidden wherever they stand; what other libraries log from warnings on
goes the same way out.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from runner_protocol.journal import Journal, is_journal

# Keys of runners, users and projects, signed tokens, and passwords in the URLs of databases.
SECRET = re.compile(r"bencher_[a-z]+_[A-Za-z0-9]+|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


def configure_logs(stream: TextIO = sys.stderr) -> None:
    """Set up once, before anything logs."""
    in_journal = is_journal(stream)
    renderer = structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide_secrets,
            *([] if in_journal else [renderer]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=(lambda *_: Journal(stream)) if in_journal else structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forwarder()], force=True)


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide every credential in every text."""
    return {
        name: SECRET.sub("[hidden]", value if isinstance(value, str) else str(value))
        if isinstance(value, (str, BaseException))
        else value
        for name, value in event.items()
    }


class _Forwarder(logging.Handler):
    """Sends what other libraries log through structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        message = self.format(record)
        structlog.get_logger().log(record.levelno, "library_log", library=record.name, message=message)
