"""What every request and response has in common: an id, the headers, the bound on a body, and the error body.

An ASGI layer of our own rather than middleware of the framework: it costs a parked long poll nothing and sees every
response, also those the framework makes by itself.
"""

import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from server_stub.bodies import problem_in
from server_stub.errors import ApiError, BadRequestError, ConflictError, UnavailableError

AUTHORIZATION_HINT = (
    "\nExpected `Authorization: Bearer <credential>` where the credential is a project key, a user key, an API token"
    " or a runner key."
)
NOT_FOUND = 404
METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
RETRY_AFTER_S = "1"

log = structlog.get_logger()

Message = MutableMapping[str, Any]


class Envelope:
    """Gives each request an id, bounds its body and completes the headers of its response."""

    def __init__(
        self, app: ASGIApp, *, body_bytes_max: Callable[[str], int], routes: Callable[[], list[BaseRoute]]
    ) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))  # No secret, only a name.
        scope.setdefault("state", {})["request_id"] = request_id
        if scope["method"] == "OPTIONS":
            await self._options(scope)(scope, receive, send)
            return
        _assume_json(scope)
        bounded = _bounded(receive, self._body_bytes_max(scope["path"]))
        await self._app(scope, bounded, _completed(scope, send, request_id))

    def _options(self, scope: Scope) -> Response:
        """Answer which methods a path takes."""
        methods = sorted({"OPTIONS"} | methods_of(self._routes(), scope))
        headers = {"allow": ", ".join(methods), **_cors(", ".join(methods), authorized=True)}
        return Response(orjson.dumps(methods), headers=headers, media_type="application/json")


def methods_of(routes: list[BaseRoute], scope: Scope) -> set[str]:
    """The methods of all routes whose path matches."""
    found: set[str] = set()
    for route in _leaves(routes):
        match, _ = route.matches({**scope, "method": "GET"})
        if match is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return found - {"HEAD"}


def _leaves(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    """Every route itself: newer versions of the framework keep those of an included router in a list of their own."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from _leaves(router.routes)


def error_response(request: Request, status: int, message: str, **members: str | None) -> Response:
    """The error body: `request_id`, `message`, and what else is set."""
    body = {"request_id": request.state.request_id, "message": message}
    body |= {name: value for name, value in members.items() if value is not None}
    if status == NOT_FOUND:
        body["message"] += AUTHORIZATION_HINT
    headers = {"x-request-id": body["request_id"], **_cors(METHODS, authorized=True)}
    if status == UnavailableError.status:
        headers["retry-after"] = RETRY_AFTER_S
    return Response(orjson.dumps(body), status, headers, "application/json")


def handle_errors(app: FastAPI) -> None:
    """Turn every exception that leaves a route into the error body."""
    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(ClientDisconnect, cut_off)
    app.add_exception_handler(Exception, defect)


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with one of our own errors."""
    assert isinstance(error, ApiError)
    stale = error.stale if isinstance(error, ConflictError) else None
    return error_response(request, error.status, error.message, error_code=error.error_code, stale=stale)


async def _invalid(request: Request, error: Exception) -> Response:
    """A value breaks a rule. The framework's 422 is 400 here; a path says where only within the body."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if faults[0]["type"] == "json_invalid":
        reason = faults[0].get("ctx", {}).get("error", "invalid")
        return error_response(request, 400, f"body: not JSON: {reason} at character {faults[0]['loc'][-1]}")
    return error_response(request, 400, problem_in(faults, skip=1 if len(faults[0]["loc"]) > 1 else 0))


async def _framework(request: Request, error: Exception) -> Response:
    """An unknown path, a wrong method, or a body that could not be read."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ApiError):
        return await refused(request, error.__cause__)
    response = error_response(request, error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["allow"] = ", ".join(sorted(methods_of(request.app.router.routes, request.scope)))
    return response


async def cut_off(request: Request, _: Exception) -> Response:
    """Nobody hears this answer; it is no mistake of ours."""
    return error_response(request, 400, "body: cut off")


async def defect(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with an error that nobody expected."""
    code = str(uuid.uuid4())
    log.error("defect", request=request.state.request_id, error_code=code, path=request.url.path, exc_info=error)
    return error_response(request, 500, "an error on our side; it is logged under this id", error_code=code)


def _assume_json(scope: Scope) -> None:
    """A body without a content type is taken as JSON."""
    if not any(name == b"content-type" for name, _ in scope["headers"]):
        scope["headers"] = [*scope["headers"], (b"content-type", b"application/json")]


def _bounded(receive: Receive, bytes_max: int) -> Receive:
    """Refuse a body while it is being read, as soon as it passes the bound."""
    taken = 0

    async def read() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > bytes_max:
            raise BadRequestError(f"body: larger than {bytes_max} bytes")
        return message

    return read


def _completed(scope: Scope, send: Send, request_id: str) -> Callable[[Message], Awaitable[None]]:
    """Add the common headers to a response that does not have them."""
    authorized = any(name == b"authorization" for name, _ in scope["headers"]) or scope["path"] == "/v0/run"

    async def complete(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            wanted = {"x-request-id": request_id}
            page = b"content-security-policy" in present  # For people: no other site's script may read it.
            if not page:
                wanted |= _cors(scope["method"], authorized=authorized)
            if message["status"] < 300 and not page:
                wanted["x-total-count"] = "0" if scope["method"] == "DELETE" else "1"
            headers += [(n.encode(), v.encode()) for n, v in wanted.items() if n.encode() not in present]
            message["headers"] = headers
        await send(message)

    return complete


def _cors(methods: str, *, authorized: bool) -> dict[str, str]:
    return {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": methods,
        "access-control-allow-headers": "Content-Type, Authorization" if authorized else "Content-Type",
        "access-control-expose-headers": "X-Total-Count",
    }
