"""How the agent logs: one event with a fixed name for each thing that happens, with job and attempt bound to it.

JSON where a machine reads (the journal, a pipe), lines with colour on a terminal. The journal is given job, attempt and
event as fields too, so that `journalctl JOB=…` finds one job. A runner's key never gets out, whatever it was put into:
every text is searched for its shape. Other libraries are heard from warnings on.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from runner_protocol.journal import Journal, is_journal

# Also what merely begins like a key, and what stands in an Authorization header.
SECRET = re.compile(r"bencher_[a-z]+_[A-Za-z0-9]+|(?i:bearer) +[A-Za-z0-9._~+/=-]{8,}")


def configure(level: str = "info", form: Literal["auto", "json", "text"] = "auto", stream: TextIO = sys.stderr) -> None:
    """Set up once, before anything logs."""
    in_journal = form != "text" and is_journal(stream)
    as_text = form == "text" or (form == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            *([] if in_journal else [_renderer(stream, as_text=as_text)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=(lambda *_: Journal(stream)) if in_journal else structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[Forwarder()], force=True)


def _renderer(stream: TextIO, *, as_text: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=stream.isatty()) if as_text else structlog.processors.JSONRenderer()


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hide every secret in every text, however deep."""
    return {key: hidden(value) for key, value in event.items()}


def hidden(value: Any) -> Any:
    """The same value without secrets. What is no text, list or map is shown as its text would be."""
    match value:
        case None | bool() | int() | float():
            return value
        case list() | tuple() | set() | frozenset():
            return [hidden(each) for each in value]
        case dict():
            return {str(key): hidden(each) for key, each in value.items()}
        case _:
            return SECRET.sub("[hidden]", str(value))


class Forwarder(logging.Handler):
    """What other libraries log goes the same way out."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        structlog.get_logger().log(record.levelno, "library_said", library=record.name, said=record.getMessage())
