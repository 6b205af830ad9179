"""What an answer of the server means for us, as one table. Pure: status, headers and body in, an error or nothing out.

| answer | means | so |
| --- | --- | --- |
| 2xx that can be read | done | go on |
| 401 with the server's error body | the key is not known | `IdentityFault`: exit, asking again would be hammering |
| 403, 404 or 410 to a claim, with that body | the runner is not ours or no longer there | `IdentityFault` |
| 409 with that body | the attempt is stale | `LeaseLostError` |
| 400, 403–406, 410–415, 422 with that body | it will be refused every time | `RefusedError` |
| 408, 425, 429, 5xx | passes | `ServerFault`, with `Retry-After` |
| anything that is not the server's own JSON | somebody in between answered (a proxy, a login page) | `ServerFault` |

The last row is why a bare 404 of a proxy during a redeployment does not send a whole fleet home.
"""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from pydantic import ValidationError

from runner_agent.errors import AgentError, IdentityFault, LeaseLostError, RefusedError, ServerFault
from runner_protocol.problems import Problem, Stale

REFUSED = frozenset({400, 403, 404, 405, 406, 410, 411, 412, 413, 414, 415, 422})
"""Asking again changes nothing."""

NOT_OURS = frozenset({401, 403, 404, 410})
"""To a claim: the key or the runner is gone."""

# No server has reason to ask for more; a broken one must not silence the fleet for a day.
RETRY_AFTER_S_MAX = 600.0


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, claim: bool, now: datetime) -> AgentError:
    """The error that an answer outside of 2xx stands for. `headers` by lower-case names; `now` reads their dates."""
    problem = _problem(body)
    if problem is None:
        return ServerFault(f"{status} without the server's error body", retry_after_s=retry_after_s(headers, now))
    message = f"{status}: {problem.message}"
    if status == 401 or (claim and status in NOT_OURS):
        return IdentityFault(message)
    if status == 409:
        return LeaseLostError(problem.stale or Stale.UNKNOWN, message)
    if status in REFUSED:
        return RefusedError(message)
    return ServerFault(message, retry_after_s=retry_after_s(headers, now))


def by_the_server(status: int, body: bytes) -> bool:
    """Whether the server itself wrote this, as its shape tells: its error body, or in a 2xx an object or nothing."""
    return body[:1] in {b"", b"{"} if 200 <= status < 300 else _problem(body) is not None


def _problem(body: bytes) -> Problem | None:
    try:
        return Problem.model_validate_json(body)
    except ValidationError:
        return None


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """RFC 9110 §10.2.3: seconds or a date; none where absent or unreadable. Between 0 and `RETRY_AFTER_S_MAX`."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_S_MAX)
    there = date_of(text)
    return None if there is None else min(max(0.0, (there - now).total_seconds()), RETRY_AFTER_S_MAX)


def date_of(text: str) -> datetime | None:
    """An HTTP date; none where it cannot be read or names no zone."""
    try:
        there = parsedate_to_datetime(text)
    except ValueError:
        return None
    return there if there.tzinfo is not None else None
