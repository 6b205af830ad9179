"""What the API refuses, and with which status.

    ApiError
    ├── BadRequestError     400  the request breaks a rule; the message names the field
    ├── UnauthorizedError   401  a credential is missing, malformed or unknown
    ├── PaymentError        402  a plan would be needed
    ├── ForbiddenError      403  known caller, not allowed
    ├── NotFoundError       404  absent, or hidden from this caller
    ├── ConflictError       409  taken already, still referenced, or a stale attempt
    ├── LimitError          429  too many
    └── UnavailableError    503  the database cannot answer just now; asking again may work

Anything else is a defect: it is logged with its request id and answered as 500 without details.
"""

from typing import ClassVar

from runner_protocol.problems import Stale


class ApiError(Exception):
    """The root: carries the status and the message for the caller."""

    status: ClassVar[int] = 500

    def __init__(self, message: str, *, error_code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code


class BadRequestError(ApiError):
    """The request breaks a rule."""

    status = 400


class UnauthorizedError(ApiError):
    """A credential is missing, malformed or unknown."""

    status = 401


class PaymentError(ApiError):
    """A plan would be needed."""

    status = 402


class ForbiddenError(ApiError):
    """The caller is known and may not do this."""

    status = 403


class NotFoundError(ApiError):
    """Absent, or hidden from this caller."""

    status = 404


class ConflictError(ApiError):
    """Taken already, or still referenced. With `stale`, a call about an attempt that is over."""

    status = 409

    def __init__(self, message: str, *, error_code: str | None = None, stale: Stale | None = None) -> None:
        super().__init__(message, error_code=error_code)
        self.stale = stale


class LimitError(ApiError):
    """Too many."""

    status = 429


class UnavailableError(ApiError):
    """The database cannot answer just now."""

    status = 503
