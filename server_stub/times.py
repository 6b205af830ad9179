"""Writes moments as the API shows them: RFC 3339, in UTC, in whole seconds. Reads no clock."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)
def from_seconds(seconds: int) -> str:
    """`1704067200` as `2024-01-01T00:00:00Z`. A report says the same few moments thousands of times."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"


def from_ms(milliseconds: int | None) -> str | None:
    """The same of milliseconds, cut to whole seconds; none stays none."""
    return None if milliseconds is None else from_seconds(milliseconds // 1000)
